package protocol

import (
	"bufio"
	"encoding/binary"
	"io"
)

// maxDatagram is the most bytes of a datagram: its length has two bytes.
const maxDatagram = 64<<10 - 1

// FrameDatagrams turns a stream of datagrams, of which each Read yields one and
// each Write sends one, into one of bytes: each datagram after its length in two
// bytes, big-endian. Its Read takes any buffer; its Write takes any part of what
// Read yields. The other way is UnframeDatagrams.
func FrameDatagrams(s Stream) Stream { return &framed{Stream: s} }

// framed is a stream of datagrams as one of bytes.
type framed struct {
	Stream
	out  []byte // of one datagram, not read yet
	in   []byte // the beginning of one that is not whole
	room []byte
}

func (f *framed) Read(p []byte) (int, error) {
	if len(f.out) == 0 {
		if f.room == nil {
			f.room = make([]byte, 2+maxDatagram)
		}
		n, err := f.Stream.Read(f.room[2:])
		if err != nil {
			return 0, err
		}
		binary.BigEndian.PutUint16(f.room, uint16(n))
		f.out = f.room[:2+n]
	}
	n := copy(p, f.out)
	f.out = f.out[n:]
	return n, nil
}

func (f *framed) Write(p []byte) (int, error) {
	f.in = append(f.in, p...)
	for len(f.in) >= 2 {
		n := 2 + int(binary.BigEndian.Uint16(f.in))
		if len(f.in) < n {
			break
		}
		if _, err := f.Stream.Write(f.in[2:n]); err != nil {
			return 0, err
		}
		f.in = f.in[:copy(f.in, f.in[n:])]
	}
	return len(p), nil
}

// UnframeDatagrams is the other end of FrameDatagrams: a Read yields the next
// datagram, cut to the buffer, and a Write sends one.
func UnframeDatagrams(s Stream) Stream { return &unframed{Stream: s, in: bufio.NewReader(s)} }

// unframed is a stream of bytes as one of datagrams.
type unframed struct {
	Stream
	in  *bufio.Reader
	out []byte
}

func (u *unframed) Read(p []byte) (int, error) {
	var head [2]byte
	if _, err := io.ReadFull(u.in, head[:]); err != nil {
		return 0, err
	}
	size := int(binary.BigEndian.Uint16(head[:]))
	n, err := io.ReadFull(u.in, p[:min(size, len(p))])
	if err == nil && n < size {
		_, err = u.in.Discard(size - n)
	}
	return n, unexpected(err)
}

func (u *unframed) Write(p []byte) (int, error) {
	if len(p) > maxDatagram {
		return 0, Errorf(CodeInvalid, "datagram: %d bytes, the most is %d", len(p), maxDatagram)
	}
	u.out = append(binary.BigEndian.AppendUint16(u.out[:0], uint16(len(p))), p...)
	_, err := u.Stream.Write(u.out)
	return len(p), err
}
