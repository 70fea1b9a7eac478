package p2p

import (
	"fmt"
	"slices"

	"github.com/libp2p/go-libp2p/core/sec"

	"github.com/hearth-edge/hearth/keys"
)

// checkVersion refuses a proven member that speaks no version of what follows the
// handshake which this device does: libp2p found none within Noise. Both sides see that.
func (r *reports) checkVersion(c sec.SecureConn, cert keys.Certificate, addr string) error {
	if c.ConnState().StreamMultiplexer != "" {
		return nil
	}
	r.otherVersion(Peer{ID: node(cert.Peer), Name: cert.Name, Address: addr})
	return fmt.Errorf("%w: %s", errVersion, cert.Name)
}

// otherVersion notes a member of another version, and logs it once.
func (r *reports) otherVersion(p Peer) {
	r.mu.Lock()
	r.versions = slices.DeleteFunc(r.versions, func(o Peer) bool { return o.ID == p.ID })
	r.versions = bounded(append(r.versions, p))
	first := r.first("version "+string(p.ID)) && r.lines.Allow()
	r.mu.Unlock()
	if first {
		r.log.Warn("a device is of this mesh, but of another version of hearth, and cannot be connected to; install the same version on both",
			"name", p.Name, "peer", p.ID, "address", p.Address)
	}
}

// otherVersions returns the members of another version that were seen.
func (r *reports) otherVersions() []Peer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.versions)
}
