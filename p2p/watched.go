package p2p

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
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
	// calm is for how long nothing has been carried for streams when who reads may send:
	// nothing is under way for which it would wait. Another goroutine is another wake-up.
	calm = pingEvery / 2
)

// A watched is a connection that is watched. The side that dialled pings, and the
// other where it hears nothing, or where the link is bad, so that each of them has
// something to hear.
type watched struct {
	l       *liveness
	conn    network.Conn
	line    *line
	since   time.Time
	dialled bool

	handed           atomic.Bool // a status of this device
	pinging, echoing atomic.Bool
	handing          atomic.Bool

	// met, that the other side was heard, and pace, of its frames, are of who reads.
	met  bool
	pace *rate.Limiter
	// parted is closed when the other side knows that this device leaves.
	parted   chan struct{}
	partOnce sync.Once

	mu      sync.Mutex    // owns what follows
	out, in *whisper      // of pubsub; nil where the other side is no neighbour
	heard   chan struct{} // closed when pubsub has heard the end of the last in
	allowed tolerance
	rtt     time.Duration // measured last
	pinged  time.Time     // the last ping
	asked   time.Time     // the first ping that was not answered; zero for none
	due     time.Time     // while asked: when something was to be heard
	dead    bool
	probes  []chan struct{} // closed when an echo comes
	stuck   bool            // large packets seem to get lost on the way, in either direction
}

func newWatched(l *liveness, c network.Conn, on *line) *watched {
	return &watched{
		l: l, conn: c, line: on, since: time.Now(), dialled: dialled(c),
		pace: rate.NewLimiter(frameRate, frameBurst), parted: make(chan struct{}),
	}
}

// begin hands over this device's status and sends the first ping.
func (w *watched) begin() {
	if status := w.l.gossip.own(); status != nil {
		w.hand(status)
	}
	w.tellNames()
	if w.dialled {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.asked = time.Now()
		w.due = w.asked
		w.ping()
	}
}

// hand hands over a status of this device.
func (w *watched) hand(status []byte) {
	w.handed.Store(true)
	w.send(frameStatus, status)
}

// send sends a frame. Silence decides whether a connection is dead, and no error.
func (w *watched) send(kind byte, body []byte) { _ = w.line.send(kind, body) }

// tellPick tells the other side whether this device picks it, as that is when the
// frame goes out.
func (w *watched) tellPick() {
	w.line.sending.Lock()
	defer w.line.sending.Unlock()
	pick := []byte{0}
	if w.l.members.picks(w.conn) {
		pick[0] = 1
	}
	_ = w.line.sendNow(framePick, pick)
}

// ping sends a ping, unless the last one still waits to be sent. It never blocks; the
// caller holds the mutex.
func (w *watched) ping() {
	rtt := w.rtt
	solo(&w.pinging, func() { w.send(framePing, pingBody(time.Since(w.l.born), rtt)) })
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
	silent := w.line.member.silence()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.asked.IsZero() {
		w.asked, w.due = w.asked.Add(late), w.due.Add(late)
	}
	unsure := !w.asked.IsZero() || w.allowed.lossy()
	if unsure {
		ticks, interval = 1, pingEvery
		w.allowed.suspect(now, w.asked, w.line.member.path())
	}
	switch {
	case w.dead:
		return pingEvery
	case !w.asked.IsZero() && w.left(now, silent) <= 0:
		w.dead = true
		// The other side's kernel acknowledges what this one sends, so that it is there: what
		// it sends does not come through.
		w.stuck = w.stuck || w.busy() && w.line.member.path().quiet < pingEvery+answerTime/2
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
	return w.conn.Stat().NumStreams > 0 && slices.ContainsFunc(w.conn.GetStreams(), func(s network.Stream) bool { return slices.Contains(w.l.work, s.Protocol()) })
}

// take takes a frame of the other side; it is called by who reads.
func (w *watched) take(kind byte, body []byte) error {
	if !w.met {
		w.met = true
		w.l.members.met(w.conn)
	}
	switch kind {
	case frameGossip: // at the pace of pubsub
		w.overhear(body)
		return nil
	case frameStatus:
		w.takeStatus(body)
	default:
		w.heed(kind, body)
	}
	if wait := w.pace.Reserve().Delay(); wait > 0 {
		time.Sleep(wait)
	}
	return nil
}

// listen has pubsub hear the other side, as a neighbour, and that it is subscribed.
func (w *watched) listen() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.in == nil {
		w.hear()
		return
	}
	select {
	case w.in.in <- w.l.gossip.hello:
	default: // it hears enough
	}
}

