package p2p

import (
	"strings"
	"testing"

	"github.com/hearth-edge/hearth/keys"
)

// Two devices of one mesh that speak no common version: both say so, once.
func TestAnotherVersion(t *testing.T) {
	t.Parallel()
	secret := keys.NewSecret()
	a := start(t, secret, "a")
	b := start(t, secret, "b", a.asPeer(), func(c *Config) { c.muxID = "/hearth/lines/1.0.0" })
	const said = "of this mesh, but of another version"
	for _, way := range [][2]*device{{a, b}, {b, a}} {
		d, o := way[0], way[1]
		d.logs(said)
		eventually(t, func() bool { return len(d.OtherVersions()) == 1 })
		if p := d.OtherVersions()[0]; p.Name != o.name || p.ID != o.ID() || !strings.Contains(p.Address, "127.0.0.1") {
			t.Errorf("%+v", p)
		}
		if n := strings.Count(d.log.String(), said); n != 1 || len(d.Strangers()) > 0 || len(d.Peers()) > 0 {
			t.Errorf("said %d times, strangers %v, peers %v", n, d.Strangers(), d.Peers())
		}
	}
	b.stop() // is updated
	b = start(t, secret, "b", a.asPeer())
	a.joins(b)
	if left := a.OtherVersions(); len(left) > 0 {
		t.Errorf("still told of: %+v", left)
	}
}
