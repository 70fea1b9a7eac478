package protocol

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/protocol/protocoltest"
)

// script is an execution for tests: a Session whose updates a test writes into
// its feed, and which records what is wished.
type script struct {
	*Feed
	reader *FeedReader

	stdin   *io.PipeReader
	stdinW  *io.PipeWriter
	stopped chan time.Duration
	wished  chan string // signals and sizes
	closed  chan struct{}
	once    sync.Once
}

func newScript() *script {
	s := &script{
		Feed: NewFeed(DefaultOutputLimit), stopped: make(chan time.Duration, 8),
		wished: make(chan string, 8), closed: make(chan struct{}),
	}
	s.reader = s.Reader(0, 0)
	s.stdin, s.stdinW = io.Pipe()
	return s
}

func (s *script) Next() (Update, error)       { return s.reader.Next() }
func (s *script) Write(p []byte) (int, error) { return s.stdinW.Write(p) }
func (s *script) CloseWrite() error           { return s.stdinW.Close() }
func (s *script) Stop(g time.Duration) error  { s.stopped <- g; return nil }
func (s *script) Signal(name string) error    { s.wished <- name; return nil }
func (s *script) Resize(rows, columns uint16) error {
	s.wished <- fmt.Sprint(rows, "x", columns)
	return nil
}

func (s *script) Close() error {
	s.once.Do(func() { close(s.closed) })
	_ = s.stdin.Close()
	return s.reader.Close()
}

// finish ends the execution as a node would.
func (s *script) finish(state State) {
	s.Event(Event{State: state})
	s.End()
}

// device is a node and an app's device for tests.
type device struct {
	offer    func(context.Context, Offer) (Session, error)
	attach   func(context.Context, Attach) (Session, error)
	run      func(context.Context, Run) (Session, error)
	devices  func(ctx context.Context, watch bool, yield func([]Device) error) error
	diagnose func(context.Context) ([]Check, error)
	stop     func(context.Context, Stop) error
	remove   func(context.Context, Remove) error
	list     func(ctx context.Context, all bool, yield func(RequestInfo) error) ([]string, error)
	inspect  func(context.Context, RequestID) (RequestDetail, error)
	watch    func(ctx context.Context, begun func(), yield func(Event) error) error
	plan     func(context.Context, Service) (Decision, error)
	renew    func(context.Context, PeerID, Renewal) error
	drain    func(ctx context.Context, off bool) error
	down     func(context.Context) error
	status   func(ctx context.Context, watch bool, yield func(DeviceInfo) error) error
	forget   func(ctx context.Context, name string) error
	exec     func(context.Context, Exec) (Session, error)
	dial     func(context.Context, Dial) (Stream, error)
	copies   func(context.Context, Copy) (Session, error)
	stacks   Stacks
	admit    func(PeerID) error // nil admits all
}

func (d *device) AdmitStacks(by PeerID) error {
	if d.admit == nil {
		return nil
	}
	return d.admit(by)
}

func (d *device) PlanStack(ctx context.Context, u UpStack) (StackPlan, error) {
	return d.stacks.PlanStack(ctx, u)
}

func (d *device) UpStack(ctx context.Context, u UpStack, yield func(StackUpdate) error) error {
	return d.stacks.UpStack(ctx, u, yield)
}

func (d *device) ListStacks(ctx context.Context, l ListStacks, yield func([]StackStatus) error) error {
	return d.stacks.ListStacks(ctx, l, yield)
}

func (d *device) ControlStack(ctx context.Context, c ControlStack) error {
	return d.stacks.ControlStack(ctx, c)
}

func (d *device) StackLogs(ctx context.Context, l StackLogs, yield func(LogLine) error) error {
	return d.stacks.StackLogs(ctx, l, yield)
}

func (d *device) StackHistory(ctx context.Context, name StackName, yield func(StackRecord) error) error {
	return d.stacks.StackHistory(ctx, name, yield)
}

func (d *device) RollbackStack(ctx context.Context, r RollbackStack, yield func(StackUpdate) error) error {
	return d.stacks.RollbackStack(ctx, r, yield)
}

func (d *device) Exec(ctx context.Context, e Exec) (Session, error) { return d.exec(ctx, e) }
func (d *device) Dial(ctx context.Context, v Dial) (Stream, error)  { return d.dial(ctx, v) }
func (d *device) Copy(ctx context.Context, c Copy) (Session, error) { return d.copies(ctx, c) }

func (d *device) Forget(ctx context.Context, name string) error { return d.forget(ctx, name) }

