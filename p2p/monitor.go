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
	// frameRate and frameBurst bound the frames a second of one connection. A
	// faster sender is slowed down.
	frameRate, frameBurst = 20, 50
	// pingSlack is by how much a ping may be before its time, to go out with others.
	pingSlack = checkInterval / 2
	// minAnswerTimeout is what the answer to a ping gets at least.
	minAnswerTimeout = 600 * time.Millisecond
	// inlineSendThreshold is how long streams must have been idle for the
	// reader to send by itself. Nothing can block it then, and a goroutine more
	// is a wake-up more.
	inlineSendThreshold = pingInterval / 2
)

// A monitor watches one connection. The side that dialled pings. The other side
// pings too if it hears nothing or if the link is bad, so that both hear
// something.
type monitor struct {
	detector *detector
	conn     network.Conn
	frames   *frameConn
	since    time.Time
	dialled  bool

	statusSent       atomic.Bool // a status of this device
	pinging, echoing atomic.Bool
	sendingStatus    atomic.Bool

	// The reader owns joined and limiter.
	joined  bool
	limiter *rate.Limiter
	// goodbyeAcked is closed when the other side knows that this device leaves.
	goodbyeAcked chan struct{}
	ackOnce      sync.Once

	mu                sync.Mutex    // owns what follows
	outbound, inbound *gossipStream // of pubsub; nil where the other side is no neighbour
	inboundDone       chan struct{} // closed when pubsub has heard the end of the last in
	suspicion         suspicion
	rtt               time.Duration // measured last
	lastPing          time.Time     // the last ping
	unansweredPing    time.Time     // the first ping that was not answered; zero for none
	dueAt             time.Time     // while asked: when something was to be heard
	dead              bool
	probes            []chan struct{} // closed when an echo comes
	stuck             bool            // large packets seem to get lost on the way, in either direction
}

func newMonitor(l *detector, c network.Conn, on *frameConn) *monitor {
	return &monitor{
		detector: l, conn: c, frames: on, since: time.Now(), dialled: dialled(c),
		limiter: rate.NewLimiter(frameRate, frameBurst), goodbyeAcked: make(chan struct{}),
	}
}

// start hands over this device's status and sends the first ping.
func (m *monitor) start() {
	if status := m.detector.gossip.ownStatus(); status != nil {
		m.sendStatus(status)
	}
	m.sendNames()
	if m.dialled {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.unansweredPing = time.Now()
		m.dueAt = m.unansweredPing
		m.ping()
	}
}

// sendStatus hands over a status of this device.
func (m *monitor) sendStatus(status []byte) {
	m.statusSent.Store(true)
	m.send(frameStatus, status)
}

// send sends a frame. Silence decides whether a connection is dead, and no error.
func (m *monitor) send(kind byte, body []byte) { _ = m.frames.send(kind, body) }

// sendPick tells the other side whether this device picks it, as that is when the
// frame goes out.
func (m *monitor) sendPick() {
	m.frames.sendMu.Lock()
	defer m.frames.sendMu.Unlock()
	pick := []byte{0}
	if m.detector.members.isPicked(m.conn) {
		pick[0] = 1
	}
	_ = m.frames.sendLocked(framePick, pick)
}

// ping sends a ping, unless the last one still waits to be sent. It never blocks; the
// caller holds the mutex.
func (m *monitor) ping() {
	rtt := m.rtt
	goOnce(&m.pinging, func() { m.send(framePing, pingBody(time.Since(m.detector.epoch), rtt)) })
}

