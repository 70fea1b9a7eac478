package docker

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/events"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/runtimetest"
)

// waiter writes a line, and one without its end; it goes on when it gets USR1,
// and ends then with 7.
const waiter = `trap 'echo go; exit 7' USR1; echo ready; printf "> "; while :; do sleep 0.02; done`

// offerWaiter starts the script on the node and returns when it waits.
func offerWaiter(t *testing.T, node *runtime.Node) *watched {
	t.Helper()
	spec := testSpec(daemonImage, "sh", "-c", waiter)
	o := offerOf(spec)
	o.Service.Network = "none"
	s, err := node.Offer(testContext(t), o)
	if err != nil {
		t.Fatal(err)
	}
	w := &watched{Session: s, t: t, id: spec.ID}
	w.readUntil(func() bool { return w.text == "ready\n> " })
	return w
}

// watched is a session with all that it has told.
type watched struct {
	protocol.Session
	t    *testing.T
	id   runtime.ExecutionID
	text string
	cut  uint64
	last protocol.Event
}

// readUntil reads until enough, or the end.
func (w *watched) readUntil(enough func() bool) {
	w.t.Helper()
	for !enough() {
		u, err := w.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			w.t.Fatal(err)
		}
		if u.Event != nil {
			w.last = *u.Event
		}
		if u.Output != nil {
			w.text += string(u.Output.Data)
			w.cut += u.Output.Cut
		}
	}
}

func (w *watched) readAll() { w.t.Helper(); w.readUntil(func() bool { return false }) }

// awaitReady blocks until the node says that it runs work, or that it does not.
func awaitReady(t *testing.T, node *runtime.Node, changed <-chan struct{}, want bool) runtime.State {
	t.Helper()
	for {
		if s := node.State(); s.Ready == want {
			return s
		}
		receive(t, changed, "news of the engine")
	}
}

// nodeOn runs a node on the daemon; changed gets a token after each change.
func nodeOn(t *testing.T, host ...func(*Config)) (node *runtime.Node, changed chan struct{}) {
	t.Helper()
	changed = make(chan struct{}, 1)
	node, _ = newNode(t, newTestDriver(t, host...), func(c *runtime.Config) {
		c.Changed = func() {
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	})
	awaitReady(t, node, changed, true)
	return node, changed
}

// TestEngineHangs: the node says so within seconds, refuses, comes back by
// itself, and what ran has run on.
func TestEngineHangs(t *testing.T) {
	d := newDaemon(t)
	node, changed := nodeOn(t)
	w := offerWaiter(t, node)

	start := time.Now()
	d.freeze()
	state := awaitReady(t, node, changed, false)
	t.Logf("hang noticed after %v: %s", time.Since(start).Round(time.Millisecond), state.Reason)
	_, err := node.Offer(testContext(t), offerOf(testSpec(daemonImage, "true")))
	refusal, _ := errors.AsType[*protocol.Refusal](err)
	if refusal == nil || refusal.Code != protocol.CodeEngineDown {
		t.Errorf("offer to a node whose engine hangs: %v", err)
	}
	if err := w.Signal("USR1"); err != nil { // it waits for the engine
		t.Error(err)
	}
	start = time.Now()
	d.thaw()
	awaitReady(t, node, changed, true)
	t.Logf("back after %v", time.Since(start).Round(time.Millisecond))
	if err := w.Signal("USR1"); err != nil {
		t.Error(err)
	}
	w.readAll()
	if w.text != "ready\n> go\n" || w.cut != 0 || w.last.ExitCode != 7 || w.last.State != protocol.StateFailed {
		t.Errorf("%q, %d cut, %+v", w.text, w.cut, w.last)
	}
}

// TestHangWhileACallWaits is noticed before the next look would be due.
func TestHangWhileACallWaits(t *testing.T) {
	d := newDaemon(t)
	node, changed := nodeOn(t)
	d.freeze()
	start := time.Now()
	s, err := node.Offer(testContext(t), offerOf(testSpec(daemonImage, "true")))
	if err != nil {
		t.Fatal(err)
	}
	w := &watched{Session: s, t: t}
	w.readAll()
	t.Logf("told after %v: %+v", time.Since(start).Round(time.Millisecond), w.last)
	if w.last.State != protocol.StateFailed || w.last.Code != protocol.CodeEngineDown {
		t.Errorf("%+v", w.last)
	}
	awaitReady(t, node, changed, false)
	d.thaw()
	awaitReady(t, node, changed, true)
}

// TestEngineEnds: whether it is killed or ends in order, what ran was lost with
// it; it runs on where the engine leaves it alone, and nothing starts twice.
func TestEngineEnds(t *testing.T) {
	for what, c := range map[string]struct {
		by   syscall.Signal
		live bool
	}{
		"killed":                 {syscall.SIGKILL, false},
		"killed, live restore":   {syscall.SIGKILL, true},
		"in order":               {syscall.SIGTERM, false},
		"in order, live restore": {syscall.SIGTERM, true},
	} {
		t.Run(what, func(t *testing.T) {
			var args []string
			if c.live {
				args = []string{"--live-restore"}
			}
			d := newDaemon(t, args...)
			node, changed := nodeOn(t)
			w := offerWaiter(t, node)
			before := d.containers()

			d.end(c.by)
			awaitReady(t, node, changed, false)
			d.start()
			awaitReady(t, node, changed, true)
			after := d.containers()
			if len(after) != 1 || after[0].ID != before[0].ID || after[0].State.StartedAt != before[0].State.StartedAt {
				t.Fatalf("another container: %+v", after)
			}
			want, text := protocol.Event{State: protocol.StateLost, Code: protocol.CodeEngineDown}, "ready\n> "
			if c.live {
				want, text = protocol.Event{State: protocol.StateFailed, ExitCode: 7}, "ready\n> go\n"
				if err := w.Signal("USR1"); err != nil {
					t.Error(err)
				}
			}
			w.readAll()
			t.Logf("%q, %d cut, %+v", w.text, w.cut, w.last)
			if w.text != text && w.cut == 0 || w.last.State != want.State || w.last.Code != want.Code || w.last.ExitCode != want.ExitCode {
				t.Errorf("%q, %d cut, %+v; want %+v", w.text, w.cut, w.last, want)
			}
		})
	}
}

// TestEndsWhileTheEngineIsDown: the exit code is that of the program, though
// nobody watched.
func TestEndsWhileTheEngineIsDown(t *testing.T) {
	d := newDaemon(t, "--live-restore")
	node, changed := nodeOn(t)
	w := offerWaiter(t, node)
	pid := d.containers()[0].State.Pid // the init process, which passes it on
	d.end(syscall.SIGKILL)
	awaitReady(t, node, changed, false)
	if err := syscall.Kill(pid, syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	d.start()
	w.readAll()
	t.Logf("%q, %d cut, %+v", w.text, w.cut, w.last)
	if w.last.ExitCode != 7 || w.last.State != protocol.StateFailed {
		t.Errorf("%+v", w.last)
	}
}

// TestEngineGoesInACall: what the engine was asked to make or to start when it
// went is not there any more once that is told, whatever the engine did with it.
func TestEngineGoesInACall(t *testing.T) {
	for what, c := range map[string]struct {
		call string
		kill bool
	}{
		"hangs at create":  {"/containers/create", false},
		"hangs at start":   {"/start", false},
		"killed at create": {"/containers/create", true},
		"killed at start":  {"/start", true},
	} {
		t.Run(what, func(t *testing.T) {
			d := newDaemon(t, "--live-restore")
			gone := make(chan struct{})
			leave := sync.OnceFunc(func() { d.freeze(); close(gone) })
			p := newProxy(t, func(data []byte) {
				if line, _, _ := bytes.Cut(data, []byte("\r\n")); bytes.HasPrefix(line, []byte("POST ")) && bytes.Contains(line, []byte(c.call)) {
					leave()
				}
			})
			node, changed := nodeOn(t, p.host)
			bystander := d.client()
			defer bystander.Close()
			made, lost := bystander.Events(testContext(t), events.ListOptions{})
			s, err := node.Offer(testContext(t), offerOf(testSpec(daemonImage, "sleep", "600")))
			if err != nil {
				t.Fatal(err)
			}
			receive(t, gone, "the call")
			if c.kill {
				// It has the request, and dies with it somewhere between.
				d.thaw()
				d.end(syscall.SIGKILL)
			}
			awaitReady(t, node, changed, false)
			if c.kill {
				d.start()
			} else {
				d.thaw()
			}
			w := &watched{Session: s, t: t}
			w.readAll()
			if w.last.State != protocol.StateFailed || w.last.Code != protocol.CodeEngineDown {
				t.Errorf("%+v", w.last)
			}
			awaitReady(t, node, changed, true)
			if !c.kill { // the engine made it, so it also removed it
				awaitDestroyed(t, made, lost)
			}
			if left := d.containers(); len(left) != 0 {
				t.Errorf("left behind: %+v", left[0])
			}
		})
	}
}

// awaitDestroyed returns when the engine has removed a container.
func awaitDestroyed(t *testing.T, made <-chan events.Message, lost <-chan error) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		select {
		case e := <-made:
			if e.Type == events.ContainerEventType && e.Action == events.ActionDestroy {
				return
			}
		case err := <-lost:
			t.Fatal(err)
		case <-deadline:
			t.Fatal("nothing was removed")
		}
	}
}

