package device

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearth-edge/hearth/p2p"
	"github.com/hearth-edge/hearth/protocol"
)

// device is another device's requests, or one's own: by ID.
type device struct {
	has []protocol.RequestInfo
	// silent devices answer nothing until they are given up.
	silent bool
	fails  error // what asking it for a request comes to, if not nil
	events chan protocol.Event
	holds  chan struct{} // is waited for before events are told, if not nil
	broken chan error
	asked  chan string // the verbs that reached it, if not nil
}

func (d *device) note(what string) {
	if d.asked != nil {
		d.asked <- what
	}
}

func (d *device) Attach(_ context.Context, a protocol.Attach) (protocol.Session, error) {
	d.note("attach " + string(a.Request))
	return nil, nil
}

func (d *device) Stop(_ context.Context, s protocol.Stop) error {
	d.note("stop " + string(s.Request))
	return nil
}

func (d *device) Remove(_ context.Context, r protocol.Remove) error {
	d.note(fmt.Sprint("remove ", r.Request, " ", r.Force))
	return nil
}

func (d *device) List(ctx context.Context, _ bool, yield func(protocol.RequestInfo) error) ([]string, error) {
	if d.silent {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	for _, r := range d.has {
		if err := yield(r); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func (d *device) Inspect(ctx context.Context, id protocol.RequestID) (protocol.RequestDetail, error) {
	if d.silent {
		<-ctx.Done()
		return protocol.RequestDetail{}, ctx.Err()
	}
	if d.fails != nil {
		return protocol.RequestDetail{}, d.fails
	}
	found := protocol.Meant(id, d.has)
	switch len(found) {
	case 0:
		return protocol.RequestDetail{}, protocol.Errorf(protocol.CodeNotFound, "no request %s", id)
	case 1:
		return protocol.RequestDetail{RequestInfo: found[0]}, nil
	}
	return protocol.RequestDetail{}, protocol.Errorf(protocol.CodeInvalid, "several begin with %s", id)
}

func (d *device) Watch(ctx context.Context, begun func(), yield func(protocol.Event) error) error {
	if d.silent {
		<-ctx.Done()
		return ctx.Err()
	}
	if d.holds != nil {
		<-d.holds
	}
	begun()
	for {
		select {
		case e := <-d.events:
			if err := yield(e); err != nil {
				return err
			}
		case err := <-d.broken:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// mesh is this device's view of the requests of several; the first is its own.
func mesh(own *device, others map[string]*device) *meshRequests {
	return &meshRequests{
		own: own, id: "idHere", name: "here",
		peers: func() []p2p.Peer {
			var peers []p2p.Peer
			for name := range others {
				peers = append(peers, p2p.Peer{ID: protocol.PeerID(name), Name: name})
			}
			return peers
		},
		changed: func() <-chan struct{} { return nil },
		at:      func(id protocol.PeerID) protocol.Requests { return others[string(id)] },
		log:     slog.New(slog.DiscardHandler),
	}
}

func having(ids ...string) *device {
	d := &device{}
	for _, id := range ids {
		d.has = append(d.has, protocol.RequestInfo{ID: protocol.RequestID(id)})
	}
	return d
}

// TestFind: an ID names a request wherever it is, a whole one before a beginning,
// and what several answer to is said rather than guessed.
func TestFind(t *testing.T) {
	for _, tt := range []struct {
		id, want string
		at       string // the device that it is found on, if not this one
		code     protocol.Code
		text     string
	}{
		{id: "own", want: "own"},
		{id: "o", want: "own"},
		{id: "far-1", want: "far-1"},
		{id: "far-1x", want: "far-1x"}, // whole, though far-1xy begins so on another device
		{id: "far-1xy", want: "far-1xy"},
		{id: "ke", want: "kettle"},
		{id: "far", code: protocol.CodeInvalid, text: "several begin with far"},
		{id: "pot", code: protocol.CodeInvalid, text: "several requests begin with pot: pot-1@attic, pot-2@shed; give more of the ID"},
		{id: "two", code: protocol.CodeInvalid, text: "several begin with two"},
		{id: "same", want: "same"}, // this device's own goes first
		{id: "twin", code: protocol.CodeInvalid, text: "several devices have a request twin: name twin@attic or twin@shed"},
		{id: "twin@attic", want: "twin", at: "attic"},
		{id: "twin@shed", want: "twin", at: "shed"},
		{id: "same@attic", want: "same", at: "attic"},
		{id: "same@here", want: "same"},
		{id: "sam@idHere", want: "same"},
		{id: "pot@shed", want: "pot-2", at: "shed"},
		{id: "kettle@shed", code: protocol.CodeNotFound, text: "no request kettle is known"},
		{id: "twin@barn", code: protocol.CodeNotFound, text: `no device "barn" is connected`},
		{id: "twin@", code: protocol.CodeInvalid, text: "write ID@DEVICE"},
		{id: "web", want: "pot-1"},     // the name of one that has not ended
		{id: "old", want: "pot-2"},     // of one that has
		{id: "kettle", want: "kettle"}, // an ID, though another one is named so
		{id: "db", code: protocol.CodeInvalid, text: "several requests are named db: far-1x@attic, own@here; give an ID"},
		{id: "nosuch", code: protocol.CodeNotFound, text: "no request nosuch is known in the mesh"},
	} {
		t.Run(tt.id, func(t *testing.T) {
			m := mesh(having("own", "same"), map[string]*device{
				"attic": having("kettle", "far-1", "far-1x", "twin", "two-1", "two-2", "same", "pot-1"),
				"shed":  having("far-1xy", "twin", "pot-2"),
			})
			call := func(d protocol.Requests, id, name string, s protocol.State) {
				for i := range d.(*device).has {
					if r := &d.(*device).has[i]; string(r.ID) == id {
						r.Tags, r.Last.State = map[string]string{"name": name}, s
					}
				}
			}
			call(m.at("attic"), "pot-1", "web", protocol.StateRunning)
			call(m.at("shed"), "twin", "web", protocol.StateFailed)
			call(m.at("shed"), "pot-2", "old", protocol.StateFailed)
			call(m.own, "same", "kettle", protocol.StateRunning)
			call(m.own, "own", "db", protocol.StateRunning)
			call(m.at("attic"), "far-1x", "db", protocol.StatePlacing)
			found, err := m.find(t.Context(), protocol.RequestID(tt.id))
			if tt.code == protocol.CodeNone {
				if err != nil || string(found.detail.ID) != tt.want || tt.at != "" && found.name != tt.at {
					t.Fatalf("found %q on %q, %v; want %q on %q", found.detail.ID, found.name, err, tt.want, tt.at)
				}
				return
			}
			if protocol.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("the error is %v (%s), want one with %q (%s)", err, protocol.CodeOf(err), tt.text, tt.code)
			}
		})
	}
}

// TestFindAmongBroken: only what a device says of an ID is an answer; an ID that
// cannot be one is asked nowhere, and a device that fails is named.
func TestFindAmongBroken(t *testing.T) {
	odd := &device{fails: fmt.Errorf("conversation broke: %w", protocol.Errorf(protocol.CodeInvalid, "malformed message"))}
	m := mesh(having("own"), map[string]*device{"attic": having("kettle"), "shed": odd})
	if d, err := m.Inspect(t.Context(), "ket"); err != nil || d.ID != "kettle" {
		t.Errorf("found %q, %v", d.ID, err)
	}
	if _, err := m.Inspect(t.Context(), "nosuch"); protocol.CodeOf(err) != protocol.CodeNotFound || !strings.Contains(err.Error(), "shed did not answer") {
		t.Errorf("%v", err)
	}
	if _, err := m.Inspect(t.Context(), "not an ID"); protocol.CodeOf(err) != protocol.CodeInvalid || !strings.Contains(err.Error(), "not an ID") {
		t.Errorf("%v", err)
	}
}

// TestForward: a wish goes to the device that has the request, under its whole ID.
func TestForward(t *testing.T) {
	far := having("kettle")
	far.asked = make(chan string, 3)
	m := mesh(having(), map[string]*device{"attic": far})
	if _, err := m.Attach(t.Context(), protocol.Attach{Request: "ket"}); err != nil {
		t.Fatal(err)
	}
	if err := m.Stop(t.Context(), protocol.Stop{Request: "k"}); err != nil {
		t.Fatal(err)
	}
	if err := m.Remove(t.Context(), protocol.Remove{Request: "kett", Force: true}); err != nil {
		t.Fatal(err)
	}
	if a, b := <-far.asked, <-far.asked; a != "attach kettle" || b != "stop kettle" {
		t.Errorf("the device was asked %q and %q", a, b)
	}
	if c := <-far.asked; c != "remove kettle true" {
		t.Errorf("the device was asked %q", c)
	}
	if err := m.Stop(t.Context(), protocol.Stop{Request: "x"}); protocol.CodeOf(err) != protocol.CodeNotFound {
		t.Errorf("stopping what nobody knows: %v", err)
	}
}

// TestSilentDevice: a device that does not answer costs 2 s, whatever is asked,
// and its silence is said where it may have mattered.
func TestSilentDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := mesh(having("own"), map[string]*device{"attic": having("kettle"), "shed": {silent: true}, "barn": {silent: true}})
		start := time.Now()
		var ids []string
		silent, err := m.List(t.Context(), true, func(r protocol.RequestInfo) error {
			ids = append(ids, string(r.ID))
			return nil
		})
		if err != nil || !slices.Equal(ids, []string{"kettle", "own"}) || time.Since(start) != askTimeout {
			t.Errorf("listed %q, %v, after %v", ids, err, time.Since(start))
		}
		if !slices.Equal(silent, []string{"barn", "shed"}) {
			t.Errorf("named as silent: %q", silent)
		}
		if _, err := m.Inspect(t.Context(), "kett"); err != nil {
			t.Errorf("a request that is there was not found: %v", err)
		}
		_, err = m.Inspect(t.Context(), "nosuch")
		if protocol.CodeOf(err) != protocol.CodeNotFound || !strings.Contains(err.Error(), "barn, shed did not answer") {
			t.Errorf("the error does not say who was silent: %v", err)
		}
		start = time.Now()
		if _, err := m.Inspect(t.Context(), "own"); err != nil || time.Since(start) != 0 {
			t.Errorf("an own request took %v and others' answers: %v", time.Since(start), err)
		}
	})
}

// TestListOrder: the newest first, whoever has it.
func TestListOrder(t *testing.T) {
	at := func(id string, minute int) protocol.RequestInfo {
		return protocol.RequestInfo{ID: protocol.RequestID(id), Accepted: time.Date(2031, 5, 4, 3, minute, 0, 0, time.UTC)}
	}
	m := mesh(&device{has: []protocol.RequestInfo{at("b", 2), at("d", 4)}},
		map[string]*device{"attic": {has: []protocol.RequestInfo{at("c", 3), at("a", 1), at("e", 4)}}})
	var ids []string
	enough := errors.New("enough")
	_, err := m.List(t.Context(), true, func(r protocol.RequestInfo) error {
		ids = append(ids, string(r.ID))
		if len(ids) == 5 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || strings.Join(ids, "") != "decba" {
		t.Errorf("listed %q, %v", ids, err)
	}
}

// TestWatchMerges: the events of all devices come as one stream, also of one that
// joins later, or comes back after its stream broke; a watcher that one device
// found too slow is ended.
func TestWatchMerges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		live := func() *device {
			return &device{events: make(chan protocol.Event), broken: make(chan error)}
		}
		own, attic, shed := live(), live(), live()
		others := map[string]*device{"attic": attic, "shed": shed}
		m := mesh(own, others)
		list, joined := peersNamed("attic"), make(chan struct{})
		var mu sync.Mutex // guards list and joined
		m.peers = func() []p2p.Peer {
			mu.Lock()
			defer mu.Unlock()
			return list
		}
		m.changed = func() <-chan struct{} {
			mu.Lock()
			defer mu.Unlock()
			return joined
		}
		seen := make(chan protocol.RequestID)
		ended := make(chan error)
		go func() {
			ended <- m.Watch(t.Context(), func() {}, func(e protocol.Event) error {
				seen <- e.Request
				return nil
			})
		}()
		expect := func(d *device, id protocol.RequestID) {
			t.Helper()
			d.events <- protocol.Event{Request: id}
			if got := <-seen; got != id {
				t.Fatalf("saw %q, want %q", got, id)
			}
		}
		expect(own, "a")
		expect(attic, "b")
		synctest.Wait()
		mu.Lock()
		list = peersNamed("attic", "shed")
		close(joined)
		joined = nil
		mu.Unlock()
		expect(shed, "c")
		attic.broken <- errors.New("cut off")
		expect(attic, "d") // watched again
		attic.broken <- protocol.Errorf(protocol.CodeOverloaded, "too slow")
		if err := <-ended; protocol.CodeOf(err) != protocol.CodeOverloaded {
			t.Errorf("a watcher that was too slow got %v", err)
		}
	})
}

// TestWatchBeginsWhenAllAreWatched: what happens on any device after the watch has
// begun is told; one that does not answer holds it up for 2 s, and no longer.
func TestWatchBeginsWhenAllAreWatched(t *testing.T) {
	for _, silent := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			own, attic := &device{events: make(chan protocol.Event)}, &device{events: make(chan protocol.Event), holds: make(chan struct{})}
			m := mesh(own, map[string]*device{"attic": attic, "shed": {silent: silent}})
			ctx, stop := context.WithCancel(t.Context())
			begun, ended := make(chan struct{}), make(chan error)
			seen := make(chan protocol.RequestID, 2)
			go func() {
				ended <- m.Watch(ctx, func() { close(begun) }, func(e protocol.Event) error {
					seen <- e.Request
					return nil
				})
			}()
			start := time.Now()
			go func() { own.events <- protocol.Event{Request: "early"} }()
			synctest.Wait()
			select {
			case <-begun:
				t.Fatal("it has begun, though one device is not watched yet")
			case <-seen:
				t.Fatal("an event was told before it has begun")
			default:
			}
			close(attic.holds)
			<-begun
			want := time.Duration(0)
			if silent {
				want = askTimeout
			}
			if time.Since(start) != want || <-seen != "early" {
				t.Errorf("it began after %v", time.Since(start))
			}
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

func peersNamed(names ...string) []p2p.Peer {
	var peers []p2p.Peer
	for _, name := range names {
		peers = append(peers, p2p.Peer{ID: protocol.PeerID(name), Name: name})
	}
	return peers
}
