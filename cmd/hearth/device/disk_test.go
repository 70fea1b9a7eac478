package device

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/hearth-edge/hearth/keys"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/sched/journal"
)

// childEnv makes the test binary do what it names on a small disk, instead of
// tests; optionsEnv are what that is mounted with.
const childEnv, optionsEnv = "HEARTH_NODE_SMALL_DISK", "HEARTH_NODE_SMALL_DISK_OPTIONS"

// onDisk are the deeds of such a child.
var onDisk = map[string]func(dir string) error{"live": liveOnSmallDisk, "doctor": doctorOnSmallDisk}

func TestMain(m *testing.M) {
	if deed := onDisk[os.Getenv(childEnv)]; deed != nil {
		err := mountDisk(os.Args[1], os.Getenv(optionsEnv))
		if err == nil {
			err = deed(os.Args[1])
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// mountDisk mounts a disk of this process's own.
func mountDisk(dir, options string) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		return fmt.Errorf("mount a tmpfs: %w", err)
	}
	return nil
}

// runOnDisk does a deed in a child on a disk of its own.
func runOnDisk(t *testing.T, deed, options string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], t.TempDir())
	cmd.Env = append(os.Environ(), childEnv+"="+deed, optionsEnv+"="+options)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	text, err := cmd.CombinedOutput()
	t.Logf("%s", text)
	if err != nil {
		t.Fatalf("%v (a tmpfs is mounted for this test: run it as root, or allow user namespaces)", err)
	}
}

// TestFullDisk fills the disk up to every point at which a device writes
// something: it starts and works, or says clearly that it cannot, and in no case
// loses its keys, or a request that it has accepted.
func TestFullDisk(t *testing.T) {
	for what, options := range map[string]string{
		"no room for data":  "size=1m",
		"no room for files": "size=64m,nr_inodes=40",
	} {
		t.Run(what, func(t *testing.T) { runOnDisk(t, "live", options) })
	}
}

// smallDisk is a device with its state on a disk of its own.
type smallDisk struct {
	dir      string
	cfg      Config
	id       protocol.PeerID
	keys     map[string][]byte // files that must never change
	accepted []protocol.RequestID
}

// liveOnSmallDisk starts a device again and again, each time with a little more
// room than the last time.
func liveOnSmallDisk(dir string) error {
	d := &smallDisk{dir: dir, cfg: deviceConfig(filepath.Join(dir, "state"), keys.NewSecret())}
	if _, err := d.live("first"); err != nil {
		return fmt.Errorf("with all the room: %w", err)
	}
	d.keys = d.files("seed", "secret", "token")
	if len(d.keys) != 3 {
		return fmt.Errorf("only %d key files are there", len(d.keys))
	}
	started, took := 0, 0
	const most = 24 // pages, or files
	for room := range most {
		if err := d.fill(room); err != nil {
			return err
		}
		up, err := d.live(fmt.Sprint("with room for ", room))
		if up {
			started++
		}
		if err == nil {
			took++
		} else if !isFull(err) {
			return fmt.Errorf("with room for %d: %w", room, err)
		}
		// It moves to another mesh, as far as there is room for that.
		other := keys.NewSecret()
		kept := d.cfg.Secret
		if err := keepSecret(d.cfg.StateDir, other, d.cfg.Log); err == nil {
			kept = other
		} else if !isFull(err) {
			return fmt.Errorf("move with room for %d: %w", room, err)
		}
		if now, err := keys.ReadSecretFile(filepath.Join(d.cfg.StateDir, SecretFile)); err != nil || !now.Equal(kept) {
			return fmt.Errorf("with room for %d the secret is %v: %w", room, now, err)
		}
		if err := d.empty(); err != nil {
			return err
		}
		if err := d.check(); err != nil {
			return fmt.Errorf("after room for %d: %w", room, err)
		}
	}
	fmt.Printf("of %d starts on a full disk %d succeeded, and %d accepted a request\n", most, started, took)
	if took == 0 || took == most {
		return errors.New("the disk was never full, or always")
	}
	return nil
}

func deviceConfig(dir string, secret keys.Secret) Config {
	cfg := DefaultConfig()
	cfg.Secret, cfg.Name, cfg.StateDir, cfg.NoDiscovery = secret, "device", dir, true
	cfg.Listen = []ma.Multiaddr{ma.StringCast("/ip4/127.0.0.1/tcp/0")}
	cfg.Log = slog.New(slog.DiscardHandler)
	return cfg
}

