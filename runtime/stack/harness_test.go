package stack_test

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/fake"
	"github.com/hearth-edge/hearth/runtime/stack"
)

const self = protocol.PeerID("self")

// bed is a Keeper on a fake engine, inside a bubble of its own time.
type bed struct {
	*testing.T
	engine *fake.Engine
	stacks *fake.Stacks
	cfg    stack.Config
	keeper *stack.Keeper
	stop   func() // ends Run and waits for it
	taken  map[uint16]bool

	mu       sync.Mutex // guards reserved
	reserved protocol.Bytes
}

// inBubble runs f with a Keeper that runs.
func inBubble(t *testing.T, f func(*bed)) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "stacks")
	synctest.Test(t, func(t *testing.T) {
		b := &bed{T: t, taken: make(map[uint16]bool)}
		b.engine = fake.NewEngine(fake.Config{Images: map[string]fake.Image{
			"app": {}, "other": {}, "absent": {Absent: true, Pull: 10 * time.Second, Size: 1000},
			"broken": {Absent: true, Pull: time.Second, Fail: protocol.Errorf(protocol.CodePullFailed, "no luck")},
			"arm":    {Arch: "arm64"},
			"db":     {Volumes: []string{"/var/lib/db", "/log"}},
		}})
		b.stacks = b.engine.Stacks("mesh", self)
		policy := runtime.DefaultPolicy()
		b.cfg = stack.Config{
			Node: self, Name: "me", Engine: b.stacks, Policy: policy, Dir: dir, Log: slog.New(slog.DiscardHandler),
			Here: func() runtime.Here {
				return runtime.Here{Lent: runtime.Lent{CPUs: 2, Memory: 2 << 30}, Look: runtime.LookFile, Has: func(string) bool { return true }}
			},
			Reserve: func(_ protocol.Cores, m protocol.Bytes) {
				b.mu.Lock()
				defer b.mu.Unlock()
				b.reserved = m
			},
		}
		b.run()
		f(b)
		b.stop()
		b.engine.Close()
	})
}

// run starts a Keeper, as a process does; stop ends it, as a process does.
func (b *bed) run(records ...protocol.StackRecord) {
	b.Helper()
	k, err := stack.New(b.cfg)
	if err != nil {
		b.Fatal(err)
	}
	k.SetHost([]netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.168.7.2")}, []netip.Prefix{netip.MustParsePrefix("192.168.7.0/24")}, b.taken)
	for _, r := range records {
		if err := k.Apply(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	b.keeper = k
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
}

// restart ends the process and starts the next one.
func (b *bed) restart(records ...protocol.StackRecord) {
	b.Helper()
	b.stop()
	b.run(records...)
	synctest.Wait()
}

// svc is a service that runs until it is stopped.
func svc(name string, number uint8, change ...func(*protocol.StackService)) protocol.StackService {
	s := protocol.StackService{Name: name, Number: number, Image: "app", Command: []string{"out=" + name + " began\n", "sleep=10000h"}, Restart: protocol.RestartAlways}
	for _, c := range change {
		c(&s)
	}
	return s
}

func script(steps ...string) func(*protocol.StackService) {
	return func(s *protocol.StackService) { s.Command = steps }
}

func policy(p protocol.RestartPolicy) func(*protocol.StackService) {
	return func(s *protocol.StackService) { s.Restart = p }
}

func needs(name string, c protocol.Condition) func(*protocol.StackService) {
	return func(s *protocol.StackService) {
		s.DependsOn = append(s.DependsOn, protocol.Dependency{Service: name, Condition: c})
	}
}

func checked(test string, interval time.Duration) func(*protocol.StackService) {
	return func(s *protocol.StackService) {
		s.Health = &protocol.HealthCheck{Test: []string{"CMD", test}, Interval: protocol.Milliseconds(interval.Milliseconds()), Retries: 3}
	}
}

func record(name string, version uint64, services ...protocol.StackService) protocol.StackRecord {
	return protocol.StackRecord{Version: version, Stack: protocol.Stack{Name: protocol.StackName(name), Services: services}}
}

// apply applies a record and waits until nothing moves.
func (b *bed) apply(r protocol.StackRecord) {
	b.Helper()
	if err := b.keeper.Apply(b.Context(), r); err != nil {
		b.Fatal(err)
	}
	synctest.Wait()
}

// status returns that of a stack.
func (b *bed) status(name string) protocol.StackStatus {
	b.Helper()
	for _, s := range b.keeper.Status() {
		if s.Name == protocol.StackName(name) {
			return s
		}
	}
	b.Fatalf("no stack %s", name)
	return protocol.StackStatus{}
}

func (b *bed) instance(name, service string) protocol.InstanceStatus {
	b.Helper()
	for _, i := range b.status(name).Instances {
		if i.Service == service {
			return i
		}
	}
	b.Fatalf("no service %s/%s", name, service)
	return protocol.InstanceStatus{}
}

// is checks an instance's state.
func (b *bed) is(name, service string, want protocol.InstanceState) protocol.InstanceStatus {
	b.Helper()
	i := b.instance(name, service)
	if i.State != want {
		b.Errorf("%s/%s is %s (%s), want %s", name, service, i.State, i.Reason, want)
	}
	return i
}

// after lets time pass.
func (b *bed) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// lines returns what services wrote so far.
func (b *bed) lines(name string, q stack.LogQuery) (texts []string) {
	b.Helper()
	if err := b.keeper.Logs(b.Context(), protocol.StackName(name), q, func(l protocol.LogLine) error {
		texts = append(texts, l.Service+": "+l.Text)
		return nil
	}); err != nil {
		b.Error(err)
	}
	return texts
}

// must fails on an error.
func (b *bed) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
	synctest.Wait()
}

func (b *bed) containers() []stack.Container {
	b.Helper()
	all, err := b.stacks.Containers(context.Background())
	b.must(err)
	return all
}

var errStop = errors.New("stop")