func (d *device) Drain(ctx context.Context, off bool) error { return d.drain(ctx, off) }
func (d *device) Down(ctx context.Context) error            { return d.down(ctx) }
func (d *device) Status(ctx context.Context, watch bool, yield func(DeviceInfo) error) error {
	return d.status(ctx, watch, yield)
}
func (d *device) Offer(ctx context.Context, o Offer) (Session, error)   { return d.offer(ctx, o) }
func (d *device) Attach(ctx context.Context, a Attach) (Session, error) { return d.attach(ctx, a) }
func (d *device) Run(ctx context.Context, r Run) (Session, error)       { return d.run(ctx, r) }
func (d *device) Diagnose(ctx context.Context) ([]Check, error)         { return d.diagnose(ctx) }
func (d *device) Devices(ctx context.Context, watch bool, yield func([]Device) error) error {
	return d.devices(ctx, watch, yield)
}
func (d *device) Stop(ctx context.Context, s Stop) error     { return d.stop(ctx, s) }
func (d *device) Remove(ctx context.Context, r Remove) error { return d.remove(ctx, r) }
func (d *device) List(ctx context.Context, all bool, yield func(RequestInfo) error) ([]string, error) {
	return d.list(ctx, all, yield)
}

func (d *device) Inspect(ctx context.Context, id RequestID) (RequestDetail, error) {
	return d.inspect(ctx, id)
}

func (d *device) Plan(ctx context.Context, s Service) (Decision, error) { return d.plan(ctx, s) }

func (d *device) Renew(ctx context.Context, node PeerID, r Renewal) error {
	return d.renew(ctx, node, r)
}

func (d *device) Watch(ctx context.Context, begun func(), yield func(Event) error) error {
	return d.watch(ctx, begun, yield)
}

// link serves conversations over pipes and records what the serving ends return.
type link struct {
	open   func(context.Context) (Stream, error)
	served chan error
	// stream is the asker's end of the conversation opened last.
	stream Stream
	cancel context.CancelFunc // ends the serving device
}

func newLink(t testing.TB, serve func(context.Context, Stream) error) *link {
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	l := &link{served: make(chan error, 16), cancel: cancel}
	l.open = func(context.Context) (Stream, error) {
		a, b := protocoltest.Pipe()
		l.stream = a
		go func() { l.served <- serve(ctx, b) }()
		return a, nil
	}
	return l
}

func executeLink(t testing.TB, d *device) (*ExecuteClient, *link) {
	l := newLink(t, func(ctx context.Context, s Stream) error { return ServeExecute(ctx, s, d, d, d, nodeB) })
	return NewExecuteClient(l.open), l
}

const testToken = "right"

// testRights are those of a device that knows testToken, and one that may only read.
func testRights(token string) Right {
	switch token {
	case testToken:
		return RightAll
	case readToken:
		return RightRead
	case runToken:
		return RightRun
	}
	return RightNone
}

const readToken, runToken = "read", "run"

func appLink(t testing.TB, d *device) (*AppClient, *link) {
	l := newLink(t, func(ctx context.Context, s Stream) error { return ServeApp(ctx, s, testRights, d) })
	return NewAppClient(l.open, testToken), l
}

// running returns a device on which every offer, attach and run is s.
func running(s Session) *device {
	return &device{
		offer:  func(context.Context, Offer) (Session, error) { return s, nil },
		attach: func(context.Context, Attach) (Session, error) { return s, nil },
		run:    func(context.Context, Run) (Session, error) { return s, nil },
		devices: func(_ context.Context, _ bool, yield func([]Device) error) error {
			return yield(nil)
		},
		diagnose: func(context.Context) ([]Check, error) { return nil, nil },
		stop:     func(context.Context, Stop) error { return nil },
		remove:   func(context.Context, Remove) error { return nil },
		list:     func(context.Context, bool, func(RequestInfo) error) ([]string, error) { return nil, nil },
		inspect:  func(context.Context, RequestID) (RequestDetail, error) { return sampleDetail(), nil },
		watch: func(_ context.Context, begun func(), _ func(Event) error) error {
			begun()
			return nil
		},
		plan:  func(context.Context, Service) (Decision, error) { return sampleDecision(), nil },
		renew: func(context.Context, PeerID, Renewal) error { return nil },
		exec:  func(context.Context, Exec) (Session, error) { return s, nil },
		dial: func(context.Context, Dial) (Stream, error) {
			near, far := protocoltest.Pipe()
			go func() { // sends back what comes
				_, _ = io.Copy(far, far)
				_ = far.Close()
			}()
			return near, nil
		},
		copies: func(context.Context, Copy) (Session, error) { return s, nil },
		stacks: new(stackScript),
	}
}

func sampleOffer() Offer { return Offer{Request: "r", Attempt: 1, Service: Service{Image: "busybox"}} }

func mustOffer(t testing.TB, c *ExecuteClient) Session {
	t.Helper()
	s, err := c.Offer(context.Background(), sampleOffer())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// readAll reads s to its end and returns its updates.
func readAll(s Session) (updates []string, err error) {
	for {
		u, err := s.Next()
		if err != nil {
			return updates, err
		}
		updates = append(updates, describe(u))
	}
}

func wantServed(t *testing.T, l *link, want error) {
	t.Helper()
	if err := <-l.served; !errors.Is(err, want) {
		t.Errorf("served with %v, want %v", err, want)
	}
}
