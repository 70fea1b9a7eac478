package p2p

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	libp2pproto "github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/p2p/security/noise"

	"github.com/hearth-edge/hearth/keys"
)

const (
	// securityID names the membership handshake where libp2p negotiates how a
	// connection is secured.
	securityID libp2pproto.ID = "/hearth/noise/1.0.0"
	// handshakeTimeout bounds the whole of it, Noise included: some ten round
	// trips, which may take as many seconds on a bad link.
	handshakeTimeout = 10 * time.Second
	// maxVerdict is the longest encoded verdict; only its first byte counts.
	maxVerdict = 1 + 64
)

// A verdict is what one member says to another at the handshake's end.
type verdict byte

const (
	verdictAccepted verdict = iota
	_                       // was: the name is another's
	// verdictProbe: the dialler only wanted to know who is there.
	verdictProbe
	// verdictDuplicate: another connection between the two is ahead.
	verdictDuplicate
)

var (
	// errProbe ends a handshake of a dialler that only asked for the ID.
	errProbe = errors.New("the dialler only asked who is there")
	// errVersion ends a handshake of members without a common version of the
	// frames.
	errVersion = errors.New("the device is of another version")
	// errNoCertificate: the listener closed instead of sending its certificate, as it
	// does to devices of another mesh.
	errNoCertificate = errors.New("the device closed the connection instead of proving its membership")
)

// membership is the security transport: libp2p's Noise, and inside of it each
// side's proof of the mesh's secret. The dialler goes first:
//
//	dialler → listener   uvarint length, certificate
//	listener → dialler   uvarint length, certificate; uvarint length, verdict
//	dialler → listener   uvarint length, verdict
//
// A verdict is one byte. The listener does not answer an invalid certificate. It
// closes the connection unless both verdicts are accepted.
type membership struct {
	noise *noise.Transport
	// anyPeer is noise without an expectation of whom the dialler meets.
	anyPeer *noise.SessionTransport
	mesh    *keys.Mesh
	// proof is this device's own certificate, encoded.
	proof       []byte
	self        peer.ID
	book        *peerBook
	names       *names
	diagnostics *diagnostics
	tieBreaker  *dialTieBreaker

	mu sync.Mutex // owns what follows
	// ownAddrs are where those dialled from that proved this device's own ID: itself, or one
	// with a copy of its state folder. At most maxOwnAddrs, the oldest first.
	ownAddrs []string
}

const maxOwnAddrs = 16

var _ sec.SecureTransport = (*membership)(nil)

// ID implements sec.SecureTransport.
func (m *membership) ID() libp2pproto.ID { return securityID }

// SecureInbound implements sec.SecureTransport.
func (m *membership) SecureInbound(ctx context.Context, insecure net.Conn, p peer.ID) (sec.SecureConn, error) {
	return m.secure(ctx, insecure, func() (sec.SecureConn, error) { return m.noise.SecureInbound(ctx, insecure, p) }, m.proveToDialler)
}

// SecureOutbound implements sec.SecureTransport.
func (m *membership) SecureOutbound(ctx context.Context, insecure net.Conn, p peer.ID) (sec.SecureConn, error) {
	if !m.tieBreaker.reserveDial(p) {
		return nil, errDuplicateConn
	}
	c, err := m.secure(ctx, insecure, func() (sec.SecureConn, error) { return m.noise.SecureOutbound(ctx, insecure, p) },
		func(c sec.SecureConn, addr string) (string, error) {
			return m.proveToListener(c, addr, verdictAccepted)
		})
	if err != nil {
		m.tieBreaker.free(p)
	}
	return c, err
}

// probe runs the dialler's side only to learn who listens: it returns the proven
// ID of a member. The connection is of no further use.
func (m *membership) probe(ctx context.Context, insecure net.Conn) (peer.ID, error) {
	var id peer.ID
	_, err := m.secure(ctx, insecure, func() (sec.SecureConn, error) { return m.anyPeer.SecureOutbound(ctx, insecure, "") },
		func(c sec.SecureConn, addr string) (string, error) {
			id = c.RemotePeer()
			return m.proveToListener(c, addr, verdictProbe)
		})
	if errors.Is(err, errProbe) {
		err = nil
	}
	return id, err
}

