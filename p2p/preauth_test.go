package p2p

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/hearth-edge/hearth/keys"
)

// However many connections hold still, a member gets in, and the oldest of them go.
func TestMemberAmongSilentGuests(t *testing.T) {
	t.Parallel()
	secret := keys.NewSecret()
	d := start(t, secret, "a")
	a, _ := peer.SplitAddr(ma.StringCast(d.Addresses()[0]))
	var silent []net.Conn
	for range 2 * maxPreauthConnsPerIP {
		c, err := manet.Dial(a)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		silent = append(silent, c)
	}
	for i, c := range silent[:maxPreauthConnsPerIP] {
		_ = c.SetReadDeadline(time.Now().Add(handshakeTimeout / 2))
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("connection %d is held before the younger ones go", i)
		}
	}
	began := time.Now()
	member := start(t, secret, "b", d.asPeer())
	d.joins(member)
	t.Logf("a member joined after %v", time.Since(began))
	if n := d.Stats().Evicted; n < maxPreauthConnsPerIP {
		t.Errorf("%d connections were evicted", n)
	}
	eventually(t, func() bool {
		door := d.live.Load().preauth
		door.mu.Lock()
		defer door.mu.Unlock()
		return len(door.waiting) <= maxPreauthConnsPerIP
	})
}

// Strangers' addresses are dialled so often and no more; one where no member
// answered is left alone.
func TestBudget(t *testing.T) {
	t.Parallel()
	now := time.Now()
	b := newDialLimiter()
	victim := func(port int) []ma.Multiaddr { return addrs(fmt.Sprintf("/ip4/10.0.0.9/tcp/%d", port+1)) }
	dialled := 0
	for i := range 10_000 {
		if b.allow(victim(i), now) {
			dialled++
		}
	}
	if dialled != hostDialBurst {
		t.Errorf("%d attempts at one address", dialled)
	}
	for i := range 10_000 {
		if b.allow(addrs(fmt.Sprintf("/ip4/10.1.%d.%d/tcp/1", i/250, i%250)), now) {
			dialled++
		}
	}
	if dialled != dialBurst {
		t.Errorf("%d attempts in all", dialled)
	}
	if b.hosts.Len() > maxHosts {
		t.Errorf("%d addresses are remembered", b.hosts.Len())
	}
	now = now.Add(time.Hour)
	b.blockFor(victim(1), now)
	if b.allow(victim(1), now) || !b.allow(victim(2), now) || !b.allow(victim(1), now.Add(distrustTTL)) {
		t.Error("another address than where no member answered is left alone, or for another time")
	}
}
