package p2p

import (
	"bufio"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"golang.org/x/time/rate"
)

const (
	// frameRate and frameBurst bound the frames a second that are taken from the
	// other side: who sends more waits.
	frameRate, frameBurst = 20, 50
	// atOnce is by how much a ping may be before its time, to go out with others.
	atOnce = lookEvery / 2
	// answerTime is what the answer to a ping gets at least.
	answerTime = 600 * time.Millisecond
	// standingStreams is how many streams a connection has where nobody works: that
	// for liveness, and one of pubsub in each direction.
	standingStreams = 3
)

// A watched is a connection that is watched. The side that dialled pings, and the
// other where it hears nothing, or where the link is bad, so that each of them has
// something to hear.
type watched struct {
	l       *liveness
	conn    network.Conn
	member  *memberConn
	stream  network.Stream
	dialled bool

	mu      sync.Mutex // owns what follows
	allowed tolerance
	rtt     time.Duration // measured last
	pinged  time.Time     // the last ping
	asked   time.Time     // the first ping that was not answered; zero for none
	due     time.Time     // while asked: when something was to be heard
	sending bool          // a ping
	dead    bool
}

// begin hands over this device's score and sends the first ping.
func (w *watched) begin() {
	if score := w.l.gossip.own(); score != nil {
		w.send(frameScore, score)
	}
	if w.dialled {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.asked = time.Now()
		w.due = w.asked
		w.ping()
	}
}

// send sends a frame. A connection that is full is not dead: silence decides.
func (w *watched) send(kind byte, body []byte) {
	_ = writeFrame(w.stream, append([]byte{kind}, body...))
}

// ping sends a ping, unless the last one still waits to be sent. It never blocks;
// the caller holds the mutex.
func (w *watched) ping() {
	if w.sending {
		return
	}
	w.sending = true
	rtt := w.rtt
	go func() {
		w.send(framePing, pingBody(time.Since(w.l.born), rtt))
		w.mu.Lock()
		defer w.mu.Unlock()
		w.sending = false
	}()
}

// look pings if it is time to, given how many ticks are between pings in a mesh of
// this size, and ends the connection if it is dead. By how much it is late does not
// count against the other side. It returns when to look again, if not at the next
// tick.
func (w *watched) look(now time.Time, late time.Duration, ticks int) time.Duration {
	if ticks > 1 && w.busy() {
		ticks = 1
	}
	interval := time.Duration(ticks) * pingEvery
	silent := w.member.silence()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.asked.IsZero() {
		w.asked, w.due = w.asked.Add(late), w.due.Add(late)
	}
	unsure := !w.asked.IsZero() || w.allowed.lossy()
	if unsure {
		ticks, interval = 1, pingEvery
		w.allowed.suspect(now, w.asked, w.member.path())
	}
	switch {
	case w.dead:
		return pingEvery
	case !w.asked.IsZero() && w.left(now, silent) <= 0:
		w.dead = true
		w.l.log.Info("a device stopped answering", "peer", w.conn.RemotePeer(), "silent", silent, "loss", w.allowed.loss)
		go w.end()
		return pingEvery
	case !w.dialled && silent > interval:
		unsure = true
	}
	if (w.dialled && w.turn(now, ticks) || unsure) && now.Sub(w.pinged) >= pingEvery-atOnce {
		if w.asked.IsZero() {
			w.asked, w.due = now, now
			if !w.dialled { // the other side's ping was due
				w.due = now.Add(min(0, interval-silent))
			}
		}
		w.pinged = now
		w.ping()
	}
	switch {
	case unsure && w.asked.IsZero():
		return lookEvery
	case unsure:
		return min(lookEvery, w.left(now, silent))
	default:
		return pingEvery
	}
}

// turn reports whether it is this connection's turn to be pinged, which is each so
// many ticks: that of others comes at other ticks, so that they are spread evenly.
func (w *watched) turn(now time.Time, ticks int) bool {
	id := w.conn.RemotePeer()
	return (w.l.ticked(now)+int(id[len(id)-1]))%ticks == 0
}

