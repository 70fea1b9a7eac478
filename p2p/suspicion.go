package p2p

import (
	"math"
	"time"
)

const (
	// silenceTimeout is how long a device on a good link may be silent where one ping a
	// second is sent: a device that is there is then heard at least once in pingInterval,
	// whatever else is queued on the connection.
	silenceTimeout = 2400 * time.Millisecond
	// maxSilenceTimeout is how long a device may be silent on the worst link.
	maxSilenceTimeout = 20 * time.Second
	// falsePositiveRate is the accepted probability to declare a live device
	// dead: a packet and all its retransmissions got lost.
	falsePositiveRate = 1e-6
	// Every link is taken to lose minLoss; one that repeats and is answered
	// while nothing is heard, highLoss; none more than maxLoss.
	minLoss, highLoss, maxLoss = 0.03, 0.3, 0.6
	// TCP's timeout holds for so many repetitions; then it may have grown to
	// maxRTO.
	quickRetransmits = 4
	maxRTO           = time.Second
	// lossWindow is the period over which losses are counted. minWindowPackets
	// is the least denominator, since one or two packets say nothing.
	lossWindow       = 10 * time.Second
	minWindowPackets = 10
	// lossHalfLife is how long until half of the worst that was seen is forgotten.
	lossHalfLife = 30 * time.Second
)

// pathInfo is what the kernel knows of a connection.
type pathInfo struct {
	sent, retransmitted uint64        // packets with data, and those of them sent again
	spurious            uint64        // those sent again that the other side had already, as it tells
	rto                 time.Duration // retransmission timeout
	idle                time.Duration // for how long no packet of any kind came
	retransmits         int           // how often the packet was repeated that is to be acknowledged next
}

// lost is what was sent again for a reason.
func (p *pathInfo) lost() uint64 { return p.retransmitted - min(p.spurious, p.retransmitted) }

// A suspicion learns how long one connection may be silent before it is dead.
// TCP retransmits lost packets after a timeout, so a link with a third of its
// packets lost is silent for seconds every few minutes. The kernel counts
// retransmissions, and they show loss long before a silence does.
//
// During a silence a retransmission proves nothing, unless a packet follows it.
// A spurious one proves nothing either: a hanging device acknowledges late, and
// so does a busy one, after TCP's probes (RFC 8985).
//
// Its owner is the goroutine of the monitor.
type suspicion struct {
	window          pathInfo // as the present window began
	began           time.Time
	seen            time.Time     // the last observation
	heardLost       uint64        // what had been repeated then, and not needlessly
	retransmittedAt time.Time     // when more was first seen to be, in the present silence
	loss            float64       // the worst share of late, fading
	rto             time.Duration // the longest of late, fading
	silentRTO       time.Duration // what it has come to in the present silence
}

// observe takes the kernel's counters just after the device was heard.
// Retransmissions until then had a reason, unless they were spurious, and so
// had a longer timeout. At any other time both may be the start of an endless
// silence.
func (s *suspicion) observe(now time.Time, p pathInfo) {
	if s.seen.IsZero() {
		s.began, s.window = now, p
	}
	fade := math.Exp2(-float64(now.Sub(s.seen)) / float64(lossHalfLife))
	s.seen, s.heardLost, s.retransmittedAt = now, p.lost(), time.Time{}
	sent, before := p.sent-s.window.sent, s.window.lost()
	lost := max(p.lost(), before) - before // spurious ones may be reported late
	s.loss = max(s.loss*fade, float64(lost)/float64(max(sent, minWindowPackets)))
	s.rto = max(time.Duration(float64(s.rto)*fade), p.rto, s.silentRTO)
	s.silentRTO = 0
	if now.Sub(s.began) >= lossWindow {
		s.began, s.window = now, p
	}
}

// observeSilence takes the kernel's counters during a silence. asked is when
// the first unanswered ping was sent; zero if none was.
func (s *suspicion) observeSilence(now, asked time.Time, p pathInfo) {
	s.silentRTO = max(s.silentRTO, p.rto)
	if p.lost() <= s.heardLost {
		return
	}
	if s.retransmittedAt.IsZero() {
		s.retransmittedAt = now
		if !asked.IsZero() {
			s.retransmittedAt = asked
		}
	}
	if now.Add(-p.idle).After(s.retransmittedAt) {
		s.loss = max(s.loss, highLoss)
	}
}

// lossy reports whether packets got lost of late.
func (s *suspicion) lossy() bool { return s.loss > minLoss }

// timeout is how long the device may be silent now: until its next ping is due,
// and then for as many repetitions as make its loss as unlikely as falsePositiveRate.
func (s *suspicion) timeout() time.Duration {
	loss := min(max(s.loss, minLoss), maxLoss)
	repeats := math.Log(falsePositiveRate) / math.Log(loss)
	quick := min(repeats, quickRetransmits)
	wait := quick*float64(s.rto) + (repeats-quick)*float64(max(s.rto, maxRTO))
	return min(max(pingInterval+time.Duration(wait), silenceTimeout), maxSilenceTimeout)
}
