package stack

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// crashDir names the folder of a process that is to be killed.
const crashDir = "HEARTH_TEST_CRASH_DIR"

// runCrasher changes stacks without an end, and tells what was acknowledged.
func runCrasher(dir string) {
	h := crashHolder(dir)
	ctx := context.Background()
	go func() { _ = h.Run(ctx) }()
	for i := uint64(0); ; i++ {
		name := protocol.StackName(fmt.Sprint("s", i%3))
		u := stackOf(name, fmt.Sprintf("web=good:%d", i))
		u.Record.Stack.Files = []protocol.StackFile{{Name: "key", Data: []byte(fmt.Sprint("secret", i)), Secret: true}}
		if i%2 == 0 {
			u = withData(u)
		}
		u.Record.Stack.Normalize()
		u.Record.By, u.Record.Salt, u.Detach = "peer0", []byte("salt"), i%5 != 4
		u.Record.Version = 1
		if e := h.entry(name); e != nil {
			k := h.latest(e)
			u.Record.Version = k.Record.Version + 1
		}
		if err := SignRecord(&u.Record, testKeys("peer0").Sign); err != nil {
			panic(err)
		}
		err := h.UpStack(ctx, u, func(s protocol.StackUpdate) error {
			if s.Accepted > 0 {
				fmt.Printf("up %s %d %d\n", name, s.Accepted, i)
			}
			return nil
		})
		if err != nil && protocol.CodeOf(err) != protocol.CodeConflict {
			panic(err)
		}
		switch i % 7 {
		case 3:
			if h.ControlStack(ctx, protocol.ControlStack{Name: name, Action: protocol.StackStop}) == nil {
				fmt.Printf("stop %s\n", name)
			}
		case 5:
			data := i%4 == 1
			fmt.Printf("ending %s\n", name)
			if h.ControlStack(ctx, protocol.ControlStack{Name: name, Action: protocol.StackDown, Data: data}) == nil {
				fmt.Printf("down %s %v\n", name, data)
			}
		}
	}
}

func crashHolder(dir string) *Holder {
	h, err := NewHolder(HolderConfig{
		Self: "peer0", Name: "node0", Dir: dir, Sealer: reversed{}, Keeper: newMemoryKeeper(),
		Admit: func(protocol.PeerID) error { return nil }, Keys: testKeys("peer0"), Now: time.Now, Changed: func() {}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		panic(err)
	}
	return h
}

// TestKilledAtAnyStep: a process that changes stacks is killed again and again. The
// next one finds all that was acknowledged, whole, and at most the one step that
// was under way.
func TestKilledAtAnyStep(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "stacks")
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	for round := range 10 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), crashDir+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		told := bufio.NewScanner(out)
		var acked []string
		for most := 1 + rng.IntN(12); len(acked) < most && told.Scan(); {
			acked = append(acked, told.Text())
		}
		time.AfterFunc(time.Duration(rng.IntN(3000))*time.Microsecond, func() { _ = cmd.Process.Kill() })
		for told.Scan() {
			acked = append(acked, told.Text())
		}
		_ = cmd.Wait()
		checkAfterCrash(t, crashHolder(dir), acked)
		if t.Failed() {
			t.Fatalf("round %d, seed %d: %q", round, seed, acked)
		}
	}
}

// checkAfterCrash compares what is kept with what was acknowledged last of each
// stack.
func checkAfterCrash(t *testing.T, h *Holder, acked []string) {
	t.Helper()
	if len(h.Damaged()) > 0 {
		t.Errorf("damaged: %q", h.Damaged())
	}
	last := make(map[string]string)
	for _, line := range acked {
		last[strings.Fields(line)[1]] = line
	}
	for name, line := range last {
		var version, i uint64
		e := h.entry(protocol.StackName(name))
		if _, err := fmt.Sscanf(line, "up "+name+" %d %d", &version, &i); err != nil {
			if e == nil && strings.HasPrefix(line, "stop") {
				t.Errorf("%s is gone after %q", name, line)
			}
			continue
		}
		if e == nil {
			t.Errorf("%s is gone after %q", name, line)
			continue
		}
		k := h.latest(e)
		if k.Record.Version < version || k.Record.Version > version+1 {
			t.Errorf("%s is at version %d after %q", name, k.Record.Version, line)
		}
		if k.Record.Version == version && string(k.Record.Stack.Files[0].Data) != fmt.Sprint("secret", i) {
			t.Errorf("%s holds %q after %q", name, k.Record.Stack.Files[0].Data, line)
		}
		for j, old := range e.history {
			if want := k.Record.Version - uint64(j); old.Record.Version != want {
				t.Errorf("%s has version %d in place of %d", name, old.Record.Version, want)
			}
		}
	}
}

