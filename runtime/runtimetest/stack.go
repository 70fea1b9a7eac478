package runtimetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/stack"
)

// StackOptions say how the engine under test is told to do things.
type StackOptions struct {
	// Image is one that is present, Missing one that is not.
	Image, Missing string
	Script         Script
	// Other makes an engine of another node on the same machine.
	Other func(t *testing.T) stack.Engine
	// Kill kills a container as a person does with the engine's own command.
	Kill func(t *testing.T, id string)
}

// StackConformance tests a stack.Engine. newEngine is called once for each subtest;
// its engines may be of one node.
func StackConformance(t *testing.T, newEngine func(t *testing.T) stack.Engine, o StackOptions) {
	for _, c := range []struct {
		name string
		test func(*testing.T, stackSuite)
	}{
		{"Life", testStackLife},
		{"CreateTwice", testStackCreateTwice},
		{"ImageMissing", testStackImageMissing},
		{"StartedAgain", testStackStartedAgain},
		{"StopKillsAfterGrace", testStackStopKills},
		{"Healthy", testStackHealthy},
		{"Unhealthy", testStackUnhealthy},
		{"KilledByAnother", testStackKilled},
		{"Volumes", testStackVolumes},
		{"Networks", testStackNetworks},
		{"Logs", testStackLogs},
		{"OthersAreNotTouched", testStackOthers},
		{"SharedNetwork", testStackJoined},
		{"NotFound", testStackNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.test(t, stackSuite{engine: newEngine(t), options: o, name: protocol.StackName("t" + strings.ToLower(rand.Text()[:8]))})
		})
	}
}

// stackSuite is what one test works with: a stack of its own.
type stackSuite struct {
	engine  stack.Engine
	options StackOptions
	name    protocol.StackName
}

func (s stackSuite) context(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// spec describes a service without a network.
func (s stackSuite) spec(service string, command []string) stack.Spec {
	return stack.Spec{
		Stack:   s.name, // Without an init process a shell would not notice TERM.
		Service: protocol.StackService{Name: service, Number: 1, Image: s.options.Image, Command: command, Init: true},
		Image:   s.options.Image, Hash: "hash-of-" + service, Mode: "none", Pids: 64, ShmSize: 1 << 20,
	}
}

// create creates a container that is removed when the test ends.
func (s stackSuite) create(t *testing.T, spec stack.Spec) string {
	t.Helper()
	id, err := s.engine.Create(s.context(t), spec)
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	t.Cleanup(func() { s.must(t, s.engine.Remove(s.cleanUp(t), id)) })
	return id
}

// cleanUp is a context for what is done when the test has ended.
func (s stackSuite) cleanUp(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	time.AfterFunc(patience, cancel)
	_ = t
	return ctx
}

func (s stackSuite) start(t *testing.T, spec stack.Spec) string {
	t.Helper()
	id := s.create(t, spec)
	s.must(t, s.engine.Start(s.context(t), id, &spec))
	return id
}

func (s stackSuite) must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s stackSuite) look(t *testing.T, id string) stack.Container {
	t.Helper()
	c, err := s.engine.Container(s.context(t), id)
	s.must(t, err)
	return c
}

// watch follows the engine until the test ends, and returns its events.
func (s stackSuite) watch(t *testing.T) <-chan stack.Event {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	up, events, ended := make(chan struct{}), make(chan stack.Event, 1024), make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.engine.Watch(ctx, func() error { close(up); return nil }, func(e stack.Event) { events <- e })
	}()
	t.Cleanup(func() { cancel(); <-ended })
	select {
	case <-up:
	case <-time.After(patience):
		t.Fatal("Watch says nothing")
	}
	return events
}

// until reads events until one of the container makes is true.
func (s stackSuite) until(t *testing.T, events <-chan stack.Event, id, what string, is func(stack.Event, stack.Container) bool) stack.Container {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case e := <-events:
			if e.Container != id {
				continue
			}
			c, err := s.engine.Container(s.context(t), id)
			if err != nil && !errors.Is(err, runtime.ErrNotFound) {
				t.Fatal(err)
			}
			if is(e, c) {
				return c
			}
		case <-deadline:
			t.Fatalf("no event tells of %s", what)
		}
	}
}

func inState(want stack.ContainerState) func(stack.Event, stack.Container) bool {
	return func(_ stack.Event, c stack.Container) bool { return c.State == want }
}

