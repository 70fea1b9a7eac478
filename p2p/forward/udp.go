package forward

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// maxDatagram is the most that one datagram holds.
const maxDatagram = 64 << 10

// UDP carries the datagrams of each sender over a stream of its own, and the
// answers back, until ctx ends: then c is closed. A sender's stream ends after a
// minute without a datagram. What cannot be carried is dropped, as UDP may do;
// failed is told why. The error is why c could not be read any more.
func UDP(ctx context.Context, c *net.UDPConn, dial Dial, failed func(error)) error {
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	ctx, cancel := context.WithCancel(ctx)
	u := &flows{conn: c, dial: dial, failed: failed, all: make(map[netip.AddrPort]*flow)}
	defer u.running.Wait()
	defer cancel()
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil: // an answer that found nobody is told here
			continue
		}
		u.pass(ctx, from, buf[:n])
	}
}

// flows are the senders of a UDP listener.
type flows struct {
	conn    *net.UDPConn
	dial    Dial
	failed  func(error)
	running sync.WaitGroup

	mu  sync.Mutex // guards all
	all map[netip.AddrPort]*flow
}

// flow is one sender.
type flow struct {
	from    netip.AddrPort
	waiting chan []byte
	moved   atomic.Int64 // when a datagram came last, either way
	end     context.CancelFunc
}

// pass hands a datagram on to its flow, which it begins if need be. Where there are
// too many the one ends that is idle for longest: many programs, such as those that
// ask a name server, take a new port for each question.
func (u *flows) pass(ctx context.Context, from netip.AddrPort, data []byte) {
	u.mu.Lock()
	f := u.all[from]
	if f == nil {
		if len(u.all) >= maxFlows {
			oldest := u.oldest()
			oldest.end()
			delete(u.all, oldest.from)
		}
		ctx, end := context.WithCancel(ctx)
		f = &flow{from: from, waiting: make(chan []byte, maxWaiting), end: end}
		f.touch()
		u.all[from] = f
		u.running.Go(func() {
			defer end()
			defer u.forget(f)
			u.carry(ctx, f)
		})
	}
	u.mu.Unlock()
	select {
	case f.waiting <- append([]byte(nil), data...):
	default: // it is too fast for its stream
	}
}

func (u *flows) forget(f *flow) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.all[f.from] == f {
		delete(u.all, f.from)
	}
}

// oldest returns the flow that is idle for longest; u.mu is held.
func (u *flows) oldest() (oldest *flow) {
	for _, f := range u.all {
		if oldest == nil || f.moved.Load() < oldest.moved.Load() {
			oldest = f
		}
	}
	return oldest
}

// carry takes a flow to its end.
func (u *flows) carry(ctx context.Context, f *flow) {
	stream, err := open(ctx, u.dial)
	if err != nil {
		u.failed(err)
		return
	}
	far := protocol.UnframeDatagrams(stream)
	reset := func() { _ = far.Reset() }
	defer reset()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var back sync.WaitGroup
	defer back.Wait()
	defer reset() // ends answer
	back.Go(func() {
		defer cancel()
		u.answer(f, far)
	})
	f.touch()
	idle := time.NewTimer(idleTimeout)
	defer idle.Stop()
	for {
		select {
		case data := <-f.waiting:
			f.touch()
			if err := far.SetWriteDeadline(time.Now().Add(dialTimeout)); err != nil {
				return
			}
			if _, err := far.Write(data); err != nil {
				return
			}
		case <-idle.C:
			left := idleTimeout - time.Since(time.Unix(0, f.moved.Load()))
			if left <= 0 {
				return
			}
			idle.Reset(left)
		case <-ctx.Done():
			return
		}
	}
}

// answer sends back what comes.
func (u *flows) answer(f *flow, far protocol.Stream) {
	buf := make([]byte, maxDatagram)
	for {
		n, err := far.Read(buf)
		if err != nil {
			return
		}
		f.touch()
		_, _ = u.conn.WriteToUDPAddrPort(buf[:n], f.from)
	}
}

func (f *flow) touch() { f.moved.Store(time.Now().UnixNano()) }
