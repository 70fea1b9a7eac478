package p2p

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2pproto "github.com/libp2p/go-libp2p/core/protocol"
	mss "github.com/multiformats/go-multistream"
	"golang.org/x/time/rate"
)

const (
	// aliveProtocol is spoken by each side of a connection to the other, over
	// one stream that stays open. The opener sends frames of 9 bytes, a kind
	// and 8 bytes that mean something to itself only; the other side sends
	// each one back as it is.
	aliveProtocol libp2pproto.ID = "/hearth/alive/1.0.0"

	frameSize         = 9
	framePing    byte = 1
	frameGoodbye byte = 2

	// pingEvery is the time between pings.
	pingEvery = time.Second
	// lookEvery is the time between looks at how long a device has been silent.
	lookEvery = 200 * time.Millisecond
	// echoRate and echoBurst bound the frames a second that are sent back.
	echoRate, echoBurst = 20, 50
	// goodbyeTimeout bounds how long leaving waits for the others to know.
	goodbyeTimeout = 250 * time.Millisecond
)

// liveness watches connections and says goodbye on them.
type liveness struct {
	born     time.Time // what the times in pings count from
	measured func(peer.ID, time.Duration)
	leaving  func(peer.ID)
	lost     func(network.Conn)
	log      *slog.Logger
}

// watch pings the other end of c until c is closed. When ctx ends it says
// goodbye, waits until the other side knows, and returns. A connection over
// which nothing comes any more is closed.
func (l *liveness) watch(ctx context.Context, c network.Conn) {
	s, err := openAlive(c)
	if err != nil {
		_ = c.Close()
		return
	}
	echoes := make(chan byte) // the kinds of the frames that came back
	done := make(chan struct{})
	go func() {
		defer close(echoes)
		l.readEchoes(c.RemotePeer(), s, echoes, done)
	}()
	defer func() {
		_ = s.Reset() // ends readEchoes
		close(done)
		for range echoes {
		}
	}()
	if !l.pingUntil(ctx, c, s, echoes) {
		l.lost(c) // closing may take a while when the other side is frozen
		_ = c.Close()
		return
	}
	l.sayGoodbye(s, echoes)
}

// openAlive opens a stream on this connection and no other, so that each
// connection is watched by itself. It waits for nothing from the other side.
func openAlive(c network.Conn) (network.Stream, error) {
	ctx, cancel := context.WithTimeout(context.Background(), maxSilence)
	defer cancel()
	s, err := c.NewStream(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.SetProtocol(aliveProtocol); err != nil {
		_ = s.Reset()
		return nil, err
	}
	return &aliveStream{Stream: s, spoken: mss.NewMSSelect(s, aliveProtocol)}, nil
}

// An aliveStream sends its first ping without waiting for the other side to agree
// to the protocol: until then silence already counts.
type aliveStream struct {
	network.Stream
	spoken mss.LazyConn
}

func (s *aliveStream) Read(p []byte) (int, error)  { return s.spoken.Read(p) }
func (s *aliveStream) Write(p []byte) (int, error) { return s.spoken.Write(p) }

// pingUntil returns true when ctx ends, and false when the connection is dead.
func (l *liveness) pingUntil(ctx context.Context, c network.Conn, s network.Stream, echoes <-chan byte) bool {
	var conn *memberConn
	if !c.As(&conn) {
		return false
	}
	ping := time.NewTimer(l.tick(pingEvery))
	defer ping.Stop()
	var allowed tolerance
	quiet, waiting := time.NewTimer(lookEvery), true // for an echo
	defer quiet.Stop()
	if l.sendFrame(s, framePing) != nil {
		return false
	}
	for {
		select {
		case <-ctx.Done():
			return true
		case _, ok := <-echoes:
			if !ok {
				return false
			}
			allowed.observe(time.Now(), conn.path())
			quiet.Stop()
			waiting = false
		case <-quiet.C:
			silent := conn.silence()
			if silent > pingEvery {
				allowed.suspect(time.Now(), conn.path())
			}
			left := allowed.limit() - silent
			if left <= 0 {
				l.log.Info("a device stopped answering", "peer", c.RemotePeer(), "silent", silent, "loss", allowed.loss)
				return false
			}
			quiet.Reset(max(lookEvery, min(left, pingEvery+lookEvery-silent)))
		case <-ping.C:
			ping.Reset(l.tick(pingEvery))
			silent := conn.silence()
			if silent > lookEvery {
				allowed.suspect(time.Now(), conn.path())
			}
			if !waiting {
				quiet.Reset(max(lookEvery, pingEvery+lookEvery-silent))
				waiting = true
			}
			if l.sendFrame(s, framePing) != nil {
				return false
			}
		}
	}
}

// tick returns when, about after that time, this device wakes up anyway: all its
// pings go out together, for what costs is to wake up.
func (l *liveness) tick(about time.Duration) time.Duration {
	next := pingEvery - time.Since(l.born)%pingEvery
	return max(next+(about-next).Round(pingEvery), next)
}

// readEchoes measures the pings that come back, until the stream ends.
func (l *liveness) readEchoes(id peer.ID, s network.Stream, echoes chan<- byte, done <-chan struct{}) {
	var frame [frameSize]byte
	for {
		if _, err := io.ReadFull(s, frame[:]); err != nil {
			return
		}
		sent := time.Duration(binary.BigEndian.Uint64(frame[1:]))
		if rtt := time.Since(l.born) - sent; frame[0] == framePing && rtt > 0 && rtt < time.Minute {
			l.measured(id, rtt)
		}
		select {
		case echoes <- frame[0]:
		case <-done:
			return
		}
	}
}

// sayGoodbye returns when the other side has taken note, or goodbyeTimeout
// later. Closing the connection alone could tell it nothing: TCP may drop what
// was sent last.
func (l *liveness) sayGoodbye(s network.Stream, echoes <-chan byte) {
	timeout := time.NewTimer(goodbyeTimeout)
	defer timeout.Stop()
	if l.sendFrame(s, frameGoodbye) != nil {
		return
	}
	for {
		select {
		case kind, ok := <-echoes:
			if !ok || kind == frameGoodbye {
				return
			}
		case <-timeout.C:
			return
		}
	}
}

func (l *liveness) sendFrame(s network.Stream, kind byte) error {
	var frame [frameSize]byte
	frame[0] = kind
	binary.BigEndian.PutUint64(frame[1:], uint64(time.Since(l.born)))
	err := s.SetWriteDeadline(time.Now().Add(goodbyeTimeout))
	if err == nil {
		_, err = s.Write(frame[:])
	}
	// A connection that is full is not dead: silence decides.
	if t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err); ok && t.Timeout() {
		return nil
	}
	return err
}

// serve is the other side's handler: it sends frames back. After a goodbye the
// other side closes the connection; if it does not, this one does.
func (l *liveness) serve(s network.Stream) {
	defer func() { _ = s.Reset() }()
	var frame [frameSize]byte
	// Who sends more than this waits for its echoes.
	pace := rate.NewLimiter(echoRate, echoBurst)
	timeout := 2 * maxTolerance
	for s.SetDeadline(time.Now().Add(timeout)) == nil {
		if _, err := io.ReadFull(s, frame[:]); err != nil {
			break
		}
		if frame[0] == frameGoodbye {
			l.leaving(s.Conn().RemotePeer())
			timeout = time.Second
		}
		time.Sleep(pace.Reserve().Delay())
		if _, err := s.Write(frame[:]); err != nil {
			break
		}
	}
	if timeout == time.Second {
		_ = s.Conn().Close()
	}
}