// hear begins to take what the other side gossips, once pubsub is through with what it
// took before. Where pubsub ends it, since it did not understand something, that begins
// anew. The caller holds the mutex.
func (w *watched) hear() {
	in, before, heard := newWhisper(w.conn, w.line, whisperQueue), w.heard, make(chan struct{})
	w.in, w.heard = in, heard
	in.in <- w.l.gossip.hello
	go func() {
		defer close(heard)
		if before != nil {
			<-before
		}
		w.l.gossip.hear(in)
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.in == in && w.l.gossip.garbled(w.line.over) {
			w.hear()
		}
	}()
}

// whisper begins to gossip to the other side; nil where that is no neighbour. Pubsub has
// then forgotten what it subscribes to, and hears it again.
func (w *watched) whisper() *whisper {
	w.mu.Lock()
	in := w.in
	if in == nil {
		w.mu.Unlock()
		return nil
	}
	if w.out != nil {
		_ = w.out.Close()
	}
	out := newWhisper(w.conn, w.line, 0)
	w.out = out
	w.mu.Unlock()
	in.put(w.l.gossip.hello)
	return out
}

// overhear has pubsub take what a neighbour gossips. Before it is one here nothing is
// lost that does not come again.
func (w *watched) overhear(body []byte) {
	w.mu.Lock()
	in := w.in
	w.mu.Unlock()
	if in != nil {
		in.put(body)
	}
}

// hush ends what is gossiped with who is no neighbour any more.
func (w *watched) hush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range []*whisper{w.out, w.in} {
		if s != nil {
			_ = s.Close()
		}
	}
	w.out, w.in = nil, nil
}

// takeStatus looks at a status on a stack of its own: who reads waits for the next
// frame with this one's, and each member has one that does.
func (w *watched) takeStatus(status []byte) {
	taken := make(chan struct{})
	go func() {
		defer close(taken)
		_ = contain(w.l.log, w.conn.RemotePeer(), func() error {
			w.l.gossip.handed(w.conn.RemotePeer(), status)
			return nil
		})
	}()
	<-taken
}

// heed does what a frame other than a status asks for.
func (w *watched) heed(kind byte, body []byte) {
	switch kind {
	case framePing:
		w.wasPinged(body)
		if w.line.still < calm || !w.line.offer(frameEcho, body) {
			solo(&w.echoing, func() { w.send(frameEcho, body) })
		}
	case frameEcho:
		w.wasAnswered(body)
	case framePick:
		w.l.members.pickedBy(w.conn, body[0] != 0)
	case frameWanted:
		if status := w.l.gossip.own(); status != nil {
			solo(&w.handing, func() { w.hand(status) })
		}
	case frameCopy:
		_, addr := readCopy(body)
		w.l.report.copied(w.l.members.self, addr, "")
	case frameName:
		w.heedName(body)
	case frameForget:
		w.heedForgotten(body)
	case frameGoodbye:
		w.l.members.goodbye(w.conn.RemotePeer())
		go w.send(frameFarewell, nil)
		w.part()
		// The other side closes the connection; if it does not, this one does.
		time.AfterFunc(time.Second, w.end)
	case frameFarewell:
		w.part()
	}
}

// part notes that the other side knows that this device leaves, or leaves as well.
func (w *watched) part() { w.partOnce.Do(func() { close(w.parted) }) }

// leave tells the other side that this device leaves, and waits until it knows, the
// connection ends, or ctx does. To close the connection alone could tell it nothing:
// TCP may drop what was sent last.
func (w *watched) leave(ctx context.Context) {
	go w.send(frameGoodbye, nil)
	select {
	case <-w.parted:
	case <-w.line.over:
	case <-ctx.Done():
	}
}

// end ends the connection; closing it may take a while when the other side is
// frozen.
func (w *watched) end() {
	w.l.members.gone(w.conn)
	_ = w.conn.Close()
}