// check pings if it is time to, given how many ticks are between pings in a mesh of
// this size, and ends the connection if it is dead. By how much it is late does not
// count against the other side. It returns when to look again, if not at the next
// tick.
func (m *monitor) check(now time.Time, late time.Duration, ticks int) time.Duration {
	if ticks > 1 && m.busy() {
		ticks = 1
	}
	interval := time.Duration(ticks) * pingInterval
	silent := m.frames.member.silence()
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.unansweredPing.IsZero() {
		m.unansweredPing, m.dueAt = m.unansweredPing.Add(late), m.dueAt.Add(late)
	}
	unsure := !m.unansweredPing.IsZero() || m.suspicion.lossy()
	if unsure {
		ticks, interval = 1, pingInterval
		m.suspicion.observeSilence(now, m.unansweredPing, m.frames.member.path())
	}
	switch {
	case m.dead:
		return pingInterval
	case !m.unansweredPing.IsZero() && m.timeLeft(now, silent) <= 0:
		m.dead = true
		// The kernel on the other side acknowledges our packets, so the device
		// is there and its own packets get lost.
		m.stuck = m.stuck || m.busy() && m.frames.member.path().idle < pingInterval+minAnswerTimeout/2
		m.detector.log.Info("a device stopped answering", "peer", m.conn.RemotePeer(), "silent", silent, "loss", m.suspicion.loss)
		go m.close()
		return pingInterval
	case !m.dialled && silent > interval:
		unsure = true
	}
	if (m.dialled && m.isTurn(now, ticks) || unsure) && now.Sub(m.lastPing) >= pingInterval-pingSlack {
		if m.unansweredPing.IsZero() {
			m.unansweredPing, m.dueAt = now, now
			if !m.dialled { // the other side's ping was due
				m.dueAt = now.Add(min(0, interval-silent))
			}
		}
		m.lastPing = now
		m.ping()
	}
	switch {
	case unsure && m.unansweredPing.IsZero():
		return checkInterval
	case unsure:
		return min(checkInterval, m.timeLeft(now, silent))
	default:
		return pingInterval
	}
}

// isTurn reports whether to ping this connection at this tick. Turns differ
// between connections, so that pings are spread evenly.
func (m *monitor) isTurn(now time.Time, ticks int) bool {
	id := m.conn.RemotePeer()
	return (m.detector.tickCount(now)+int(id[len(id)-1]))%ticks == 0
}

// timeLeft is how long a device that was asked may still be silent: after something was
// due from it, and after it was asked.
func (m *monitor) timeLeft(now time.Time, silent time.Duration) time.Duration {
	return max(
		m.suspicion.timeout()-pingInterval-min(now.Sub(m.dueAt), silent),
		minAnswerTimeout-min(now.Sub(m.unansweredPing), silent),
	)
}

// busy reports whether one of the devices works for the other.
func (m *monitor) busy() bool {
	return m.conn.Stat().NumStreams > 0 && slices.ContainsFunc(m.conn.GetStreams(), func(s network.Stream) bool { return slices.Contains(m.detector.workProtocols, s.Protocol()) })
}

// handleFrame takes a frame of the other side; it is called by who reads.
func (m *monitor) handleFrame(kind byte, body []byte) error {
	if !m.joined {
		m.joined = true
		m.detector.members.join(m.conn)
	}
	switch kind {
	case frameGossip: // as fast as pubsub takes it
		m.deliverGossip(body)
		return nil
	case frameStatus:
		m.handleStatus(body)
	default:
		m.handleControl(kind, body)
	}
	if wait := m.limiter.Reserve().Delay(); wait > 0 {
		time.Sleep(wait)
	}
	return nil
}

// openInbound has pubsub hear the other side, as a neighbour, and that it is subscribed.
func (m *monitor) openInbound() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.inbound == nil {
		m.startInbound()
		return
	}
	select {
	case m.inbound.incoming <- m.detector.gossip.subscription:
	default: // it hears enough
	}
}

// startInbound starts pubsub's reader of the other side, after the reader
// before it ended. If pubsub ends it over garbage, it starts again. The caller
// holds the mutex.
func (m *monitor) startInbound() {
	in, before, heard := newGossipStream(m.conn, m.frames, maxQueuedGossip), m.inboundDone, make(chan struct{})
	m.inbound, m.inboundDone = in, heard
	in.incoming <- m.detector.gossip.subscription
	go func() {
		defer close(heard)
		if before != nil {
			<-before
		}
		m.detector.gossip.handleStream(in)
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.inbound == in && m.detector.gossip.noteGarbled(m.frames.done) {
			m.startInbound()
		}
	}()
}

