package p2p

import "time"

// probe reports whether the other side answers now. It takes minAnswerTimeout, or longer
// where round trips do.
func (m *monitor) probe() bool {
	answered := make(chan struct{})
	m.mu.Lock()
	m.probes = append(m.probes, answered)
	timer := time.NewTimer(min(max(minAnswerTimeout, 2*m.rtt), handshakeTimeout/2))
	m.ping()
	m.mu.Unlock()
	defer timer.Stop()
	select {
	case <-answered:
		return true
	case <-m.frames.done:
		return false
	case <-timer.C:
		return false
	}
}

// handlePing notes a ping of the other side.
func (m *monitor) handlePing(body []byte) {
	if rtt := reportedRTT(body); !m.dialled && rtt > 0 {
		m.detector.members.recordRTT(m.conn.RemotePeer(), rtt)
	}
	path := m.frames.member.path()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stuck = path.isStuck()
	if m.unansweredPing.IsZero() {
		m.suspicion.observe(time.Now(), path)
	}
}

// handleEcho notes an echo.
func (m *monitor) handleEcho(body []byte) {
	rtt := roundTrip(body, time.Since(m.detector.epoch))
	if rtt > 0 {
		m.detector.members.recordRTT(m.conn.RemotePeer(), rtt)
	}
	path := m.frames.member.path()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stuck = path.isStuck()
	m.suspicion.observe(time.Now(), path)
	m.rtt, m.unansweredPing = rtt, time.Time{}
	for _, probe := range m.probes {
		close(probe)
	}
	m.probes = nil
}