// live starts the device and has it accept a request; up says that it started.
func (d *smallDisk) live(request string) (up bool, err error) {
	n, err := New(d.cfg)
	if err != nil {
		return false, err
	}
	if d.id == "" {
		d.id = n.ID()
	}
	if n.ID() != d.id {
		return false, fmt.Errorf("it is %s now and was %s", n.ID(), d.id)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	select {
	case <-n.Ready():
	case err := <-ended:
		cancel()
		return false, err
	case <-time.After(time.Minute):
		cancel()
		return false, errors.New("it is never ready")
	}
	id := protocol.RequestID(fmt.Sprintf("%x", request))
	_, err = n.journal.Accepted(ctx, journal.Request{
		ID: id, Service: protocol.Service{Image: "image", Env: []string{"X=" + string(make([]byte, 9000))}}, Detached: true, At: time.Now(),
	})
	if err == nil {
		d.accepted = append(d.accepted, id)
	} else if protocol.CodeOf(err) != protocol.CodeDiskFull {
		err = fmt.Errorf("refused otherwise than for the full disk: %w", err)
	}
	cancel()
	return true, errors.Join(err, <-ended)
}

// isFull reports whether err tells people what is wrong.
func isFull(err error) bool {
	return protocol.CodeOf(err) == protocol.CodeDiskFull || errors.Is(err, syscall.ENOSPC)
}

// fill leaves room for so many pages, or files.
func (d *smallDisk) fill(room int) error {
	f, err := os.Create(filepath.Join(d.dir, "ballast"))
	if err != nil {
		return err
	}
	defer f.Close()
	page, size := make([]byte, 4096), int64(0)
	var stat syscall.Statfs_t
	if err := syscall.Statfs(d.dir, &stat); err != nil {
		return err
	}
	if few := stat.Files < 1000; few {
		for i := range int(stat.Ffree) - room {
			if err := os.WriteFile(filepath.Join(d.dir, fmt.Sprint("ballast", i)), nil, 0o600); err != nil {
				return err
			}
		}
		return nil
	}
	for {
		n, err := f.Write(page)
		if size += int64(n); errors.Is(err, syscall.ENOSPC) {
			return f.Truncate(max(0, size-int64(room)*4096))
		} else if err != nil {
			return err
		}
	}
}

// empty makes room again.
func (d *smallDisk) empty() error {
	all, err := filepath.Glob(filepath.Join(d.dir, "ballast*"))
	for _, file := range all {
		err = errors.Join(err, os.Remove(file))
	}
	return err
}

// files returns what the files in the state folder hold, of those there are.
func (d *smallDisk) files(names ...string) map[string][]byte {
	all := make(map[string][]byte)
	for _, name := range names {
		if data, err := os.ReadFile(filepath.Join(d.cfg.StateDir, name)); err == nil {
			all[name] = data
		}
	}
	return all
}

// check looks at all that was kept, with room for it.
func (d *smallDisk) check() error {
	if err := keys.ReplaceSecretFile(filepath.Join(d.cfg.StateDir, SecretFile), d.cfg.Secret); err != nil {
		return err
	}
	for name, want := range d.keys {
		if got := d.files(name)[name]; !bytes.Equal(got, want) {
			return fmt.Errorf("%s has changed: %q", name, got)
		}
	}
	left, err := filepath.Glob(filepath.Join(d.cfg.StateDir, "*.new"))
	if err != nil || len(left) > 0 {
		return fmt.Errorf("half-written files are left: %v, %w", left, err)
	}
	if bad, err := filepath.Glob(filepath.Join(d.cfg.StateDir, "*.bad*")); err != nil || len(bad) > 0 {
		return fmt.Errorf("damaged files were set aside: %v, %w", bad, err)
	}
	n, err := New(d.cfg)
	if err != nil {
		return err
	}
	defer n.Close()
	for _, id := range d.accepted {
		if _, err := n.journal.Find(id); err != nil {
			return fmt.Errorf("request %s: %w", id, err)
		}
	}
	return nil
}

// TestMoveToAnotherMesh: what was accepted in one mesh is not known in another,
// and is there again when the device moves back.
func TestMoveToAnotherMesh(t *testing.T) {
	dir := t.TempDir()
	home, away := keys.NewSecret(), keys.NewSecret()
	ids := make(map[string]protocol.PeerID)
	for i, secret := range []keys.Secret{home, away, home} {
		n, err := New(deviceConfig(dir, secret))
		if err != nil {
			t.Fatal(err)
		}
		if before, again := ids[secret.Text()]; again && before != n.ID() {
			t.Errorf("it is %s now and was %s", n.ID(), before)
		}
		ids[secret.Text()] = n.ID()
		_, err = n.journal.Find("r")
		if known := err == nil; known != (i == 2) || err != nil && !errors.Is(err, journal.ErrNotFound) {
			t.Errorf("start %d: %v", i, err)
		}
		if i == 0 {
			if _, err := n.journal.Accepted(t.Context(), journal.Request{ID: "r", Service: protocol.Service{Image: "image"}, At: time.Now()}); err != nil {
				t.Fatal(err)
			}
		}
		n.Close()
	}
	if ids[home.Text()] == ids[away.Text()] {
		t.Error("it has the same identity in both")
	}
	if _, err := os.Stat(filepath.Join(dir, JournalFile(away.Fingerprint()))); errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// TestJournalOfTheVersionBefore: a device that is upgraded knows what it accepted.
func TestJournalOfTheVersionBefore(t *testing.T) {
	former, err := os.ReadFile("../../../sched/journal/testdata/journal-v1.db")
	if err != nil {
		t.Fatal(err)
	}
	dir, secret := t.TempDir(), keys.NewSecret()
	if err := os.WriteFile(filepath.Join(dir, formerJournal(secret.Fingerprint())), former, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		n, err := New(deviceConfig(dir, secret))
		if err != nil {
			t.Fatal(err)
		}
		if r, err := n.journal.Find("offered"); err != nil || r.Offer.Attempt != 2 {
			t.Errorf("%+v, %v", r.Offer, err)
		}
		n.Close()
	}
}
