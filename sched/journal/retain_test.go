package journal

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hearth-edge/hearth/protocol"
)

func TestKeptForATimeOverRestarts(t *testing.T) {
	path := pathIn(t)
	clock := &testClock{now: 99 * time.Hour} // where it starts means nothing
	o := testOptions()
	o.Clock, o.EndedTTL = clock.Now, time.Hour
	j := open(t, path, o)
	accept(t, j, "a")
	end(t, j, "a", ending(protocol.StateSucceeded, 0, "out"))
	clock.now += 50 * time.Minute
	j.Close()
	clock.now = 0 // a restart of the device
	j = open(t, path, o)
	clock.now += 9 * time.Minute
	accept(t, j, "b")
	if _, err := j.Find("a"); err != nil {
		t.Fatalf("dropped a minute too early: %v", err)
	}
	clock.now += time.Minute
	accept(t, j, "c")
	if got := loadAll(t, j); len(got) != 2 {
		t.Fatalf("%d records, want b and c", len(got))
	}
	if out, err := j.Output("a"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("output %v, %v", out, err)
	}
	clock.now += 1000 * time.Hour
	accept(t, j, "d")
	if got := loadAll(t, j); len(got) != 3 {
		t.Fatalf("a request under way was dropped: %d records", len(got))
	}
}

func TestKeptUpToASize(t *testing.T) {
	o := testOptions()
	o.MaxBytes = 64 << 10
	j := open(t, pathIn(t), o)
	for i := range 10 {
		accept(t, j, fmt.Sprint("r", i))
		end(t, j, fmt.Sprint("r", i), ending(protocol.StateSucceeded, 0, string(bytes.Repeat([]byte("x"), 14<<10))))
	}
	got := loadAll(t, j)
	if len(got) != 4 || got[0].ID != "r6" {
		t.Fatalf("%d records from %s", len(got), got[0].ID)
	}
}

func TestTail(t *testing.T) {
	out := func(c protocol.Channel, offset, cut uint64, data string) protocol.Output {
		return protocol.Output{Channel: c, Offset: offset, Cut: cut, Data: []byte(data)}
	}
	at := time.UnixMilli(1790000000123)
	pieces := []protocol.Output{
		out(protocol.Stderr, 0, 0, "warning"),
		out(protocol.Stdout, 5, 5, "aaaa"),
		out(protocol.Stdout, 9, 0, "bbbb"),
	}
	pieces[2].At = at
	timed := out(protocol.Stdout, 12, 12, "b")
	timed.At = at
	for _, c := range []struct {
		limit int
		want  []protocol.Output
	}{
		{1000, pieces},
		{2*pieceCost + 6, []protocol.Output{
			out(protocol.Stdout, 7, 7, "aa"), pieces[2], out(protocol.Stderr, 7, 7, ""),
		}},
		{pieceCost + 1, []protocol.Output{timed, out(protocol.Stderr, 7, 7, "")}},
		{0, []protocol.Output{out(protocol.Stdout, 13, 13, ""), out(protocol.Stderr, 7, 7, "")}},
	} {
		got := tail(pieces, c.limit)
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("limit %d:\n got %v\nwant %v", c.limit, got, c.want)
		}
		back, err := decodeOutput(encodeOutput(got))
		if err != nil || fmt.Sprint(back) != fmt.Sprint(got) {
			t.Errorf("limit %d: decoded as %v, %v", c.limit, back, err)
		}
	}
}

func TestHistoryIsBounded(t *testing.T) {
	var events []protocol.Event
	for i := range 100 {
		e := protocol.Event{State: protocol.StatePlacing, Attempt: uint32(i)}
		if i >= 50 {
			e.Progress = &protocol.Progress{}
		}
		events = append(events, e)
	}
	events = append(events, protocol.Event{State: protocol.StateRunning})
	got := digest(events, 10)
	var attempts []uint32
	for _, e := range got {
		attempts = append(attempts, e.Attempt)
	}
	if want := []uint32{0, 1, 2, 3, 4, 46, 47, 48, 49, 0}; !slices.Equal(attempts, want) {
		t.Fatalf("kept %v", attempts)
	}
	if len(digest(events, 0)) != 0 || len(digest(events, 200)) != 101 {
		t.Fatal("wrong bounds")
	}
}

// modelled is what the model says of a request.
type modelled struct {
	image   string
	offer   Offer
	state   protocol.State
	endedAt time.Duration
}

// model is a journal as simple as can be.
type model struct {
	known map[protocol.RequestID]*modelled
	ended []protocol.RequestID // oldest first
	now   time.Duration
}

