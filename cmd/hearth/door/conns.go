package door

import (
	"net"
	"slices"
	"sync"
)

// boundedListener has at most max connections at a time. One too many takes the
// place of the oldest that has not shown a token: everybody on the machine can reach
// a port, and whoever has no token must not keep out those who have.
type boundedListener struct {
	net.Listener
	max int

	mu       sync.Mutex // guards what follows
	open     int
	unproven []*conn // the oldest first
}

// A conn is a connection of a boundedListener.
type conn struct {
	net.Conn
	from *boundedListener
	once sync.Once
	// local connections came over the socket, which only the owner can open.
	local bool
}

func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: raw, from: l, local: raw.LocalAddr().Network() == "unix"}
		evicted, ok := l.admit(c)
		if evicted != nil {
			_ = evicted.Close()
		}
		if ok {
			return c, nil
		}
		_ = raw.Close()
	}
}

// admit counts a connection, unless there is no room. It returns the one that has to
// go for it, if any.
func (l *boundedListener) admit(c *conn) (evicted *conn, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= l.max {
		if len(l.unproven) == 0 {
			return nil, false
		}
		evicted = l.unproven[0]
		l.unproven = slices.Delete(l.unproven, 0, 1)
		// It is counted until it is closed, which is at once.
	}
	l.open++
	l.unproven = append(l.unproven, c)
	return evicted, true
}

// proved notes that the connection's client has shown a token.
func (c *conn) proved() {
	c.from.mu.Lock()
	defer c.from.mu.Unlock()
	c.forget()
}

// forget strikes it off those without a token; it is called with mu held.
func (c *conn) forget() {
	if i := slices.Index(c.from.unproven, c); i >= 0 {
		c.from.unproven = slices.Delete(c.from.unproven, i, i+1)
	}
}

func (c *conn) Close() error {
	c.once.Do(func() {
		c.from.mu.Lock()
		defer c.from.mu.Unlock()
		c.forget()
		c.from.open--
	})
	return c.Conn.Close()
}
