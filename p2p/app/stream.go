package app

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/libp2p/go-libp2p/core/network"
	mss "github.com/multiformats/go-multistream"

	"github.com/hearth-edge/hearth/protocol"
)

// Multistream is how the two ends of a stream agree on what is spoken there: the
// opener says its name and that of the protocol, and the other end repeats both.
// Said one by one, that is a round trip before the first word, and six small
// packets, each encrypted, sent and woken up for. But an app wants one protocol
// only, and so its first frame goes out with the names; and the device holds its
// answer back until it has more to say.

// greeting is what an app says first, and what it hears first.
var greeting = []byte(token(mss.ProtocolID) + token(protocol.AppProtocol))

// token is a word of multistream: its length, which is less than 128, itself, and
// the end of a line.
func token(word string) string { return string(rune(len(word)+1)) + word + "\n" }

var errGreeting = errors.New("the other end does not speak " + protocol.AppProtocol)

// A prefix is what goes out before the first bytes that are written, with as many
// of them as fit into a packet.
type prefix struct {
	out io.Writer

	mu    sync.Mutex // owns the sending half while anything is held
	bytes []byte
}

// joined is how many bytes go out with a prefix: far less than a stream takes
// before its other end reads, so that it is never waited for.
const joined = 4 << 10

// hold adds to what goes out first.
func (x *prefix) hold(p []byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.bytes = append(x.bytes, p...)
}

// write sends what is held, and p after it.
func (x *prefix) write(p []byte) (int, error) {
	n, err := x.first(p[:min(len(p), joined)])
	if err != nil || n == len(p) {
		return n, err
	}
	m, err := x.out.Write(p[n:])
	return n + m, err
}

// first sends what is held together with p; where nothing is, it sends nothing.
func (x *prefix) first(p []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	held := len(x.bytes)
	if held == 0 {
		return 0, nil
	}
	n, err := x.out.Write(append(x.bytes, p...))
	x.bytes = nil
	return max(0, n-held), err
}

// An appStream is an app's end of a stream.
type appStream struct {
	network.MuxedStream
	out   prefix
	heard int // how much of the greeting was; it belongs to whoever reads
}

func newAppStream(s network.MuxedStream) *appStream {
	return &appStream{MuxedStream: s, out: prefix{out: s, bytes: bytes.Clone(greeting)}}
}

// Read waits for the other end's greeting first.
func (s *appStream) Read(p []byte) (int, error) {
	for s.heard < len(greeting) {
		if _, err := s.out.first(nil); err != nil {
			return 0, err
		}
		var answer [64]byte
		rest := greeting[s.heard:]
		n, err := s.MuxedStream.Read(answer[:min(len(rest), len(answer))])
		if !bytes.HasPrefix(rest, answer[:n]) {
			_ = s.Reset()
			return 0, errGreeting
		}
		if s.heard += n; err != nil && s.heard < len(greeting) {
			return 0, err
		}
	}
	return s.MuxedStream.Read(p)
}

// Write sends the greeting with the first bytes.
func (s *appStream) Write(p []byte) (int, error) { return s.out.write(p) }

// CloseWrite ends this half.
func (s *appStream) CloseWrite() error {
	_, err := s.out.first(nil)
	return errors.Join(err, s.MuxedStream.CloseWrite())
}

// Close ends both halves.
func (s *appStream) Close() error {
	_, err := s.out.first(nil)
	return errors.Join(err, s.MuxedStream.Close())
}

// A deviceStream is the device's end of a stream. What multistream writes there is
// held back until the device says something, or waits for the app to.
type deviceStream struct {
	network.MuxedStream
	in    *bufio.Reader // it and begun belong to whoever reads
	begun bool
	out   prefix
	// proved is told that the app has shown the token.
	proved func()
}

var _ protocol.Guarded = (*deviceStream)(nil)

// namesSize is for both names and a first frame.
const namesSize = 1 << 10

func newDeviceStream(s network.MuxedStream, proved func()) *deviceStream {
	return &deviceStream{MuxedStream: s, in: bufio.NewReaderSize(s, namesSize), out: prefix{out: s}, proved: proved}
}

// Proved implements protocol.Guarded.
func (s *deviceStream) Proved() { s.proved() }

// Read says what is held back before it waits, but for the first word, which is
// the app's.
func (s *deviceStream) Read(p []byte) (int, error) {
	if s.begun && s.in.Buffered() == 0 {
		if _, err := s.out.first(nil); err != nil {
			return 0, err
		}
	}
	s.begun = true
	return s.in.Read(p)
}

// Write says what is held back, and p.
func (s *deviceStream) Write(p []byte) (int, error) { return s.out.write(p) }

// CloseWrite ends this half.
func (s *deviceStream) CloseWrite() error {
	_, err := s.out.first(nil)
	return errors.Join(err, s.MuxedStream.CloseWrite())
}

// Close ends both halves.
func (s *deviceStream) Close() error {
	_, err := s.out.first(nil)
	return errors.Join(err, s.MuxedStream.Close())
}

// A negotiation is a deviceStream while multistream uses it.
type negotiation struct{ *deviceStream }

// Write holds p back.
func (n negotiation) Write(p []byte) (int, error) {
	n.out.hold(p)
	return len(p), nil
}
