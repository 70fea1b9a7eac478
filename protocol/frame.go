package protocol

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
)

// Bounds on frames, in bytes.
const (
	// MaxFrame is the most that one encoded message takes.
	MaxFrame = 64 << 10
	// MaxData is the most raw bytes that follow one Data message.
	MaxData = 256 << 10
)

const (
	// frameTimeout is how long the first frame of a conversation may take to
	// come, and any frame from its first byte to its last.
	frameTimeout = 10 * time.Second
	// serviceTimeout is how long a service in a frame of its own may take, and
	// each MaxService bytes of what is larger.
	serviceTimeout = 30 * time.Second
	// joinData is up to where raw bytes are copied behind their header, to be
	// one write instead of two.
	joinData = 4 << 10
)

// wire is a stream that carries frames. Sending is for any number of
// goroutines at a time, receiving for one.
type wire struct {
	stream Stream
	in     *bufio.Reader
	msg    []byte // of the frame received last
	data   []byte // raw bytes received last

	sending sync.Mutex // owns the stream's sending half and out
	out     []byte
}

func newWire(s Stream) *wire { return &wire{stream: s, in: bufio.NewReader(s)} }

// send sends m, and the raw bytes that it announces, if any. With a timeout the
// other side must take them in that time; 0 is for ever. After an error the
// stream is of no use: a part of the frame may have gone out.
func (w *wire) send(m proto.Message, raw []byte, timeout time.Duration) error {
	w.sending.Lock()
	defer w.sending.Unlock()
	size := proto.Size(m)
	if size > MaxFrame {
		return Errorf(CodeInvalid, "message: it takes %d bytes, the most is %d", size, MaxFrame)
	}
	out, err := marshal(binary.AppendUvarint(w.out[:0], uint64(size)), m)
	if err != nil {
		return err
	}
	if len(raw) <= joinData {
		out, raw = append(out, raw...), nil
	}
	if cap(out) <= 2*joinData {
		w.out = out // keep small buffers only
	}
	if timeout > 0 {
		if err := w.stream.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
			return err
		}
		defer func() { _ = w.stream.SetWriteDeadline(time.Time{}) }()
	}
	if _, err := w.stream.Write(out); err != nil || len(raw) == 0 {
		return err
	}
	_, err = w.stream.Write(raw)
	return err
}

// receive decodes the next frame into m. It waits for the first byte of the
// frame as long as the stream's read deadline allows, then frameTimeout for the
// rest. io.EOF means that the other side has ended between two frames.
func (w *wire) receive(m proto.Message) error {
	if _, err := w.in.Peek(1); err != nil {
		return err
	}
	if !w.buffered() {
		if err := w.stream.SetReadDeadline(time.Now().Add(frameTimeout)); err != nil {
			return err
		}
		defer w.noReadDeadline()
	}
	return w.decode(m)
}

// decode reads a frame into m under whatever deadline is set.
func (w *wire) decode(m proto.Message) error {
	size, err := w.readSize()
	if err != nil {
		return err
	}
	if w.msg, err = w.fill(w.msg, size); err != nil {
		return err
	}
	return unmarshal(w.msg, m)
}

// readSize reads the uvarint before a message: at most three bytes.
func (w *wire) readSize() (int, error) {
	size := 0
	for shift := 0; shift <= 14; shift += 7 {
		b, err := w.in.ReadByte()
		if err != nil && shift > 0 {
			err = unexpected(err)
		}
		if err != nil {
			return 0, err
		}
		if size |= int(b&0x7f) << shift; b < 0x80 && size <= MaxFrame {
			return size, nil
		}
	}
	return 0, Errorf(CodeInvalid, "frame: it is longer than %d bytes", MaxFrame)
}

// buffered reports whether the whole next frame has come already, so that no
// deadline is needed to read it.
func (w *wire) buffered() bool {
	head, _ := w.in.Peek(min(w.in.Buffered(), binary.MaxVarintLen64))
	size, n := binary.Uvarint(head)
	return n > 0 && size <= uint64(w.in.Buffered()-n)
}

// receiveRaw reads the n raw bytes that a Data message announced. They are
// valid until the next call.
func (w *wire) receiveRaw(n uint32) ([]byte, error) {
	if n > MaxData {
		return nil, Errorf(CodeInvalid, "data: %d bytes, the most is %d", n, MaxData)
	}
	if w.in.Buffered() < int(n) {
		if err := w.stream.SetReadDeadline(time.Now().Add(frameTimeout)); err != nil {
			return nil, err
		}
		defer w.noReadDeadline()
	}
	var err error
	w.data, err = w.fill(w.data, int(n))
	return w.data, err
}

// fill reads n bytes into b. It allocates at most twice what has come, and a
// little: announcing much costs no memory.
func (w *wire) fill(b []byte, n int) ([]byte, error) {
	for b = b[:0]; len(b) < n; {
		have := len(b)
		b = slices.Grow(b, min(n, max(cap(b), 2*have, joinData))-have)
		b = b[:min(n, cap(b))]
		if _, err := io.ReadFull(w.in, b[have:]); err != nil {
			return b[:0], unexpected(err)
		}
	}
	return b, nil
}

// bodyTimeout is how long n bytes behind a first frame may take.
func bodyTimeout(n int) time.Duration {
	return serviceTimeout * time.Duration(1+n/(MaxService+1))
}

// receiveService reads the n bytes of a service that a first frame announced.
func (w *wire) receiveService(n int) ([]byte, error) {
	if err := w.stream.SetReadDeadline(time.Now().Add(bodyTimeout(n))); err != nil {
		return nil, err
	}
	defer w.noReadDeadline()
	return w.fill(nil, n)
}

// sendService sends the encoded service after its first frame.
func (w *wire) sendService(raw []byte) error {
	if err := w.stream.SetWriteDeadline(time.Now().Add(bodyTimeout(len(raw)))); err != nil {
		return err
	}
	defer func() { _ = w.stream.SetWriteDeadline(time.Time{}) }()
	_, err := w.stream.Write(raw)
	return err
}

// first receives the first frame of a conversation, whole within frameTimeout.
func (w *wire) first(m proto.Message) error {
	if err := w.stream.SetReadDeadline(time.Now().Add(frameTimeout)); err != nil {
		return err
	}
	defer w.noReadDeadline()
	return w.decode(m)
}

func (w *wire) noReadDeadline() { _ = w.stream.SetReadDeadline(time.Time{}) }

// unexpected marks an end within a frame as what it is.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
