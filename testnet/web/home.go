// Package web drives the page in a real browser: against a real mesh of three, and
// against Home, a device that only pretends, with as many devices and requests as a
// test wants. What the browser does is in the folder browser.
package web

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// A Home is a protocol.App with nothing behind it: devices and requests that look like
// those of a home, always the same ones. Its methods may be used concurrently.
type Home struct {
	protocol.Containers // nobody asks for these
	protocol.Stacks

	mu       sync.Mutex // guards what follows
	devices  []protocol.Device
	changed  chan struct{} // closed when devices change
	requests []protocol.RequestDetail
	watchers map[chan protocol.Event]bool
}

var start = time.Now()

// NewHome returns a home of so many devices and requests.
func NewHome(devices, requests int) *Home {
	h := &Home{changed: make(chan struct{}), watchers: map[chan protocol.Event]bool{}}
	for i := range devices {
		h.devices = append(h.devices, deviceNumber(i))
	}
	for i := range requests {
		h.requests = append(h.requests, h.requestNumber(i))
	}
	for _, r := range h.requests {
		if r.Last.State == protocol.StateRunning {
			for i := range h.devices {
				if h.devices[i].Status.Node == r.Last.Node {
					h.devices[i].Status.Running++
				}
			}
		}
	}
	return h
}

var names = []string{"living-room", "nas", "attic-pi", "workshop", "laptop"}

func deviceNumber(i int) protocol.Device {
	name := names[i%len(names)]
	if i >= len(names) {
		name = fmt.Sprintf("%s-%d", name, i/len(names)+1)
	}
	s := protocol.Status{
		Node: protocol.PeerID(fmt.Sprintf("12D3KooWhome%04d", i)), Name: name, Role: protocol.RoleNode, Score: 10, Speed: 1, Slots: 4, CPUs: 4,
		CPUOthers: protocol.Cores(i%5) * 0.3, MemoryTotal: 8 << 30, DiskFree: 120 << 30, Arch: "amd64", OS: "linux", Drivers: []string{"docker"},
		Labels: map[string]string{"room": names[i%len(names)]}, Addresses: []string{"/ip4/192.168.1.20/tcp/7117"}, Version: "v0.6.0", Temperature: 48,
	}
	s.CPUFree = s.CPUs - protocol.Cores(i%4)
	s.MemoryFree = s.MemoryTotal - protocol.Bytes(i%7)<<30
	switch i % len(names) {
	case 2:
		s.Arch, s.Temperature, s.Throttled, s.Speed = "arm64", 79, 0.2, 0.4
	case 3:
		s.Accelerators = []string{"gpu"}
		s.CPUs, s.CPUFree, s.Slots = 16, 9, 16
	case 4:
		s.Role, s.Score, s.CPUs, s.MemoryTotal, s.MemoryFree = protocol.RoleDevice, 0, 0, 0, 0
	}
	d := protocol.Device{Status: s, Self: i == 0, Age: time.Second}
	if !d.Self {
		d.Address, d.RTT = fmt.Sprintf("/ip4/192.168.1.%d/tcp/7117", 20+i), time.Duration(i%9+1)*300*time.Microsecond
	}
	return d
}

var work = []struct {
	name, image string
	args        []string
}{
	{"transcode holiday.mkv", "ghcr.io/home/ffmpeg:7", []string{"-i", "/in/holiday.mkv", "-c:v", "libx265", "/out/holiday.mp4"}},
	{"nightly-backup", "restic/restic:0.18", []string{"backup", "/data", "--tag", "nightly"}},
	{"", "busybox", []string{"echo", "hello"}},
	{"photo-index", "ghcr.io/home/indexer:2", []string{"--since", "yesterday"}},
	{"train", "pytorch/pytorch:2.9", []string{"python", "train.py", "--epochs", "40"}},
	{"", "alpine:3.22", []string{"sh", "-c", "apk info | wc -l"}},
}

var ends = []protocol.Event{
	{State: protocol.StateRunning}, {State: protocol.StateRunning}, {State: protocol.StateSucceeded, Exited: true}, {State: protocol.StateSucceeded, Exited: true},
	{State: protocol.StateFailed, Exited: true, ExitCode: 3}, {State: protocol.StateSucceeded, Exited: true}, {State: protocol.StateCancelled, Code: protocol.CodeCancelled},
	{State: protocol.StateRefused, Code: protocol.CodeNoNode, Reason: "no node can run it: nas has 8 GiB of memory, 64 GiB asked; attic-pi is made for arm64"},
	{State: protocol.StateLost, Code: protocol.CodeNodeLost, Reason: "workshop went away while it ran"}, {State: protocol.StateSucceeded, Exited: true},
}