// secure runs Noise and then prove, within handshakeTimeout and ctx.
func (m *membership) secure(ctx context.Context, insecure net.Conn,
	start func() (sec.SecureConn, error), prove func(sec.SecureConn, string) (string, error),
) (sec.SecureConn, error) {
	retransmitSteadily(insecure)
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	// The deadline in the past unblocks every read and write at once.
	stop := context.AfterFunc(ctx, func() { _ = insecure.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	c, err := start()
	if err != nil {
		return nil, err
	}
	var name string
	err = contain(m.diagnostics.log, insecure.RemoteAddr(), func() (err error) {
		name, err = prove(c, insecure.RemoteAddr().String())
		return err
	})
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	if g, ok := insecure.(*pendingConn); ok {
		g.authenticated()
	}
	return newMemberConn(c, insecure, name), nil
}

// proveToListener is the dialler's side: it returns the listener's name. intent is
// what it says where it has nothing against the listener.
func (m *membership) proveToListener(c sec.SecureConn, addr string, intent verdict) (string, error) {
	if err := writeFrame(c, m.proof); err != nil {
		return "", err
	}
	cert, err := m.readCertificate(c)
	if err != nil {
		// A listener closes here if it does not accept the certificate. Any
		// other answer is no member's.
		if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
			err = errNoCertificate
		}
		// A known member that closes is only shutting down.
		known := errors.Is(err, errNoCertificate) && m.book.knows(c.RemotePeer())
		if !known && (errors.Is(err, keys.ErrNotMember) || errors.Is(err, errNoCertificate)) {
			m.diagnostics.noteStranger(addr, "", err)
		}
		return "", err
	}
	theirs, err := readVerdict(c)
	if err != nil {
		return "", err
	}
	m.recordMember(cert, addr)
	if err := writeFrame(c, []byte{byte(intent)}); err != nil {
		return "", err
	}
	err = verdictError(cert.Peer, intent, theirs)
	if err == nil {
		err = m.diagnostics.checkVersion(c, cert, addr)
	}
	if err != nil {
		// The listener closes, so that it surely reads the verdict first.
		_, _ = c.Read(make([]byte, 1))
	}
	return cert.Name, err
}

// proveToDialler is the listener's side: it returns the dialler's name.
func (m *membership) proveToDialler(c sec.SecureConn, addr string) (string, error) {
	cert, err := m.readCertificate(c)
	if err != nil {
		if errors.Is(err, keys.ErrNotMember) {
			m.diagnostics.noteStranger(addr, "", err)
		}
		return "", err
	}
	if err := writeFrame(c, m.proof); err != nil {
		return "", err
	}
	m.recordMember(cert, addr)
	mine := verdictAccepted
	if !m.tieBreaker.reserveAccept(cert.Peer) {
		mine = verdictDuplicate
	}
	err = exchangeVerdicts(c, cert.Peer, mine)
	if err == nil {
		err = m.diagnostics.checkVersion(c, cert, addr)
	}
	if err != nil && mine == verdictAccepted {
		m.tieBreaker.releaseAccept(cert.Peer)
	}
	return cert.Name, err
}

// exchangeVerdicts is the end of the listener's side: it exchanges the verdicts.
func exchangeVerdicts(c sec.SecureConn, other peer.ID, mine verdict) error {
	if err := writeFrame(c, []byte{byte(mine)}); err != nil {
		return err
	}
	theirs, err := readVerdict(c)
	if err != nil {
		return err
	}
	return verdictError(other, mine, theirs)
}

// recordMember records a proven member and pins its name. A member whose name
// is taken is accepted all the same: the ID is trusted.
func (m *membership) recordMember(cert keys.Certificate, addr string) {
	if cert.Peer == m.self {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.ownAddrs = append(m.ownAddrs[max(0, len(m.ownAddrs)-maxOwnAddrs+1):], addr)
		return
	}
	m.book.add(cert.Peer)
	if m.names.pinName(cert.Name, cert.Peer) {
		return
	}
	m.diagnostics.noteConflict(cert.Name, m.names.holder(cert.Name), cert.Peer, m.names.displayName(cert.Name, cert.Peer), addr)
}

// isOwnAddr reports whether this device accepted a connection from itself at
// this address.
func (m *membership) isOwnAddr(from net.Addr) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Contains(m.ownAddrs, from.String())
}