// openOutbound returns a stream to gossip on; nil if the other side is no
// neighbour. Pubsub forgot the subscription with the stream before, so it is
// told again.
func (m *monitor) openOutbound() *gossipStream {
	m.mu.Lock()
	in := m.inbound
	if in == nil {
		m.mu.Unlock()
		return nil
	}
	if m.outbound != nil {
		_ = m.outbound.Close()
	}
	out := newGossipStream(m.conn, m.frames, 0)
	m.outbound = out
	m.mu.Unlock()
	in.deliver(m.detector.gossip.subscription)
	return out
}

// deliverGossip hands a frame to pubsub. Before the device is a neighbour it
// drops it: everything in gossip comes again.
func (m *monitor) deliverGossip(body []byte) {
	m.mu.Lock()
	in := m.inbound
	m.mu.Unlock()
	if in != nil {
		in.deliver(body)
	}
}

// closeGossip ends gossip with a former neighbour.
func (m *monitor) closeGossip() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range []*gossipStream{m.outbound, m.inbound} {
		if s != nil {
			_ = s.Close()
		}
	}
	m.outbound, m.inbound = nil, nil
}

// handleStatus handles a status on another stack. The reader waits with its
// small stack, of which each member has one.
func (m *monitor) handleStatus(status []byte) {
	taken := make(chan struct{})
	go func() {
		defer close(taken)
		_ = contain(m.detector.log, m.conn.RemotePeer(), func() error {
			m.detector.gossip.handleDirect(m.conn.RemotePeer(), status)
			return nil
		})
	}()
	<-taken
}

// handleControl does what a frame other than a status asks for.
func (m *monitor) handleControl(kind byte, body []byte) {
	switch kind {
	case framePing:
		m.handlePing(body)
		if m.frames.idle < inlineSendThreshold || !m.frames.trySend(frameEcho, body) {
			goOnce(&m.echoing, func() { m.send(frameEcho, body) })
		}
	case frameEcho:
		m.handleEcho(body)
	case framePick:
		m.detector.members.setPickedBy(m.conn, body[0] != 0)
	case frameStatusRequest:
		if status := m.detector.gossip.ownStatus(); status != nil {
			goOnce(&m.sendingStatus, func() { m.sendStatus(status) })
		}
	case frameCopy:
		_, addr := readCopy(body)
		m.detector.diagnostics.noteCopy(m.detector.members.self, addr, "")
	case frameName:
		m.handleName(body)
	case frameForgotten:
		m.handleForgotten(body)
	case frameGoodbye:
		m.detector.members.markLeft(m.conn.RemotePeer())
		go m.send(frameGoodbyeAck, nil)
		m.ackGoodbye()
		// The other side closes the connection; if it does not, this one does.
		time.AfterFunc(time.Second, m.close)
	case frameGoodbyeAck:
		m.ackGoodbye()
	}
}

// ackGoodbye records that the other side knows of this device's departure, or
// departs too.
func (m *monitor) ackGoodbye() { m.ackOnce.Do(func() { close(m.goodbyeAcked) }) }

// sayGoodbye announces this device's departure and waits for the answer, the
// end of the connection, or ctx. Closing alone could say nothing: TCP may drop
// the last bytes.
func (m *monitor) sayGoodbye(ctx context.Context) {
	go m.send(frameGoodbye, nil)
	select {
	case <-m.goodbyeAcked:
	case <-m.frames.done:
	case <-ctx.Done():
	}
}

// close ends the connection; closing it may take a while when the other side is
// frozen.
func (m *monitor) close() {
	m.detector.members.remove(m.conn)
	_ = m.conn.Close()
}