func (h *Home) requestNumber(i int) protocol.RequestDetail {
	w, end := work[i%len(work)], ends[i%len(ends)]
	accepted := start.Add(-time.Duration(i)*7*time.Minute - 40*time.Second)
	on := h.devices[(i*3+1)%len(h.devices)]
	if on.Status.Role != protocol.RoleNode {
		on = h.devices[0]
	}
	id := protocol.RequestID(fmt.Sprintf("k%07dv", i*7919%10_000_000))
	tags := map[string]string{}
	if w.name != "" {
		tags[protocol.TagName] = w.name
	}
	d := protocol.RequestDetail{
		RequestInfo: protocol.RequestInfo{
			ID: id, Orchestrator: h.devices[0].Status.Node, OrchestratorName: h.devices[0].Status.Name, Image: w.image, Args: w.args, Tags: tags,
			Detached: true, Accepted: accepted, Started: accepted.Add(420 * time.Millisecond),
		},
		Service: protocol.Service{Image: w.image, Args: w.args, Tags: tags, Memory: 512 << 20, Env: []string{"TZ=Europe/Berlin"}},
	}
	d.Decisions = []protocol.Decision{h.decision(on.Status.Node)}
	step := func(after time.Duration, e protocol.Event) {
		e.Request, e.At, e.Attempt = id, accepted.Add(after), 1
		if e.State > protocol.StateAccepted && e.State != protocol.StateRefused {
			e.Node, e.NodeName = on.Status.Node, on.Status.Name
		}
		d.Events = append(d.Events, e)
		d.Last = e
	}
	step(0, protocol.Event{State: protocol.StateAccepted})
	if end.State == protocol.StateRefused {
		d.Started, d.Ended = time.Time{}, accepted.Add(30*time.Millisecond)
		step(30*time.Millisecond, end)
		return d
	}
	step(4*time.Millisecond, protocol.Event{State: protocol.StatePlacing})
	step(12*time.Millisecond, protocol.Event{State: protocol.StateStarting})
	step(420*time.Millisecond, protocol.Event{State: protocol.StateRunning, Container: "4f2a9c1e77b0"})
	if end.State.Ended() {
		d.Ended = accepted.Add(95 * time.Second)
		step(95*time.Second, end)
	}
	return d
}

// decision says why the chosen one was taken.
func (h *Home) decision(chosen protocol.PeerID) protocol.Decision {
	d := protocol.Decision{Level: 2 * time.Second, Places: 2}
	for i, dev := range h.devices[:min(len(h.devices), 6)] {
		c := protocol.Candidate{Node: dev.Status.Node, Name: dev.Status.Name, Self: dev.Self, Score: dev.Status.Score, Guess: i == 1}
		if dev.Status.Role != protocol.RoleNode {
			c.Code, c.Excluded = protocol.CodeEngineDown, "it runs no work: it was started without a container engine"
		} else {
			c.Work, c.Network, c.Cold = time.Duration(300+250*i)*time.Millisecond, time.Duration(i)*time.Millisecond, time.Duration(i%3)*400*time.Millisecond
			c.Estimate = c.Work + c.Network + c.Cold
			c.Chance = []float64{0.6, 0.3, 0.1, 0, 0, 0}[i]
			c.Chosen = c.Node == chosen
		}
		d.Candidates = append(d.Candidates, c)
	}
	slices.SortStableFunc(d.Candidates, func(a, b protocol.Candidate) int { return int(a.Code) - int(b.Code) })
	return d
}

// Beat changes what each device tells, as each does now and then, and has a request
// make a step.
func (h *Home) Beat(turn int) {
	h.mu.Lock()
	h.devices = slices.Clone(h.devices)
	for i := range h.devices {
		if s := &h.devices[i].Status; s.Role == protocol.RoleNode {
			s.CPUFree = s.CPUs - protocol.Cores((i+turn)%4)
			s.Running = uint32(i+turn) % 5
		}
	}
	close(h.changed)
	h.changed = make(chan struct{})
	r := &h.requests[turn%len(h.requests)]
	e := r.Last
	e.State, e.At, e.Code, e.Reason = protocol.StateRunning, time.Now(), protocol.CodeNone, ""
	if turn%2 == 1 {
		e.State, e.Exited = protocol.StateSucceeded, true
	}
	r.Last = e
	watchers := make([]chan protocol.Event, 0, len(h.watchers))
	for w := range h.watchers {
		watchers = append(watchers, w)
	}
	h.mu.Unlock()
	for _, w := range watchers {
		select {
		case w <- e:
		default:
		}
	}
}