func testStackLife(t *testing.T, s stackSuite) {
	events := s.watch(t)
	spec := s.spec("web", s.options.Script.Sleep(time.Hour))
	spec.Hosts = []string{"db:10.1.2.3"}
	spec.Mode = "host" // names of one's own need a network
	id := s.create(t, spec)
	image, err := s.engine.Image(s.context(t), s.options.Image)
	s.must(t, err)
	c := s.look(t, id)
	if c.ID != id || c.Stack != s.name || c.Service != "web" || c.Hash != spec.Hash || c.State != stack.Created || c.ImageID != image.ID || !slices.Equal(c.Hosts, spec.Hosts) || !image.Runs {
		t.Errorf("created: %+v of %+v", c, image)
	}
	s.must(t, s.engine.Start(s.context(t), id, &spec))
	c = s.until(t, events, id, "the start", inState(stack.Running))
	if c.Started.IsZero() || c.Health != "" {
		t.Errorf("running: %+v", c)
	}
	all, err := s.engine.Containers(s.context(t))
	s.must(t, err)
	if !slices.ContainsFunc(all, func(o stack.Container) bool { return o.ID == id && o.State == stack.Running }) {
		t.Errorf("it is not listed: %+v", all)
	}
	s.must(t, s.engine.Start(s.context(t), id, &spec)) // what runs goes on
	s.awaitLine(t, id, "ready")                        // before that the signal would be the runtime's
	s.must(t, s.engine.Stop(s.context(t), id, "", time.Minute))
	c = s.until(t, events, id, "the end", inState(stack.Exited))
	if c.ExitCode != 143 || c.Finished.Before(c.Started) {
		t.Errorf("ended: %+v", c)
	}
	s.must(t, s.engine.Stop(s.context(t), id, "", time.Minute))
	s.must(t, s.engine.Remove(s.context(t), id))
	s.until(t, events, id, "the removal", func(e stack.Event, _ stack.Container) bool { return e.Kind == stack.EventGone })
	s.must(t, s.engine.Remove(s.context(t), id))
}

func testStackCreateTwice(t *testing.T, s stackSuite) {
	s.create(t, s.spec("a", s.options.Script.Exit(0)))
	s.create(t, s.spec("b", s.options.Script.Exit(0)))
	_, err := s.engine.Create(s.context(t), s.spec("a", s.options.Script.Exit(1)))
	if protocol.CodeOf(err) != protocol.CodeConflict {
		t.Errorf("a second container: %v", err)
	}
}

func testStackImageMissing(t *testing.T, s stackSuite) {
	spec := s.spec("a", nil)
	spec.Image = s.options.Missing
	if _, err := s.engine.Create(s.context(t), spec); protocol.CodeOf(err) != protocol.CodeImageNotFound {
		t.Errorf("Create: %v", err)
	}
	if _, err := s.engine.Image(s.context(t), s.options.Missing); !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("Image: %v", err)
	}
}

func testStackStartedAgain(t *testing.T, s stackSuite) {
	events := s.watch(t)
	spec := s.spec("a", s.options.Script.Print("one\ntwo\n", ""))
	id := s.start(t, spec)
	first := s.until(t, events, id, "the end", inState(stack.Exited))
	s.must(t, s.engine.Start(s.context(t), id, &spec))
	second := s.until(t, events, id, "the second end", func(_ stack.Event, c stack.Container) bool {
		return c.State == stack.Exited && c.Finished.After(first.Finished)
	})
	if second.ID != first.ID || second.ExitCode != 0 || !second.Started.After(first.Started) {
		t.Errorf("%+v after %+v", second, first)
	}
	if got := s.lines(t, id, stack.LogOptions{}); !slices.Equal(got, []string{"one", "two", "one", "two"}) {
		t.Errorf("%q", got)
	}
}

func testStackStopKills(t *testing.T, s stackSuite) {
	spec := s.spec("a", s.options.Script.Stubborn(time.Hour))
	id := s.start(t, spec)
	s.awaitLine(t, id, "ready")
	s.must(t, s.engine.Stop(s.context(t), id, "", time.Second))
	if c := s.look(t, id); c.State != stack.Exited || c.ExitCode != 137 {
		t.Errorf("%+v", c)
	}
}

// awaitLine waits until a container has written a line.
func (s stackSuite) awaitLine(t *testing.T, id, want string) {
	t.Helper()
	found := errors.New("found")
	err := s.engine.Logs(s.context(t), id, stack.LogOptions{Follow: true}, func(l protocol.LogLine) error {
		if l.Text == want {
			return found
		}
		return nil
	})
	if !errors.Is(err, found) {
		t.Fatalf("the line %q did not come: %v", want, err)
	}
}