func (m *model) committed(o *Options) {
	for len(m.ended) > 0 {
		first := m.known[m.ended[0]]
		if len(m.ended) <= o.MaxEnded && m.now-first.endedAt < o.EndedTTL {
			return
		}
		delete(m.known, m.ended[0])
		m.ended = m.ended[1:]
	}
}

func TestAgainstAModel(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		path := filepath.Join(dir, fmt.Sprint(n, ".db"))
		clock := &testClock{}
		o := testOptions()
		o.Clock, o.MaxEnded, o.EndedTTL = clock.Now, 3, time.Hour
		j, err := Open(path, o)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { j.Close() }()
		m := &model{known: map[protocol.RequestID]*modelled{}}
		id := rapid.Map(rapid.IntRange(0, 7), func(i int) protocol.RequestID { return protocol.RequestID(fmt.Sprint("r", i)) })
		t.Repeat(map[string]func(*rapid.T){
			"accept": func(t *rapid.T) { m.accept(t, j, id.Draw(t, "id"), &o) },
			"offer":  func(t *rapid.T) { m.offer(t, j, id.Draw(t, "id"), &o) },
			"end":    func(t *rapid.T) { m.end(t, j, id.Draw(t, "id"), &o) },
			"wait": func(t *rapid.T) {
				d := time.Duration(rapid.IntRange(1, 40).Draw(t, "minutes")) * time.Minute
				m.now, clock.now = m.now+d, clock.now+d
			},
			"reopen": func(t *rapid.T) {
				if err := j.Close(); err != nil {
					t.Fatal(err)
				}
				m.committed(&o)
				if j, err = Open(path, o); err != nil {
					t.Fatal(err)
				}
				if j.Report() != (Report{}) {
					t.Fatalf("report %+v", j.Report())
				}
			},
			"": func(t *rapid.T) { m.compare(t, j) },
		})
	})
}

func (m *model) accept(t *rapid.T, j *Journal, id protocol.RequestID, o *Options) {
	image := rapid.SampledFrom([]string{"one", "two"}).Draw(t, "image")
	r, err := j.Accepted(t.Context(), Request{ID: id, Service: protocol.Service{Image: image}})
	if known := m.known[id]; known != nil {
		same := r.Hash == ServiceHash(protocol.Service{Image: image})
		if !errors.Is(err, ErrExists) || same != (known.image == image) {
			t.Fatalf("accept of a known ID: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	m.known[id] = &modelled{image: image}
	m.committed(o)
}

func (m *model) offer(t *rapid.T, j *Journal, id protocol.RequestID, o *Options) {
	offer := Offer{Attempt: uint32(rapid.IntRange(1, 9).Draw(t, "attempt")), Node: "n"}
	err := j.Offered(t.Context(), id, offer)
	known := m.known[id]
	switch {
	case known == nil && errors.Is(err, ErrNotFound):
	case known != nil && known.state != 0 && errors.Is(err, ErrEnded):
	case known != nil && known.state == 0 && err == nil:
		known.offer = offer
		m.committed(o)
	default:
		t.Fatalf("offer: %v", err)
	}
}

func (m *model) end(t *rapid.T, j *Journal, id protocol.RequestID, o *Options) {
	s := rapid.SampledFrom([]protocol.State{protocol.StateSucceeded, protocol.StateUnknown}).Draw(t, "state")
	err := j.Ended(t.Context(), id, ending(s, 0, "x"))
	known := m.known[id]
	switch {
	case known == nil && errors.Is(err, ErrNotFound):
	case known != nil && known.state == protocol.StateSucceeded && errors.Is(err, ErrEnded):
	case known != nil && known.state != protocol.StateSucceeded && err == nil:
		if known.state == 0 {
			known.endedAt = m.now
			m.ended = append(m.ended, id)
		}
		known.state = s
		m.committed(o)
	default:
		t.Fatalf("end: %v", err)
	}
}

func (m *model) compare(t *rapid.T, j *Journal) {
	got := map[protocol.RequestID]bool{}
	err := j.Load(func(r Record) error {
		got[r.ID] = true
		want := m.known[r.ID]
		if want == nil || r.Service.Image != want.image || r.Offer != want.offer ||
			(r.End == nil) != (want.state == 0) || r.End != nil && r.End.Event.State != want.state {
			t.Fatalf("%s: %+v, want %+v", r.ID, r, want)
		}
		return nil
	})
	if err != nil || len(got) != len(m.known) {
		t.Fatalf("%v; has %v, want %v", err, slices.Collect(maps.Keys(got)), slices.Collect(maps.Keys(m.known)))
	}
}
