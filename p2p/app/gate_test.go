package app

import (
	"context"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hearth-edge/hearth/protocol"
)

// dialPort connects through the port, as any user of the machine can.
func dialPort(t *testing.T, dir string) *Conn {
	t.Helper()
	in, err := readInfo(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range in.Addresses {
		if strings.HasPrefix(a, "/ip4/") {
			c, err := dialAddr(t.Context(), a, in.PeerID)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			return &Conn{conn: c}
		}
	}
	t.Fatal("there is no port")
	return nil
}

// Apps that show no token take few streams, and no one else's: neither on the socket
// nor on the port.
func TestStreamsWithoutToken(t *testing.T) {
	dir := t.TempDir()
	var now, most atomic.Int32
	start(t, dir, func(_ context.Context, s protocol.Stream) {
		defer s.Close()
		for n := now.Add(1); ; {
			old := most.Load()
			if n <= old || most.CompareAndSwap(old, n) {
				break
			}
		}
		defer now.Add(-1)
		one := make([]byte, 1)
		if _, err := io.ReadFull(s, one); err != nil {
			return
		}
		if one[0] == 1 { // the token was right
			s.(protocol.Guarded).Proved()
			_, _ = s.Write(one)
		}
		_, _ = io.Copy(s, s)
	}, io.Discard)
	var flooding sync.WaitGroup
	t.Cleanup(flooding.Wait) // once the connections are closed
	for range 5 {
		c := dialPort(t, dir)
		flooding.Go(func() {
			for range 200 {
				s, err := c.Open(t.Context())
				if err != nil {
					return // reset, or the connection is too full
				}
				_, _ = s.Write([]byte{2})
			}
		})
	}
	eventually(t, func() error {
		if now.Load() < maxUnproven {
			return io.ErrShortWrite
		}
		return nil
	})
	for range 20 {
		greet(t, open(t, dial(t, dir)))
		greet(t, open(t, dialPort(t, dir)))
	}
	// One that showed it has as many streams as it likes.
	honest := dialPort(t, dir)
	for range 4 * maxUnproven {
		greet(t, open(t, honest))
	}
	const others = 40 + 4*maxUnproven
	if n := most.Load(); n > maxUnproven+others+5 {
		t.Errorf("%d streams were served at once", n)
	}
	t.Logf("%d streams were served at once, of which %d may be of strangers", most.Load(), maxUnproven)
}

// Many streams that are opened at once, before any showed the token, are all served.
func TestManyStreamsAtOnce(t *testing.T) {
	dir := t.TempDir()
	start(t, dir, echo, io.Discard)
	c := dial(t, dir)
	var all sync.WaitGroup
	for range 500 {
		all.Go(func() {
			s, err := c.Open(t.Context())
			if err == nil {
				err = ping(s)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}