// Devices implements protocol.App.
func (h *Home) Devices(ctx context.Context, watch bool, yield func([]protocol.Device) error) error {
	for {
		h.mu.Lock()
		list, changed := h.devices, h.changed
		h.mu.Unlock()
		if err := yield(list); err != nil || !watch {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// List implements protocol.Requests.
func (h *Home) List(_ context.Context, all bool, yield func(protocol.RequestInfo) error) ([]string, error) {
	h.mu.Lock()
	list := slices.Clone(h.requests)
	h.mu.Unlock()
	for _, r := range list {
		if !all && r.Last.State.Ended() {
			continue
		}
		if err := yield(r.RequestInfo); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// Inspect implements protocol.Requests.
func (h *Home) Inspect(_ context.Context, id protocol.RequestID) (protocol.RequestDetail, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.requests {
		if r.ID == id {
			return r, nil
		}
	}
	return protocol.RequestDetail{}, protocol.Errorf(protocol.CodeNotFound, "no request %s is known in the mesh", id)
}

// Watch implements protocol.Requests.
func (h *Home) Watch(ctx context.Context, begun func(), yield func(protocol.Event) error) error {
	mine := make(chan protocol.Event, 1024)
	h.mu.Lock()
	h.watchers[mine] = true
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.watchers, mine)
	}()
	begun()
	for {
		select {
		case e := <-mine:
			if err := yield(e); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Attach implements protocol.Requests: the request wrote some lines.
func (h *Home) Attach(ctx context.Context, a protocol.Attach) (protocol.Session, error) {
	r, err := h.Inspect(ctx, a.Request)
	if err != nil {
		return nil, err
	}
	feed := protocol.NewFeed(protocol.DefaultOutputLimit)
	for i := range 30 {
		_ = feed.Output(ctx, protocol.Stdout, fmt.Appendf(nil, "frame=%5d fps=%d \x1b[32mtime=00:%02d:%02d\x1b[0m bitrate=2%03d.4kbits/s speed=1.9x\n", i*250, 48+i%5, i/6, i*10%60, i*37%1000))
	}
	_ = feed.Output(ctx, protocol.Stderr, []byte("[libx265] \x1b[1;33mwarning:\x1b[0m non-monotonous DTS in output stream 0:1\n"))
	if r.Last.State.Ended() {
		feed.Event(r.Last)
		feed.End()
	}
	if a.NoFollow {
		return session{feed.ReaderOfNow(a.Stdout, a.Stderr)}, nil
	}
	return session{feed.Reader(a.Stdout, a.Stderr)}, nil
}

type session struct{ *protocol.FeedReader }

func (session) Write([]byte) (int, error)   { return 0, nil }
func (session) CloseWrite() error           { return nil }
func (session) Stop(time.Duration) error    { return nil }
func (session) Signal(string) error         { return nil }
func (session) Resize(uint16, uint16) error { return nil }

// Run implements protocol.App: nothing runs here.
func (h *Home) Run(context.Context, protocol.Run) (protocol.Session, error) {
	return nil, protocol.Errorf(protocol.CodeNoNode, "nothing runs in this home")
}

// Stop implements protocol.Requests.
func (h *Home) Stop(context.Context, protocol.Stop) error { return nil }

// Remove implements protocol.Requests.
func (h *Home) Remove(context.Context, protocol.Remove) error { return nil }

// ListStacks implements protocol.Stacks.
func (h *Home) ListStacks(ctx context.Context, l protocol.ListStacks, yield func([]protocol.StackStatus) error) error {
	h.mu.Lock()
	on := h.devices[1].Status
	h.mu.Unlock()
	stack := protocol.StackStatus{Name: "photos", Version: 3, Holder: on.Node, HolderName: on.Name, State: protocol.StackUp, Instances: []protocol.InstanceStatus{
		{Service: "web", State: protocol.InstanceRunning, Health: "healthy", Image: "ghcr.io/home/photos:2.1", Since: start.Add(-50 * time.Hour)},
		{Service: "database", State: protocol.InstanceRunning, Health: "healthy", Image: "postgres:17", Since: start.Add(-50 * time.Hour), Restarts: 1},
		{Service: "migrate", State: protocol.InstanceCompleted, Image: "ghcr.io/home/photos:2.1", Since: start.Add(-50 * time.Hour), Exited: true, LastOutput: "12 migrations are in place\n"},
	}}
	err := yield([]protocol.StackStatus{stack})
	if err == nil && l.Watch {
		<-ctx.Done()
	}
	return err
}

// Plan implements protocol.App.
func (h *Home) Plan(context.Context, protocol.Service) (protocol.Decision, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.decision(h.devices[0].Status.Node), nil
}

// Diagnose implements protocol.App.
func (h *Home) Diagnose(context.Context) ([]protocol.Check, error) {
	return []protocol.Check{
		{Name: "secret", Finding: "fingerprint hxb25o2sbgq6; every device of the mesh must show the same"},
		{Name: "engine", Finding: "docker 28.5 answers"},
		{Name: "state", Level: protocol.LevelWarning, Finding: "/var/lib/hearth; 1.9 GiB is left on its disk", Advice: "make room, or move the state with --state"},
		{Name: "peers", Finding: "all devices that were seen are connected"},
	}, nil
}

// Drain implements protocol.Manager.
func (h *Home) Drain(context.Context, bool) error { return nil }

// Down implements protocol.Manager.
func (h *Home) Down(context.Context) error { return nil }

// Forget implements protocol.Manager.
func (h *Home) Forget(context.Context, string) error { return nil }

// Status implements protocol.Manager.
func (h *Home) Status(_ context.Context, _ bool, yield func(protocol.DeviceInfo) error) error {
	return yield(protocol.DeviceInfo{ID: h.devices[0].Status.Node, Name: h.devices[0].Status.Name, Fingerprint: "hxb25o2sbgq6", Version: "v0.6.0", Peers: len(h.devices) - 1, Engine: "docker 28.5"})
}
