package p2p

import (
	"math"
	"time"
)

const (
	// maxSilence is how long a device on a good link may be silent where one ping a
	// second is sent: a device that is there is then heard at least once in pingEvery,
	// whatever else is queued on the connection.
	maxSilence = 2400 * time.Millisecond
	// maxTolerance is how long a device may be silent on the worst link.
	maxTolerance = 20 * time.Second
	// wronged is the chance at which a packet and all its repetitions may get
	// lost within the silence that is tolerated.
	wronged = 1e-6
	// Every link is taken to lose leastLoss; one that repeats and is answered
	// while nothing is heard, badLoss; none more than mostLoss.
	leastLoss, badLoss, mostLoss = 0.03, 0.3, 0.6
	// TCP's timeout holds for so many repetitions; then it may have grown to
	// maxRepeat.
	quickRepeats = 4
	maxRepeat    = time.Second
	// lossWindow is over how long losses are counted, and windowPackets the
	// fewest packets that they are compared with: what is lost of one or two
	// says nothing.
	lossWindow    = 10 * time.Second
	windowPackets = 10
	// oblivion is how long until half of the worst that was seen is forgotten.
	oblivion = 30 * time.Second
)

// pathInfo is what the kernel knows of a connection.
type pathInfo struct {
	sent, repeated uint64        // packets with data, and those of them sent again
	needless       uint64        // those sent again that the other side had already, as it tells
	timeout        time.Duration // after which what was not acknowledged is sent again
	quiet          time.Duration // for how long no packet of any kind came
	attempts       int           // how often the packet was repeated that is to be acknowledged next
}

// lost is what was sent again for a reason.
func (p *pathInfo) lost() uint64 { return p.repeated - min(p.needless, p.repeated) }

// A tolerance learns how long one connection may be silent before it is dead.
// TCP repeats what was lost after a timeout; a link that loses one packet in
// three is therefore silent for seconds every few minutes, and alive. The kernel
// counts what it repeats, which shows loss long before a silence does. While the
// device is silent a repetition shows nothing, for it may be in vain, unless a
// packet comes after it. One that was needless shows nothing either: the kernel of
// a device that hangs acknowledges, and late, and one that is busy late enough for
// TCP to probe (RFC 8985, tail loss probes).
//
// Its owner is the goroutine that watches the connection.
type tolerance struct {
	window   pathInfo // as the present window began
	began    time.Time
	seen     time.Time     // the last observation
	heard    uint64        // what had been repeated then, and not needlessly
	repeated time.Time     // when more was first seen to be, in the present silence
	loss     float64       // the worst share of late, fading
	timeout  time.Duration // the longest of late, fading
	grown    time.Duration // what it has come to in the present silence
}

// observe notes what the kernel said when the device was just heard: what was
// repeated until then had a reason, unless the other side had it already, and the
// timeout grew for one. At any other time both may be the beginning of a silence
// without end.
func (t *tolerance) observe(now time.Time, p pathInfo) {
	if t.seen.IsZero() {
		t.began, t.window = now, p
	}
	fade := math.Exp2(-float64(now.Sub(t.seen)) / float64(oblivion))
	t.seen, t.heard, t.repeated = now, p.lost(), time.Time{}
	sent, before := p.sent-t.window.sent, t.window.lost()
	lost := max(p.lost(), before) - before // what was needless may be told late
	t.loss = max(t.loss*fade, float64(lost)/float64(max(sent, windowPackets)))
	t.timeout = max(time.Duration(float64(t.timeout)*fade), p.timeout, t.grown)
	t.grown = 0
	if now.Sub(t.began) >= lossWindow {
		t.began, t.window = now, p
	}
}

// suspect notes what the kernel said while the device was silent, which was asked
// for a sign of life at some time before; zero if it was not yet.
func (t *tolerance) suspect(now, asked time.Time, p pathInfo) {
	t.grown = max(t.grown, p.timeout)
	if p.lost() <= t.heard {
		return
	}
	if t.repeated.IsZero() {
		t.repeated = now
		if !asked.IsZero() {
			t.repeated = asked
		}
	}
	if now.Add(-p.quiet).After(t.repeated) {
		t.loss = max(t.loss, badLoss)
	}
}

// lossy reports whether packets got lost of late.
func (t *tolerance) lossy() bool { return t.loss > leastLoss }

// limit is how long the device may be silent now: until its next ping is due,
// and then for as many repetitions as make its loss as unlikely as wronged.
func (t *tolerance) limit() time.Duration {
	loss := min(max(t.loss, leastLoss), mostLoss)
	repeats := math.Log(wronged) / math.Log(loss)
	quick := min(repeats, quickRepeats)
	wait := quick*float64(t.timeout) + (repeats-quick)*float64(max(t.timeout, maxRepeat))
	return min(max(pingEvery+time.Duration(wait), maxSilence), maxTolerance)
}
