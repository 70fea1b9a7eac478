package p2p

import (
	"testing"
	"time"
)

// What is tolerated on links of several kinds, after a minute on each.
func TestSuspicion(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		lost     uint64 // of the four packets a second
		needless uint64 // of those
		every    int    // seconds
		timeout  time.Duration
		from, to time.Duration
	}{
		{"unknown", 0, 0, 1, 0, silenceTimeout, silenceTimeout},
		{"clean", 0, 0, 1, 200 * time.Millisecond, silenceTimeout, silenceTimeout},
		{"clean and far", 0, 0, 1, 700 * time.Millisecond, 3 * time.Second, 5 * time.Second},
		{"a loss a minute", 1, 0, 60, 200 * time.Millisecond, silenceTimeout, 4 * time.Second},
		{"lossy", 1, 0, 1, 300 * time.Millisecond, 5 * time.Second, 15 * time.Second},
		{"clean, and TCP in doubt", 2, 2, 1, 200 * time.Millisecond, silenceTimeout, silenceTimeout},
		{"useless", 4, 0, 1, time.Second, maxSilenceTimeout, maxSilenceTimeout},
	} {
		var allowed suspicion
		now := time.Unix(0, 0)
		p := pathInfo{rto: c.timeout}
		for i := range 60 {
			now = now.Add(time.Second)
			p.sent += 4
			if (i+1)%c.every == 0 {
				p.retransmitted += c.lost
				p.spurious += c.needless
			}
			allowed.observe(now, p)
		}
		if got := allowed.timeout(); got < c.from || got > c.to {
			t.Errorf("%s: %v, not %v to %v", c.name, got, c.from, c.to)
		}
	}
}

// Repeating in vain is no reason to wait, an answer to it is.
func TestToleranceWhileSilent(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	p := pathInfo{sent: 100, rto: 200 * time.Millisecond}
	var cut, lossy, hung suspicion
	cut.observe(now, p)
	lossy.observe(now, p)
	hung.observe(now, p)
	asked := now
	for i := range 10 {
		now = now.Add(checkInterval)
		p.sent, p.retransmitted, p.idle = p.sent+1, p.retransmitted+1, p.idle+checkInterval
		cut.observeSilence(now, asked, p)
		if i == 5 {
			p.idle = 0
		}
		lossy.observeSilence(now, asked, p)
		p.idle = time.Duration(i+1) * checkInterval
	}
	if got := cut.timeout(); got != silenceTimeout {
		t.Errorf("%v for a device that is cut off", got)
	}
	late := p // a kernel acknowledges what was sent twice, and says so
	late.retransmitted, late.spurious = 1, 0
	hung.observeSilence(now, asked, late)
	late.spurious, late.idle = 1, 0
	hung.observeSilence(now.Add(checkInterval), asked, late)
	if got := hung.timeout(); got != silenceTimeout {
		t.Errorf("%v for a device that hangs", got)
	}
	wide := lossy.timeout()
	if wide < 5*time.Second {
		t.Errorf("%v on a link that lost everything for a while", wide)
	}
	for range 300 {
		now = now.Add(time.Second)
		p.sent += 4
		lossy.observe(now, p)
	}
	if got := lossy.timeout(); got != silenceTimeout {
		t.Errorf("%v minutes after the last loss, %v before", got, wide)
	}
}
