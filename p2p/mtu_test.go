package p2p

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// addrConn is a connection with an address.
type addrConn struct {
	fakeConn
	addr string
}

func (c *addrConn) RemoteMultiaddr() ma.Multiaddr { return ma.StringCast(c.addr) }

// Packets to a device are small once two connections to it in a row ended with large
// ones lost, whatever the port, and this is logged once.
func TestSmallPaths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logBuffer
		s := &smallPaths{log: slog.New(slog.NewTextHandler(&log, nil))}
		end := func(addr string) { s.noteStuck(&addrConn{addr: addr}, "b") }
		end("/ip4/10.0.0.2/tcp/4000")
		time.Sleep(2 * stuckWithin)
		end("/ip4/10.0.0.2/tcp/4000") // which may be another reason
		if s.isSmall("10.0.0.2") || len(s.list()) > 0 {
			t.Error("packets are small after two that ended at different times")
		}
		end("/ip4/10.0.0.2/tcp/5000")
		end("/ip4/10.0.0.3/tcp/5000")
		time.Sleep(time.Hour)
		end("/ip4/10.0.0.2/tcp/6000")
		if !s.isSmall("10.0.0.2") || s.isSmall("10.0.0.3") || len(s.list()) != 1 || s.list()[0].Name != "b" {
			t.Errorf("%+v", s.paths)
		}
		if n := strings.Count(log.String(), "large packets"); n != 1 {
			t.Errorf("logged %d times", n)
		}
		for i := range 10 * maxDiagnostics {
			s.noteStuck(&addrConn{fakeConn{id: peer.ID(fmt.Sprint(i))}, fmt.Sprintf("/ip4/10.1.%d.%d/tcp/1", i/250, i%250)}, "x")
		}
		if len(s.paths) != maxDiagnostics {
			t.Errorf("%d paths are remembered", len(s.paths))
		}
	})
}

// What is repeated in vain shows only while the other side is heard.
func TestStuck(t *testing.T) {
	for attempts, want := range map[int]bool{0: false, stuckRetransmits - 1: false, stuckRetransmits: true} {
		if got := (&pathInfo{retransmits: attempts}).isStuck(); got != want {
			t.Errorf("repeated %d times: %v", attempts, got)
		}
	}
}