func (s stackSuite) checked(test ...string) stack.Spec {
	spec := s.spec("a", s.options.Script.Sleep(time.Hour))
	spec.Service.Health = &protocol.HealthCheck{Test: append([]string{"CMD"}, test...), Interval: 1000, Timeout: 5000, Retries: 2}
	return spec
}

func testStackHealthy(t *testing.T, s stackSuite) {
	events := s.watch(t)
	id := s.start(t, s.checked("true"))
	c := s.until(t, events, id, "its health", func(_ stack.Event, c stack.Container) bool { return c.Health == "healthy" })
	if c.HealthInterval != time.Second {
		t.Errorf("%+v", c)
	}
}

func testStackUnhealthy(t *testing.T, s stackSuite) {
	events := s.watch(t)
	id := s.start(t, s.checked("false"))
	s.until(t, events, id, "its health", func(_ stack.Event, c stack.Container) bool { return c.Health == "unhealthy" })
}

// testStackKilled: it is told that the end is not its own.
func testStackKilled(t *testing.T, s stackSuite) {
	events := s.watch(t)
	id := s.start(t, s.spec("a", s.options.Script.Sleep(time.Hour)))
	s.until(t, events, id, "the start", inState(stack.Running))
	s.options.Kill(t, id)
	signalled, ended := false, false
	c := s.until(t, events, id, "the end", func(e stack.Event, c stack.Container) bool {
		signalled = signalled || e.Kind == stack.EventSignalled
		ended = ended || e.Kind == stack.EventChanged && c.State == stack.Exited
		return signalled && ended
	})
	if c.ExitCode != 137 {
		t.Errorf("%+v", c)
	}
}

func testStackVolumes(t *testing.T, s stackSuite) {
	name := fmt.Sprintf("hearth_%s_data", s.name)
	if _, err := s.engine.Volume(s.context(t), name); !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("one that was never made: %v", err)
	}
	want := stack.Volume{Name: name, Stack: s.name, Volume: "data"}
	s.must(t, s.engine.MakeVolume(s.context(t), want))
	t.Cleanup(func() { s.must(t, s.engine.RemoveVolume(s.cleanUp(t), name)) })
	s.must(t, s.engine.MakeVolume(s.context(t), want))
	if got, err := s.engine.Volume(s.context(t), name); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	other := s.options.Other(t)
	if got, err := other.Volume(s.context(t), name); err != nil || got.Stack != "" {
		t.Errorf("to another node it is %+v, %v", got, err)
	}
	s.must(t, other.RemoveVolume(s.context(t), name))
	if _, err := s.engine.Volume(s.context(t), name); err != nil {
		t.Errorf("another node could remove it: %v", err)
	}
	s.must(t, s.engine.RemoveVolume(s.context(t), name))
	s.must(t, s.engine.RemoveVolume(s.context(t), name))
	if _, err := s.engine.Volume(s.context(t), name); !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("it is still there: %v", err)
	}
}

// network makes one in a range that nothing else uses.
func (s stackSuite) network(t *testing.T, name string, third byte) stack.Network {
	t.Helper()
	base := netip.AddrFrom4([4]byte{10, 254, third &^ 1, 0})
	n := stack.Network{
		Name: fmt.Sprintf("hearth_%s_%s", s.name, name), Stack: s.name, Subnets: []netip.Prefix{netip.PrefixFrom(base, 23)},
		Gateway: netip.AddrFrom4([4]byte{10, 254, third &^ 1, 254}), Range: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 254, third | 1, 0}), 24),
	}
	s.must(t, s.engine.MakeNetwork(s.context(t), n))
	t.Cleanup(func() { s.must(t, s.engine.RemoveNetwork(s.cleanUp(t), n.Name)) })
	return n
}

