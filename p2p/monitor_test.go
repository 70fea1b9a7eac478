package p2p

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2pproto "github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"
	ma "github.com/multiformats/go-multiaddr"
)

// Who pings, how often, and when a device is taken for dead.
func TestPings(t *testing.T) {
	const span = time.Minute
	for name, c := range map[string]struct {
		others   int // connections of this device besides
		dialled  bool
		busy     bool
		answers  bool          // pings are answered
		heard    time.Duration // how often the other side pings
		from, to int           // pings in the span
		dead     time.Duration // by when; 0 for never
	}{
		"dialled":                         {dialled: true, answers: true, from: 59, to: 61},
		"was dialled":                     {heard: pingInterval, answers: true},
		"was dialled, and hears little":   {heard: 10 * pingInterval, answers: true, from: 20, to: 40},
		"in a mesh of 30":                 {others: 29, dialled: true, answers: true, from: 29, to: 31},
		"in a mesh of 200":                {others: 199, dialled: true, answers: true, from: 4, to: 6},
		"was dialled in a mesh of 200":    {others: 199, heard: 12 * pingInterval, answers: true},
		"works in a mesh of 200":          {others: 199, dialled: true, busy: true, answers: true, from: 59, to: 61},
		"dialled, nobody there":           {dialled: true, from: 2, to: 3, dead: 2500 * time.Millisecond},
		"was dialled, nobody there":       {from: 1, to: 2, dead: 3 * time.Second},
		"works in a mesh of 200, nobody":  {others: 199, busy: true, from: 1, to: 2, dead: 3 * time.Second},
		"in a mesh of 200, nobody":        {others: 199, dialled: true, from: 2, to: 3, dead: 14500 * time.Millisecond},
		"was dialled among 200, nobody":   {others: 199, from: 1, to: 2, dead: 15 * time.Second},
		"answers and is silent otherwise": {answers: true, from: 25, to: 40},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), span)
				defer cancel()
				began := time.Now()
				time.Sleep(300 * time.Millisecond) // not at a tick
				l := &detector{epoch: began, members: newMembers("self"), workProtocols: []libp2pproto.ID{"work"}, log: slog.New(slog.DiscardHandler)}
				for range c.others {
					l.add(&monitor{detector: l, conn: &fakeConn{}, frames: &frameConn{member: newMemberConn(&fakeMember{}, nil, "other")}, dead: true})
				}
				s := &fakeMember{answers: c.answers}
				s.w = &monitor{detector: l, conn: &fakeConn{busy: c.busy}, frames: &frameConn{member: newMemberConn(s, nil, "b")}, dialled: c.dialled}
				l.add(s.w)
				var pinging sync.WaitGroup
				if c.heard > 0 {
					pinging.Go(func() { s.pings(ctx, c.heard) })
				}
				l.run(ctx)
				pinging.Wait()
				synctest.Wait()
				s.mu.Lock()
				defer s.mu.Unlock()
				if s.sent < c.from || s.sent > c.to {
					t.Errorf("%d pings, want %d to %d", s.sent, c.from, c.to)
				}
				if took := s.w.conn.(*fakeConn).closed.Sub(began); c.dead == 0 && took > 0 || c.dead > 0 && (took < 0 || took > c.dead) {
					t.Errorf("dead after %v, want %v", took, c.dead)
				}
			})
		})
	}
}

// A device that was held up itself does not take the others for dead.
func TestHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &detector{epoch: time.Now(), members: newMembers("self"), log: slog.New(slog.DiscardHandler)}
		w := &monitor{detector: l, conn: &fakeConn{}, frames: &frameConn{member: newMemberConn(&fakeMember{}, nil, "b")}, dialled: true}
		l.add(w)
		for _, step := range []struct {
			after, late time.Duration
			dead        bool
		}{
			{time.Second, 0, false},
			{10 * time.Second, 10*time.Second - checkInterval, false},
			{checkInterval, 0, false},
			{silenceTimeout, 0, true},
		} {
			time.Sleep(step.after)
			l.check(time.Now(), step.late)
			synctest.Wait()
			if w.dead != step.dead {
				t.Errorf("%v later, of which it was held up for %v: dead is %v", step.after, step.late, w.dead)
			}
		}
	})
}

// fakeMember answers pings at once, or is one that is gone.
type fakeMember struct {
	sec.SecureConn
	w       *monitor
	answers bool

	mu   sync.Mutex // owns what follows
	sent int
}

func (s *fakeMember) SetWriteDeadline(time.Time) error { return nil }

func (s *fakeMember) Write(frame []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if frame[0] == framePing {
		s.sent++
		if s.answers {
			s.hear(func() { s.w.handleEcho(frame[headSize:]) })
		}
	}
	return len(frame), nil
}

func (s *fakeMember) hear(f func()) {
	s.w.frames.member.heard.Store(int64(time.Since(s.w.frames.member.born)))
	f()
}

func (s *fakeMember) pings(ctx context.Context, every time.Duration) {
	for ctx.Err() == nil {
		time.Sleep(every)
		s.hear(func() { s.w.handlePing(pingBody(0, 0)) })
	}
}

type fakeConn struct {
	network.Conn
	id     peer.ID
	busy   bool
	closed time.Time
}

func (c *fakeConn) RemotePeer() peer.ID { return cmp.Or(c.id, "b") }

func (c *fakeConn) RemoteMultiaddr() ma.Multiaddr { return nil }

func (c *fakeConn) Stat() (s network.ConnStats) {
	if c.busy {
		s.NumStreams = 1
	}
	return s
}

func (c *fakeConn) GetStreams() []network.Stream {
	if c.busy {
		return []network.Stream{workStream{}}
	}
	return nil
}

func (c *fakeConn) Close() error {
	c.closed = time.Now()
	return nil
}

type workStream struct{ network.Stream }

func (workStream) Protocol() libp2pproto.ID { return "work" }
