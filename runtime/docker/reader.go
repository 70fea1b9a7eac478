package docker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/hearth-edge/hearth/protocol"
)

// The engine sends a container's output in frames: a byte for the stream,
// three zeros, the length as 32 bits big-endian, and so many bytes. With a
// terminal there is but one stream, and it comes as it is.
const (
	frameHeader = 8
	frameStdout = 1
	frameStderr = 2
	frameError  = 3
)

const (
	// smallBuffer is what each open stream costs while nothing comes.
	smallBuffer = 2 << 10
	// largeBuffer bounds both what is kept in memory and one piece of output.
	largeBuffer = 64 << 10
)

// buffer reads ahead of its taker. As long as it waits for the first bytes it
// is small; only what follows them is read into a large one, which is given
// back when all of it was taken. So a thousand silent streams cost little.
type buffer struct {
	in    io.Reader
	pool  *sync.Pool // of *[largeBuffer]byte
	small [smallBuffer]byte
	large *[largeBuffer]byte // nil while it is not in use
	data  []byte             // that was read and not taken; in small or large
	full  bool               // the last read filled the buffer, so there is more
}

// fill blocks until data holds n bytes, n being at most smallBuffer.
func (b *buffer) fill(n int) error {
	for len(b.data) < n {
		to := b.small[:]
		if b.full {
			if b.large == nil {
				b.large, _ = b.pool.Get().(*[largeBuffer]byte)
			}
			if b.large == nil {
				b.large = new([largeBuffer]byte)
			}
			to = b.large[:]
		}
		had := copy(to, b.data)
		if !b.full {
			b.giveBack()
		}
		read, err := b.in.Read(to[had:])
		b.data, b.full = to[:had+read], had+read == len(to)
		if err != nil && len(b.data) < n {
			b.full = false
			return err
		}
	}
	return nil
}

// take returns what was read, at most n bytes; they are valid until fill.
func (b *buffer) take(n int) []byte {
	p := b.data[:min(n, len(b.data))]
	b.data = b.data[len(p):]
	return p
}

// giveBack returns the large buffer to the pool; nothing in it is needed.
func (b *buffer) giveBack() {
	if b.large != nil {
		b.pool.Put(b.large)
		b.large = nil
	}
}

// reader takes frames apart. It reads nothing ahead of its buffer, so that a
// container whose output nobody takes is held up.
type reader struct {
	buffer
	closer io.Closer
	// raw output, that of a terminal, has no frames.
	raw bool
	// ended is asked at the end of the stream what that meant; may be nil.
	ended   func() error
	channel protocol.Channel
	left    uint32 // of the current frame
	err     error
}

func newReader(in io.Reader, closer io.Closer, pool *sync.Pool) *reader {
	return &reader{buffer: buffer{in: in, pool: pool}, closer: closer}
}

// Next implements runtime.OutputReader.
func (r *reader) Next() (protocol.Channel, []byte, error) {
	var piece []byte
	if r.err == nil {
		piece, r.err = r.next()
	}
	if r.err != nil {
		r.giveBack()
		return 0, nil, r.err
	}
	return r.channel, piece, nil
}

func (r *reader) next() ([]byte, error) {
	if r.raw {
		r.channel = protocol.Stdout
		if err := r.fill(1); err != nil {
			return nil, r.end(err)
		}
		return r.take(largeBuffer), nil
	}
	for r.left == 0 {
		if err := r.header(); err != nil {
			return nil, err
		}
	}
	if err := r.fill(1); err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	piece := r.take(int(min(r.left, largeBuffer)))
	r.left -= uint32(len(piece))
	return piece, nil
}

// end says what the error means with which a stream ends in order.
func (r *reader) end(err error) error {
	if errors.Is(err, io.EOF) && r.ended != nil {
		return r.ended()
	}
	return err
}

// header reads the next frame's header.
func (r *reader) header() error {
	switch err := r.fill(frameHeader); {
	case err != nil && len(r.data) == 0:
		return r.end(err)
	case err != nil:
		return io.ErrUnexpectedEOF
	}
	head := r.take(frameHeader)
	kind := head[0]
	r.left = binary.BigEndian.Uint32(head[4:])
	switch kind {
	case frameStdout:
		r.channel = protocol.Stdout
	case frameStderr:
		r.channel = protocol.Stderr
	case frameError:
		var text []byte
		for most := int(min(r.left, maxMessage)); len(text) < most && r.fill(1) == nil; {
			text = append(text, r.take(most-len(text))...)
		}
		return fmt.Errorf("the engine lost the output: %s", text)
	default:
		return fmt.Errorf("the engine sent a frame of unknown kind %d", kind)
	}
	return nil
}

// Close implements runtime.OutputReader.
func (r *reader) Close() error { return r.closer.Close() }
