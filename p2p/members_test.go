package p2p

import (
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

// lineConn is a connection that frames go over.
type lineConn struct {
	fakeConn
	on *line
}

func (c *lineConn) As(target any) bool { return c.on.As(target) }

// A device is told as lost when its newest connection ends, also while one that this
// replaced is still being closed.
func TestLostWhileAnotherIsBeingClosed(t *testing.T) {
	m := newMembers("self")
	m.opened, m.closed = func(network.Conn) {}, func(network.Conn) {}
	connect := func() network.Conn {
		c := &lineConn{on: &line{member: newMemberConn(&fakeMember{}, nil, "b")}}
		m.Connected(nil, c)
		m.met(c)
		return c
	}
	old, replaced := connect(), connect()
	m.news = nil
	m.Disconnected(nil, replaced)
	if len(m.news) != 1 || m.news[0].joined || m.news[0].how != Lost || m.has(old.RemotePeer()) {
		t.Errorf("told %+v; the device is there: %v", m.news, m.has(old.RemotePeer()))
	}
	again := connect()
	m.news = nil
	m.Disconnected(nil, old)
	if len(m.news) > 0 || m.conn(again.RemotePeer()) != again {
		t.Errorf("the end of a connection that was replaced: %+v", m.news)
	}
}

// Whether gossip reaches a neighbour is looked at often at first, and soon rarely.
func TestLooksForNeighbours(t *testing.T) {
	looks, pause := 0, readyPoll
	for at := time.Duration(0); at < 30*time.Second; at += pause {
		looks++
		pause = nextLook(pause)
	}
	if looks > 18 {
		t.Errorf("%d looks in the first 30 s", looks)
	}
}