func testStackNetworks(t *testing.T, s stackSuite) {
	n := s.network(t, "default", 10)
	again := n
	again.Name += "2"
	if err := s.engine.MakeNetwork(s.context(t), again); protocol.CodeOf(err) != protocol.CodeConflict {
		t.Errorf("two with the same addresses: %v", err)
	}
	find := func(e stack.Engine) *stack.Network {
		all, err := e.Networks(s.context(t))
		s.must(t, err)
		if i := slices.IndexFunc(all, func(o stack.Network) bool { return o.Name == n.Name }); i >= 0 {
			return &all[i]
		}
		return nil
	}
	if got := find(s.engine); got == nil || got.Stack != s.name || !slices.Equal(got.Subnets, n.Subnets) || got.Internal {
		t.Errorf("%+v", got)
	}
	if got := find(s.options.Other(t)); got == nil || got.Stack != "" {
		t.Errorf("to another node it is %+v", got)
	}
	spec := s.spec("a", s.options.Script.Sleep(time.Hour))
	spec.Mode, spec.Networks = "", []stack.Endpoint{{Network: n.Name, Address: netip.AddrFrom4([4]byte{10, 254, 10, 7}), Aliases: []string{"a"}}}
	s.start(t, spec)
	s.must(t, s.engine.RemoveNetwork(s.context(t), n.Name))
	if find(s.engine) != nil {
		t.Error("it is still there")
	}
	s.must(t, s.engine.RemoveNetwork(s.context(t), n.Name))
}

func (s stackSuite) lines(t *testing.T, id string, o stack.LogOptions) (lines []string) {
	t.Helper()
	s.must(t, s.engine.Logs(s.context(t), id, o, func(l protocol.LogLine) error {
		lines = append(lines, l.Text)
		return nil
	}))
	return lines
}

func testStackLogs(t *testing.T, s stackSuite) {
	events := s.watch(t)
	spec := s.spec("a", s.options.Script.Print("one\ntwo\n", "three\n"))
	id := s.start(t, spec)
	s.until(t, events, id, "the end", inState(stack.Exited))
	var all []protocol.LogLine
	s.must(t, s.engine.Logs(s.context(t), id, stack.LogOptions{Follow: true}, func(l protocol.LogLine) error {
		all = append(all, l)
		return nil
	}))
	// The engine takes the two channels from two pipes, in no certain order.
	slices.SortStableFunc(all, func(a, b protocol.LogLine) int { return int(a.Channel) - int(b.Channel) })
	if len(all) != 3 || all[0].Text != "one" || all[1].Text != "two" || all[0].Channel != protocol.Stdout || all[2].Text != "three" || all[2].Channel != protocol.Stderr || all[0].Service != "a" || all[0].At.IsZero() || all[0].Cut {
		t.Fatalf("%+v", all)
	}
	if got := s.lines(t, id, stack.LogOptions{Tail: 1}); len(got) != 1 {
		t.Errorf("the last line: %q", got)
	}
	last := slices.MaxFunc(all, func(a, b protocol.LogLine) int { return a.At.Compare(b.At) })
	if got := s.lines(t, id, stack.LogOptions{Since: last.At.Add(time.Nanosecond)}); len(got) != 0 {
		t.Errorf("after the last line: %q", got)
	}
	stop := errors.New("stop")
	if err := s.engine.Logs(s.context(t), id, stack.LogOptions{}, func(protocol.LogLine) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
	// Who follows what runs is woken by the end of ctx.
	running := s.start(t, s.spec("b", s.options.Script.Sleep(time.Hour)))
	ctx, cancel := context.WithCancel(s.context(t))
	if err := s.engine.Logs(ctx, running, stack.LogOptions{Follow: true}, func(protocol.LogLine) error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func testStackOthers(t *testing.T, s stackSuite) {
	id := s.create(t, s.spec("a", s.options.Script.Exit(0)))
	other := s.options.Other(t)
	if _, err := other.Container(s.context(t), id); !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("another node sees it: %v", err)
	}
	all, err := other.Containers(s.context(t))
	if err != nil || slices.ContainsFunc(all, func(c stack.Container) bool { return c.ID == id }) {
		t.Errorf("another node lists it: %+v, %v", all, err)
	}
	s.must(t, other.Remove(s.context(t), id))
	s.look(t, id)
}

func testStackJoined(t *testing.T, s stackSuite) {
	first := s.start(t, s.spec("a", s.options.Script.Sleep(time.Hour)))
	spec := s.spec("b", s.options.Script.Sleep(time.Hour))
	spec.Mode = "container:" + first
	spec.Hosts = []string{"x:10.1.2.3"}
	if c := s.look(t, s.start(t, spec)); c.Joined != first || c.State != stack.Running {
		t.Errorf("%+v", c)
	}
}

func testStackNotFound(t *testing.T, s stackSuite) {
	spec := s.spec("a", nil)
	for what, err := range map[string]error{
		"Start": s.engine.Start(s.context(t), "none", &spec),
		"Stop":  s.engine.Stop(s.context(t), "none", "", time.Second),
		"Logs":  s.engine.Logs(s.context(t), "none", stack.LogOptions{}, nil),
	} {
		if !errors.Is(err, runtime.ErrNotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
