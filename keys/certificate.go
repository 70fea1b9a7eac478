package keys

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	// MaxCertificate is the most bytes that an encoded certificate takes.
	MaxCertificate = 512
	// MaxName is the longest name of a device in bytes.
	MaxName = 63
	// epoch is the current one. It is signed so that a later version can
	// rotate the mesh's key; no other value is accepted yet.
	epoch = 1
)

// ErrNotMember is returned by Verify: the certificate does not prove that its
// bearer is a member of this mesh.
var ErrNotMember = errors.New("not a member of this mesh")

// A Certificate says that a peer is a member of the mesh under a name. It is
// worthless to anybody but the peer it names, and has no expiry, since home
// devices have wrong clocks.
type Certificate struct {
	Peer      peer.ID
	Name      string
	Epoch     uint64
	Signature []byte
}

// Mesh signs and verifies certificates with the key derived from the secret.
// It is safe for concurrent use.
type Mesh struct {
	key crypto.PrivKey
	pub crypto.PubKey
}

// NewMesh derives the mesh's signing key.
func NewMesh(s Secret) (*Mesh, error) {
	if s.IsZero() {
		return nil, errors.New("no secret")
	}
	key, err := ed25519Key(s.derive("mesh signing key", nil, 32))
	if err != nil {
		return nil, err
	}
	return &Mesh{key: key, pub: key.GetPublic()}, nil
}

// Certify issues a certificate for the peer.
func (m *Mesh) Certify(id peer.ID, name string) (Certificate, error) {
	if err := ValidName(name); err != nil {
		return Certificate{}, err
	}
	c := Certificate{Peer: id, Name: name, Epoch: epoch}
	var err error
	c.Signature, err = m.key.Sign(c.signed())
	return c, err
}

// Verify checks that c was issued with this mesh's secret to the peer proven,
// whose ID the connection has authenticated. The error wraps ErrNotMember.
func (m *Mesh) Verify(c Certificate, proven peer.ID) error {
	if c.Peer != proven {
		return fmt.Errorf("%w: the certificate is for another peer", ErrNotMember)
	}
	if c.Epoch != epoch {
		return fmt.Errorf("%w: epoch %d, not %d", ErrNotMember, c.Epoch, epoch)
	}
	if err := ValidName(c.Name); err != nil {
		return fmt.Errorf("%w: %w", ErrNotMember, err)
	}
	if ok, err := m.pub.Verify(c.signed(), c.Signature); err != nil || !ok {
		return fmt.Errorf("%w: signed with another secret", ErrNotMember)
	}
	return nil
}

// signed returns what the signature covers: a label, so that no signature made
// for another purpose fits, and every field with its length.
func (c Certificate) signed() []byte {
	return c.appendFields([]byte("hearth/1 membership certificate\x00"))
}

func (c Certificate) appendFields(b []byte) []byte {
	b = appendBytes(b, []byte(c.Peer))
	b = appendBytes(b, []byte(c.Name))
	return binary.AppendUvarint(b, c.Epoch)
}

// MarshalBinary encodes the certificate:
//
//	uvarint length, peer ID | uvarint length, name | uvarint epoch | uvarint length, signature
func (c Certificate) MarshalBinary() ([]byte, error) {
	b := appendBytes(c.appendFields(nil), c.Signature)
	if len(b) > MaxCertificate {
		return nil, errors.New("certificate too long")
	}
	return b, nil
}

// UnmarshalBinary decodes what MarshalBinary made, exactly: nothing may be
// missing, left over or written in a longer form than needed.
func (c *Certificate) UnmarshalBinary(data []byte) error {
	if len(data) > MaxCertificate {
		return errors.New("certificate too long")
	}
	d := decoder{rest: data}
	id, name := d.bytes(), d.bytes()
	ep := d.uvarint()
	sig := d.bytes()
	if d.bad || len(d.rest) > 0 {
		return errors.New("malformed certificate")
	}
	pid, err := peer.IDFromBytes(id)
	if err != nil {
		return errors.New("malformed certificate: no peer ID")
	}
	if err := ValidName(string(name)); err != nil {
		return err
	}
	*c = Certificate{Peer: pid, Name: string(name), Epoch: ep, Signature: append([]byte(nil), sig...)}
	return nil
}

func appendBytes(b, v []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

// decoder reads length-prefixed fields; after the first fault bad stays set.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if d.bad || n <= 0 || (n > 1 && d.rest[n-1] == 0) {
		d.bad = true
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if d.bad || n > uint64(len(d.rest)) {
		d.bad = true
		return nil
	}
	v := d.rest[:n]
	d.rest = d.rest[n:]
	return v
}

// ValidName says whether a device may have the name: 1 to 63 characters of
// a-z, A-Z, 0-9, '-', '_' and '.', the first and last a letter or a digit.
func ValidName(name string) error {
	if name == "" || len(name) > MaxName {
		return fmt.Errorf("a device's name has 1 to %d characters, not %d", MaxName, len(name))
	}
	for i, r := range []byte(name) {
		alnum := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		inner := i > 0 && i < len(name)-1
		if !alnum && (!inner || r != '-' && r != '_' && r != '.') {
			return fmt.Errorf("device name %q: only letters, digits, and inside it '-', '_' and '.' are allowed", name)
		}
	}
	return nil
}
