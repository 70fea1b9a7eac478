package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/p2p/app"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/testnet/history"
)

// LoadOptions say what is asked for.
type LoadOptions struct {
	// Apps ask on each device, one request after the other.
	Apps int
	// Lines is how many a container writes at most, one each Every.
	Lines int
	Every time.Duration
	// Timeout is how long the requests have to end once no more are asked for.
	Timeout time.Duration
	// Keep keeps the history also where nothing is found.
	Keep bool
}

// A Load is apps at work: each asks its device for what the seed says, follows it
// to its end over whatever happens to the device, and takes down what it is told.
type Load struct {
	o    LoadOptions
	m    *Mesh
	stop context.CancelFunc // nothing more is asked for
	cut  context.CancelFunc // nothing more is waited for
	apps sync.WaitGroup

	mu   sync.Mutex // guards open
	open map[string]bool
}

// Load begins to ask. It ends with the test at the latest.
func (m *Mesh) Load(o LoadOptions) *Load {
	asking, stop := context.WithCancel(context.Background())
	waiting, cut := context.WithCancel(context.Background())
	l := &Load{o: o, m: m, stop: stop, cut: cut, open: map[string]bool{}}
	for i, d := range m.Devices {
		for k := range o.Apps {
			random := rand.New(rand.NewPCG(m.o.Seed, uint64(i<<8+k)))
			a := &asker{load: l, state: d.State, device: d.Name, others: m.others(d), random: random, name: fmt.Sprintf("%s-%d", d.Name, k)}
			l.apps.Go(func() { a.ask(asking, waiting) })
		}
	}
	m.t.Cleanup(func() {
		stop()
		cut()
		l.apps.Wait()
	})
	return l
}

func (m *Mesh) others(d *Device) (names []string) {
	for _, other := range m.Devices {
		if other != d {
			names = append(names, other.Name)
		}
	}
	return names
}

// End lets what was asked for come to its end, and returns what did not in time.
func (l *Load) End() (late []string) {
	l.stop()
	timer := time.AfterFunc(l.o.Timeout, l.cut)
	defer timer.Stop()
	l.apps.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.open {
		late = append(late, id)
	}
	slices.Sort(late)
	return late
}

// An asker is one app.
type asker struct {
	load          *Load
	name          string
	state, device string
	others        []string
	random        *rand.Rand
}

func (a *asker) ask(asking, waiting context.Context) {
	for n := 0; asking.Err() == nil; n++ {
		q, run := a.choose(fmt.Sprintf("%s-%04d", a.name, n))
		a.load.m.Record.Ask(q)
		a.load.mark(q.ID, true)
		f := &following{record: a.load.m.Record, q: q, run: run, state: a.state, seen: map[protocol.Event]bool{}}
		f.toTheEnd(waiting)
		if f.over {
			a.load.mark(q.ID, false)
		}
		if !f.accepted { // a device that takes nothing is not asked all the time
			wait(asking, time.Second)
		}
	}
}

func (l *Load) mark(id string, open bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if delete(l.open, id); open {
		l.open[id] = true
	}
}

// choose makes up a request.
func (a *asker) choose(id string) (history.Request, protocol.Run) {
	o := &a.load.o
	q := history.Request{ID: id, Device: a.device, Lines: 1 + a.random.IntN(o.Lines), Detached: a.random.IntN(2) == 0}
	if a.random.IntN(3) == 0 {
		q.Exit = 1 + a.random.IntN(100)
	}
	if a.random.IntN(2) == 0 {
		q.Retry = 1 + a.random.IntN(3)
	}
	run := protocol.Run{ID: protocol.RequestID(id), Detach: q.Detached, Service: protocol.Service{
		Image: a.load.m.image, Args: []string{"lines", fmt.Sprint(q.Lines), o.Every.String(), fmt.Sprint(q.Exit)},
		CPUs: 0.25, Memory: 16 << 20, Network: "none", Retry: uint32(q.Retry),
	}}
	switch a.random.IntN(6) {
	case 0, 1:
		run.Service.Constraints.NotHere = true
	case 2:
		run.Service.Constraints.Node = a.others[a.random.IntN(len(a.others))]
	}
	return q, run
}

// following is one request as its app sees it.
type following struct {
	record *history.Recorder
	q      history.Request
	run    protocol.Run
	state  string

	accepted bool
	unknown  bool // its end is
	over     bool // it has an end, or was not taken
	stdout   uint64
	seen     map[protocol.Event]bool
}

// toTheEnd asks, and asks again, until the end is told or ctx ends.
func (f *following) toTheEnd(ctx context.Context) {
	for pause := 50 * time.Millisecond; ctx.Err() == nil; pause = min(2*pause, time.Second) {
		if err := f.once(ctx); err != nil && ctx.Err() == nil {
			f.record.Error(f.q.ID, err)
			if !f.accepted && !f.mayBeTaken(err) {
				f.over = true
			}
		}
		if f.over {
			return
		}
		wait(ctx, pause)
	}
}

// wait returns after d, or when ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// mayBeTaken reports whether the device may have accepted the request although
// that was not told, or may do so later.
func (f *following) mayBeTaken(err error) bool {
	code := protocol.CodeOf(err)
	return code == protocol.CodeInternal || code == protocol.CodeLeaving
}

// once follows the request over one connection.
func (f *following) once(ctx context.Context) error {
	conn, err := app.Dial(ctx, f.state)
	if err != nil {
		return err
	}
	defer conn.Close()
	device := protocol.NewAppClient(conn.Open, conn.Token())
	var session protocol.Session
	if f.accepted {
		session, err = device.Attach(ctx, protocol.Attach{Request: f.run.ID, Stdout: f.stdout})
	} else {
		session, err = device.Run(ctx, f.run)
	}
	if err != nil {
		return err
	}
	defer session.Close()
	defer context.AfterFunc(ctx, func() { session.Close() })()
	err = f.read(session)
	if !f.over && !f.unknown && !f.q.Detached {
		f.record.Wanted(f.q.ID) // its device cancels what its app does not wait for
	}
	return err
}

// read takes down what a session tells, to its end.
func (f *following) read(s protocol.Session) error {
	for {
		u, err := s.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case u.Output != nil:
			f.record.Output(f.q.ID, u.Output)
			if u.Output.Channel == protocol.Stdout {
				f.stdout = u.Output.Offset + uint64(len(u.Output.Data))
			}
		case u.Event != nil:
			f.event(u.Event)
		}
	}
}

// event takes down what was not told before: who attaches again is told all again.
func (f *following) event(e *protocol.Event) {
	f.accepted = true
	key := *e
	key.At, key.Progress = time.Time{}, nil
	if !f.seen[key] {
		f.seen[key] = true
		f.record.Event(f.q.ID, e)
	}
	f.unknown = e.State == protocol.StateUnknown
	f.over = e.State.Ended() && !f.unknown
}