// A change that was cut short by a power cut leaves a file that counts, or none.
func TestFilesThatAreNotWhole(t *testing.T) {
	dir := t.TempDir()
	h := crashHolder(dir)
	for v := uint64(1); v <= 2; v++ {
		u := stackOf("web", fmt.Sprint("web=good:", v))
		u.Record.Version = v
		if err := h.store.put(kept{Record: u.Record}); err != nil {
			t.Fatal(err)
		}
	}
	whole, err := os.ReadFile(filepath.Join(dir, "web.2"))
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string][]byte{
		"empty": nil, "cut": whole[:len(whole)-1], "zeros": make([]byte, len(whole)), "changed": append(whole[:40:40], append([]byte{whole[40] ^ 1}, whole[41:]...)...),
		"longer": append(whole[:len(whole):len(whole)], 0), "other version": mustRead(t, filepath.Join(dir, "web.1")),
	} {
		if err := os.WriteFile(filepath.Join(dir, "web.2"), raw, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "web.3"+partSuffix), whole, 0o600); err != nil {
			t.Fatal(err)
		}
		h := crashHolder(dir)
		if k := h.latest(h.entry("web")); k.Record.Version != 1 || len(h.Damaged()) != 1 {
			t.Errorf("%s: version %d counts, damaged: %q", name, k.Record.Version, h.Damaged())
		}
		if _, err := os.Stat(filepath.Join(dir, "web.3"+partSuffix)); err == nil {
			t.Errorf("%s: what was never whole is still there", name)
		}
		if err := os.Remove(filepath.Join(dir, "web.2"+damagedSuffix)); err != nil {
			t.Errorf("%s: it was not put aside: %v", name, err)
		}
	}
}

func mustRead(t *testing.T, path string) []byte {
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// A full disk, or one that cannot be written, changes nothing.
func TestDiskThatTakesNothing(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Log("as root only a folder that is none can be tried")
	}
	bubble(t, 1, func(t *testing.T, h *home) {
		d := h.devices[0]
		d.mustUp(stackOf("web", "web=good"))
		dir := filepath.Join(d.dir, "stacks")
		if err := os.Rename(dir, dir+".away"); err != nil {
			t.Fatal(err)
		}
		if _, err := d.up(stackOf("web", "web=good:2")); err == nil {
			t.Error("a change was accepted that is not on the disk")
		}
		if err := d.mesh.ControlStack(t.Context(), protocol.ControlStack{Name: "web", Action: protocol.StackDown}); err == nil {
			t.Error("an end was accepted that is not on the disk")
		}
		want(t, d.list(false), "web 1 up on node0")
		want(t, d.keeper.log(), "apply web 1")
		if err := os.Rename(dir+".away", dir); err != nil {
			t.Fatal(err)
		}
		want(t, d.mustUp(stackOf("web", "web=good:2")), "plan 1→2 on node0: recreate web", "accepted 2", "up")
	})
}

func FuzzStoreFile(f *testing.F) {
	u := stackOf("web", "web=good")
	raw, err := encodeKept(&kept{Record: u.Record, Phase: phaseDown, Pending: 5, Sealed: []byte("x")})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		k, err := decodeKept(raw)
		if err == nil && k.Record.Stack.Validate() != nil {
			t.Fatalf("an invalid stack: %+v", k)
		}
	})
}

func FuzzNames(f *testing.F) {
	f.Add([]byte(`[{"name":"web","holder":"peer0","holder_name":"nas","version":3,"seen":"2026-01-02T03:04:05Z"}]`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		list, err := decodeNames(raw)
		if err == nil && len(list) > maxNames {
			t.Fatalf("%d names", len(list))
		}
	})
}
