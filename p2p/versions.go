package p2p

import (
	"fmt"
	"slices"

	"github.com/libp2p/go-libp2p/core/sec"

	"github.com/hearth-edge/hearth/keys"
)

// checkVersion refuses a proven member without a common version of the frames:
// libp2p's negotiation within Noise found none. Both sides see that.
func (d *diagnostics) checkVersion(c sec.SecureConn, cert keys.Certificate, addr string) error {
	if c.ConnState().StreamMultiplexer != "" {
		return nil
	}
	d.noteVersion(Peer{ID: peerID(cert.Peer), Name: cert.Name, Address: addr})
	return fmt.Errorf("%w: %s", errVersion, cert.Name)
}

// noteVersion notes a member of another version, and logs it once.
func (d *diagnostics) noteVersion(p Peer) {
	d.mu.Lock()
	d.versions = slices.DeleteFunc(d.versions, func(o Peer) bool { return o.ID == p.ID })
	d.versions = bounded(append(d.versions, p))
	first := d.firstTime("version "+string(p.ID)) && d.strangerLimiter.Allow()
	d.mu.Unlock()
	if first {
		d.log.Warn("a device is of this mesh, but of another version of hearth, and cannot be connected to; install the same version on both",
			"name", p.Name, "peer", p.ID, "address", p.Address)
	}
}

// otherVersions returns the members of another version that were seen.
func (d *diagnostics) otherVersions() []Peer {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.versions)
}