// left is how long a device that was asked may still be silent: after something was
// due from it, and after it was asked.
func (w *watched) left(now time.Time, silent time.Duration) time.Duration {
	return max(
		w.allowed.limit()-pingEvery-min(now.Sub(w.due), silent),
		answerTime-min(now.Sub(w.asked), silent),
	)
}

// busy reports whether one of the devices works for the other.
func (w *watched) busy() bool {
	return w.conn.Stat().NumStreams > standingStreams && slices.ContainsFunc(w.conn.GetStreams(), func(s network.Stream) bool { return slices.Contains(w.l.work, s.Protocol()) })
}

// read takes what the other side sends, until the stream ends or both know that
// this device leaves. Each member has a goroutine that waits here, with little on its
// stack: the collector halves one that a score has made large where less than a
// quarter of it, with some 800 bytes to spare, is in use.
func (w *watched) read(ctx context.Context) {
	in := bufio.NewReaderSize(w.stream, aliveBuffer)
	pace := rate.NewLimiter(frameRate, frameBurst)
	for first := true; ; first = false {
		if _, err := in.Peek(1); err != nil || !w.next(ctx, in, pace, first) {
			return
		}
	}
}

// next takes the next frame, and reports whether there may be more. What it has on
// the stack is not to be on that of read.
//
//go:noinline
func (w *watched) next(ctx context.Context, in *bufio.Reader, pace *rate.Limiter, first bool) bool {
	kind, body, err := readAlive(in)
	if err != nil {
		return false
	}
	if first {
		w.l.members.met(w.conn)
	}
	if contain(w.l.log, w.conn.RemotePeer(), func() error { return w.take(ctx, kind, body) }) != nil {
		return false
	}
	time.Sleep(pace.Reserve().Delay())
	return true
}

// errLeaving ends read: this device leaves, and the other side knows.
var errLeaving = errors.New("this device leaves")

// take takes one frame.
func (w *watched) take(ctx context.Context, kind byte, body []byte) error {
	switch kind {
	case framePing:
		w.wasPinged(body)
		w.send(frameEcho, body)
	case frameEcho:
		w.wasAnswered(body)
	case frameScore:
		w.l.gossip.handed(w.conn.RemotePeer(), body)
	case frameGoodbye:
		w.l.members.goodbye(w.conn.RemotePeer())
		w.send(frameFarewell, nil)
		// The other side closes the connection; if it does not, this one does.
		_ = w.stream.SetReadDeadline(time.Now().Add(time.Second))
	}
	if (kind == frameGoodbye || kind == frameFarewell) && ctx.Err() != nil {
		return errLeaving
	}
	return nil
}

// wasPinged notes a ping of the other side.
func (w *watched) wasPinged(body []byte) {
	if rtt := told(body); !w.dialled && rtt > 0 {
		w.l.members.measured(w.conn.RemotePeer(), rtt)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.asked.IsZero() {
		w.allowed.observe(time.Now(), w.member.path())
	}
}

// wasAnswered notes an echo.
func (w *watched) wasAnswered(body []byte) {
	rtt := echoed(body, time.Since(w.l.born))
	if rtt > 0 {
		w.l.members.measured(w.conn.RemotePeer(), rtt)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.allowed.observe(time.Now(), w.member.path())
	w.rtt, w.asked = rtt, time.Time{}
}

// sayGoodbye tells the other side that this device leaves, and ends read when that
// has answered or did not in time.
func (w *watched) sayGoodbye() {
	_ = w.stream.SetDeadline(time.Now().Add(goodbyeTimeout))
	w.send(frameGoodbye, nil)
}

// end ends the connection; closing it may take a while when the other side is
// frozen.
func (w *watched) end() {
	w.l.members.gone(w.conn)
	_ = w.conn.Close()
}