// verdictError turns the two verdicts into the handshake's end.
func verdictError(other peer.ID, mine, theirs verdict) error {
	switch {
	case theirs == verdictProbe || mine == verdictProbe:
		return errProbe
	case theirs == verdictDuplicate || mine == verdictDuplicate:
		return errDuplicateConn
	case theirs != verdictAccepted:
		return fmt.Errorf("refused by %s with the unknown code %d", other, theirs)
	}
	return nil
}

// readCertificate reads and verifies a certificate; one that is malformed or
// not valid is keys.ErrNotMember.
func (m *membership) readCertificate(c sec.SecureConn) (keys.Certificate, error) {
	var cert keys.Certificate
	data, err := readFrame(unbuffered{c}, keys.MaxCertificate)
	if err != nil {
		return cert, err
	}
	if err := cert.UnmarshalBinary(data); err != nil {
		return cert, fmt.Errorf("%w: %w", keys.ErrNotMember, err)
	}
	return cert, m.mesh.Verify(cert, c.RemotePeer())
}

func readVerdict(r io.Reader) (verdict, error) {
	data, err := readFrame(unbuffered{r}, maxVerdict)
	if err != nil {
		return 0, err
	}
	if len(data) == 0 {
		return 0, errors.New("empty verdict")
	}
	return verdict(data[0]), nil
}

// writeFrame writes data after its length.
func writeFrame(w io.Writer, data []byte) error {
	_, err := w.Write(append(binary.AppendUvarint(nil, uint64(len(data))), data...))
	return err
}

// readFrame reads a frame of writeFrame, at most limit bytes. It never reads
// ahead, because the multiplexer follows.
func readFrame(r frameReader, limit int) ([]byte, error) {
	size, err := binary.ReadUvarint(r)
	if err != nil {
		return nil, err
	}
	if size > uint64(limit) {
		return nil, fmt.Errorf("%w: a frame of %d bytes where at most %d are allowed", keys.ErrNotMember, size, limit)
	}
	data := make([]byte, size)
	_, err = io.ReadFull(r, data)
	return data, err
}

type frameReader interface {
	io.Reader
	io.ByteReader
}

// unbuffered reads single bytes from a reader.
type unbuffered struct{ io.Reader }

func (u unbuffered) ReadByte() (byte, error) {
	var one [1]byte
	_, err := io.ReadFull(u.Reader, one[:])
	return one[0], err
}

// A memberConn is the secured connection to a proven member. It notes when it
// last heard of the other side.
type memberConn struct {
	sec.SecureConn
	// name is the one in the member's certificate, start the number of its start.
	name  string
	start uint64
	raw   net.Conn     // below Noise
	heard atomic.Int64 // since born, in nanoseconds
	born  time.Time

	closing sync.Once
	closed  error
}

func newMemberConn(c sec.SecureConn, raw net.Conn, name string) *memberConn {
	return &memberConn{SecureConn: c, raw: raw, name: name, born: time.Now()}
}

// Read implements net.Conn.
func (c *memberConn) Read(p []byte) (int, error) {
	n, err := c.SecureConn.Read(p)
	if n > 0 {
		c.heard.Store(int64(time.Since(c.born)))
	}
	return n, err
}

// Close implements net.Conn. It may be called more than once.
func (c *memberConn) Close() error {
	c.closing.Do(func() { c.closed = c.SecureConn.Close() })
	return c.closed
}

// silence is how long nothing has come in.
func (c *memberConn) silence() time.Duration {
	return time.Since(c.born) - time.Duration(c.heard.Load())
}

// path is what the kernel knows of the connection.
func (c *memberConn) path() pathInfo { return pathOf(c.raw) }
