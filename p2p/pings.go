package p2p

import "time"

// lives reports whether the other side answers now. It takes answerTime, or longer
// where round trips do.
func (w *watched) lives() bool {
	answered := make(chan struct{})
	w.mu.Lock()
	w.probes = append(w.probes, answered)
	timer := time.NewTimer(min(max(answerTime, 2*w.rtt), handshakeTimeout/2))
	w.ping()
	w.mu.Unlock()
	defer timer.Stop()
	select {
	case <-answered:
		return true
	case <-w.line.over:
		return false
	case <-timer.C:
		return false
	}
}

// wasPinged notes a ping of the other side.
func (w *watched) wasPinged(body []byte) {
	if rtt := told(body); !w.dialled && rtt > 0 {
		w.l.members.measured(w.conn.RemotePeer(), rtt)
	}
	path := w.line.member.path()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stuck = path.isStuck()
	if w.asked.IsZero() {
		w.allowed.observe(time.Now(), path)
	}
}

// wasAnswered notes an echo.
func (w *watched) wasAnswered(body []byte) {
	rtt := echoed(body, time.Since(w.l.born))
	if rtt > 0 {
		w.l.members.measured(w.conn.RemotePeer(), rtt)
	}
	path := w.line.member.path()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stuck = path.isStuck()
	w.allowed.observe(time.Now(), path)
	w.rtt, w.asked = rtt, time.Time{}
	for _, probe := range w.probes {
		close(probe)
	}
	w.probes = nil
}
