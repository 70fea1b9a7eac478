package p2p

import (
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

// frameMemberConn is a connection that frames go over.
type frameMemberConn struct {
	fakeConn
	frames *frameConn
}

func (c *frameMemberConn) As(target any) bool { return c.frames.As(target) }

// A device is told as lost when its newest connection ends, also while one that this
// replaced is still being closed.
func TestLostWhileAnotherIsBeingClosed(t *testing.T) {
	m := newMembers("self")
	m.onOpen, m.onClose = func(network.Conn) {}, func(network.Conn) {}
	connect := func() network.Conn {
		c := &frameMemberConn{frames: &frameConn{member: newMemberConn(&fakeMember{}, nil, "b")}}
		m.Connected(nil, c)
		m.join(c)
		return c
	}
	old, replaced := connect(), connect()
	m.events = nil
	m.Disconnected(nil, replaced)
	if len(m.events) != 1 || m.events[0].joined || m.events[0].how != Lost || m.has(old.RemotePeer()) {
		t.Errorf("told %+v; the device is there: %v", m.events, m.has(old.RemotePeer()))
	}
	again := connect()
	m.events = nil
	m.Disconnected(nil, old)
	if len(m.events) > 0 || m.conn(again.RemotePeer()) != again {
		t.Errorf("the end of a connection that was replaced: %+v", m.events)
	}
}

// Whether gossip reaches a neighbour is looked at often at first, and soon rarely.
func TestLooksForNeighbours(t *testing.T) {
	looks, pause := 0, readyPollInterval
	for at := time.Duration(0); at < 30*time.Second; at += pause {
		looks++
		pause = nextPoll(pause)
	}
	if looks > 18 {
		t.Errorf("%d looks in the first 30 s", looks)
	}
}
