package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/stack"
)

// keeperBed is a Keeper on the engine, with a stack of its own name.
type keeperBed struct {
	*testing.T
	cfg    stack.Config
	driver *Driver
	keeper *stack.Keeper
	name   protocol.StackName
	image  string
	stop   func()
}

func newKeeper(t *testing.T, image string) *keeperBed {
	t.Helper()
	d := newTestDriver(t, func(c *Config) { c.MemoryDir = filepath.Join("/dev/shm", "hearth-"+unique()) })
	t.Cleanup(func() { os.RemoveAll(d.cfg.MemoryDir) })
	b := &keeperBed{T: t, driver: d, name: protocol.StackName("t" + unique()), image: image, cfg: stack.Config{
		Node: d.cfg.Node, Name: "me", Engine: d.Stacks(), Policy: runtime.DefaultPolicy(), Dir: filepath.Join(t.TempDir(), "stacks"),
		Here: func() runtime.Here {
			return runtime.Here{Lent: runtime.Lent{CPUs: 2, Memory: 2 << 30}, Look: runtime.LookFile, Has: func(string) bool { return true }}
		},
		Reserve: func(protocol.Cores, protocol.Bytes) {}, Log: slog.New(slog.DiscardHandler),
	}}
	b.run()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := b.keeper.Remove(ctx, b.name, true); err != nil {
			t.Error(err)
		}
		b.stop()
	})
	return b
}

func (b *keeperBed) run(records ...protocol.StackRecord) {
	b.Helper()
	k, err := stack.New(b.cfg)
	if err != nil {
		b.Fatal(err)
	}
	for _, r := range records {
		b.must(k.Apply(b.Context(), r))
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- k.Run(ctx) }()
	b.keeper = k
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
}

func (b *keeperBed) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *keeperBed) service(name string, number uint8, command ...string) protocol.StackService {
	return protocol.StackService{Name: name, Number: number, Image: b.image, Command: command, Restart: protocol.RestartAlways, Init: true}
}

func (b *keeperBed) record(version uint64, services ...protocol.StackService) protocol.StackRecord {
	return protocol.StackRecord{Version: version, Stack: protocol.Stack{Name: b.name, Services: services}}
}

// until waits for a status of the stack.
func (b *keeperBed) until(what string, is func(protocol.StackStatus) bool) (found protocol.StackStatus) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	err := b.keeper.Watch(ctx, b.name, func(s protocol.StackStatus) error {
		if found = s; is(s) {
			return io.EOF
		}
		return nil
	})
	if !errors.Is(err, io.EOF) {
		b.Fatalf("%s: %v, the stack is %+v", what, err, found)
	}
	return found
}

func (b *keeperBed) untilUp() protocol.StackStatus {
	b.Helper()
	return b.until("up", func(s protocol.StackStatus) bool { return s.State == protocol.StackUp })
}

// awaitLines waits until a service has written a line that holds the words so many
// times.
func (b *keeperBed) awaitLines(service, words string, times int) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	err := b.keeper.Logs(ctx, b.name, stack.LogQuery{Services: []string{service}, Follow: true}, func(l protocol.LogLine) error {
		if strings.Contains(l.Text, words) {
			if times--; times == 0 {
				return io.EOF
			}
		}
		return nil
	})
	if !errors.Is(err, io.EOF) {
		b.Fatalf("%q did not come: %v, the output is\n%s", words, err, b.output(service))
	}
}

// output returns what a service wrote.
func (b *keeperBed) output(service string) string {
	b.Helper()
	var text strings.Builder
	b.must(b.keeper.Logs(b.Context(), b.name, stack.LogQuery{Services: []string{service}}, func(l protocol.LogLine) error {
		text.WriteString(l.Text + "\n")
		return nil
	}))
	return text.String()
}

// folder is an archive with one file.
func folder(t *testing.T, name, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range []*tar.Header{{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(text))}, {Typeflag: tar.TypeSymlink, Name: "link", Linkname: "/etc"}} {
		if err := w.WriteHeader(f); err != nil {
			t.Fatal(err)
		}
		if f.Size > 0 {
			w.Write([]byte(text))
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// id is the running container of a service.
func (b *keeperBed) id(service string) string {
	b.Helper()
	id, err := b.keeper.Container(b.name, service)
	b.must(err)
	return id
}