// TestRunningTimeUnderAWrongClock: how long a container has run is told by the
// clock that nobody sets; the engine's counts only where that is another's.
func TestRunningTimeUnderAWrongClock(t *testing.T) {
	runtimetest.BusyboxImage(t, "hearth-drivertest:clock")
	d := newTestDriver(t)
	runs, ended := testSpec("hearth-drivertest:clock", "sleep", "600"), testSpec("hearth-drivertest:clock", "sleep", "0.2")
	for _, spec := range []*runtime.Spec{&runs, &ended} {
		spec.Timeout = time.Hour
		run(t, d, *spec)
	}
	if _, err := d.Wait(testContext(t), ended.ID); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		now         func() instant
		least, most time.Duration // of what runs
		over        bool          // whether the ended one is known to have run
	}{
		"now":                 {now, 1, time.Minute, true},
		"two hours later":     {func() instant { n := now(); n.at += 2 * time.Hour; return n }, 2 * time.Hour, 2*time.Hour + time.Minute, true},
		"another boot":        {func() instant { return instant{"another", now().at + 2*time.Hour} }, 1, time.Minute, false},
		"before the creation": {func() instant { return instant{now().boot, 0} }, 1, time.Minute, false},
		"no such clock":       {func() instant { return instant{} }, 1, time.Minute, false},
	} {
		d.now = c.now
		found, err := d.Recover(testContext(t))
		if err != nil || len(found) != 2 {
			t.Fatalf("%s: %+v, %v", what, found, err)
		}
		for _, r := range found {
			if r.ID == runs.ID && (r.Ran < c.least || r.Ran > c.most) {
				t.Errorf("%s: what runs is said to have run for %v", what, r.Ran)
			}
			if r.ID == ended.ID && ((r.Ran > 0) != c.over || r.Ran > time.Minute) {
				t.Errorf("%s: what ended is said to have run for %v", what, r.Ran)
			}
		}
	}
}
