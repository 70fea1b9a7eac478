package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strings"
	"sync"
)

// A kind says what a frame's content is, or what it does.
type kind byte

// The kinds of frames. The first four and kindSealed hold what there is of a
// request.
const (
	kindRequest kind = iota
	kindOffer        // empty: the offer was taken back
	kindEnd
	kindOutput
	kindDrop   // the request is forgotten
	kindCommit // what came since the last one counts, all of it
	kindHeader // the file's first frame; its number is the format's
	kindSealed // the request's secrets, sealed; empty: they are dropped
	kinds

	parts = int(kinds) // only those that are of a request are in use
)

// formatVersion changes when older programs would misread the file.
const formatVersion = 2

// magic begins each frame, so that frames can be found behind damage.
const magic = "\xf7HRj"

const (
	// headSize is that of magic, length, checksum, kind and number.
	headSize = 4 + 4 + 4 + 1 + 8
	// maxContent bounds a frame's content, in bytes.
	maxContent = 8 << 20
)

// ofRequest reports whether frames of this kind hold what there is of a request.
func (k kind) ofRequest() bool { return k <= kindOutput || k == kindSealed }

// An extent is where a frame is in the file, and the size of its content. The
// zero value is none: at 0 is the header.
type extent struct {
	at   int64
	size uint32
}

// bytes is what the frame takes on disk.
func (x extent) bytes() int64 {
	if x == (extent{}) {
		return 0
	}
	return headSize + int64(x.size)
}

// A frame is one that was read. Its content is valid until the next one is.
type frame struct {
	extent
	kind    kind
	number  uint64
	content []byte
}

// end is where the next frame begins.
func (f *frame) end() int64 { return f.at + headSize + int64(f.size) }

// appendFrame appends a frame to b, whose first byte comes to base in the file.
// The checksum covers the position, too: a page in a wrong place is noticed.
func appendFrame(b []byte, base int64, k kind, number uint64, content []byte) ([]byte, extent) {
	x := extent{at: base + int64(len(b)), size: uint32(len(content))}
	start := len(b)
	b = append(b, magic...)
	b = binary.BigEndian.AppendUint32(b, x.size)
	b = append(b, 0, 0, 0, 0, byte(k))
	b = binary.BigEndian.AppendUint64(b, number)
	b = append(b, content...)
	binary.BigEndian.PutUint32(b[start+8:], checksum(x.at, b[start:]))
	return b, x
}

// checksum returns the CRC-32C of a frame at a position.
func checksum(at int64, raw []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Checksum(binary.BigEndian.AppendUint64(nil, uint64(at)), table)
	sum = crc32.Update(sum, table, raw[:8])
	return crc32.Update(sum, table, raw[12:])
}

// parseFrame reads a frame that is whole in raw.
func parseFrame(at int64, raw []byte) (frame, bool) {
	if len(raw) < headSize || string(raw[:4]) != magic || raw[12] >= byte(kinds) {
		return frame{}, false
	}
	f := frame{
		extent: extent{at, binary.BigEndian.Uint32(raw[4:])},
		kind:   kind(raw[12]), number: binary.BigEndian.Uint64(raw[13:]), content: raw[headSize:],
	}
	return f, len(f.content) == int(f.size) && binary.BigEndian.Uint32(raw[8:]) == checksum(at, raw)
}

// A logFile is the file of a journal. users are those who read it, besides the
// writer, which waits for them before it closes a file that it replaced.
type logFile struct {
	*os.File
	users sync.WaitGroup
}

// read returns the content of a frame, or errDamaged.
func (f *logFile) read(x extent, k kind, number uint64) ([]byte, error) {
	raw := make([]byte, headSize+int(x.size))
	if _, err := f.ReadAt(raw, x.at); err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	got, ok := parseFrame(x.at, raw)
	if !ok || got.kind != k || got.number != number {
		return nil, fmt.Errorf("%w: a record of request number %d has changed since it was written", errDamaged, number)
	}
	return got.content, nil
}

// append writes b at the end, and returns once it is on disk.
func (f *logFile) append(b []byte, end int64) error {
	if _, err := f.WriteAt(b, end); err != nil {
		return err
	}
	return f.sync()
}

// cut takes off what is behind end.
func (f *logFile) cut(end int64) error {
	return errors.Join(f.Truncate(end), f.Sync())
}

// A scanner reads a file from its begin to its end through a window.
type scanner struct {
	file   io.ReaderAt
	size   int64
	window []byte
	from   int64 // where the window is in the file
	err    error // the first failure to read
}

const windowSize = 256 << 10

// bytes returns n bytes at a position, valid until the next call; fewer at the
// end of the file, and none where it cannot be read.
func (s *scanner) bytes(at int64, n int) []byte {
	n = int(max(0, min(int64(n), s.size-at)))
	if at < s.from || at+int64(n) > s.from+int64(len(s.window)) {
		want := int(min(int64(max(n, windowSize)), s.size-at))
		if cap(s.window) < want {
			s.window = make([]byte, want)
		}
		s.window, s.from = s.window[:max(0, want)], at
		if got, err := s.file.ReadAt(s.window, at); got < len(s.window) {
			s.err = errors.Join(s.err, err)
			s.window = s.window[:got]
			n = min(n, got)
		}
	}
	return s.window[at-s.from:][:n]
}

// frame returns the frame at a position, if there is a sound one.
func (s *scanner) frame(at int64) (frame, bool) {
	size, ok := s.length(at)
	if !ok {
		return frame{}, false
	}
	return parseFrame(at, s.bytes(at, headSize+size))
}

// length returns the size of a content by its frame's head, if it looks like one.
func (s *scanner) length(at int64) (int, bool) {
	head := s.bytes(at, headSize)
	if len(head) < headSize || string(head[:4]) != magic {
		return 0, false
	}
	size := binary.BigEndian.Uint32(head[4:])
	return int(size), size <= maxContent
}

// next returns the first sound frame at or behind a position.
func (s *scanner) next(at int64) (frame, bool) {
	for at < s.size {
		chunk := s.bytes(at, windowSize/2)
		i := bytes.Index(chunk, []byte(magic))
		switch {
		case i < 0 && len(chunk) < headSize:
			return frame{}, false
		case i < 0:
			at += int64(len(chunk) - len(magic) + 1)
			continue
		}
		at += int64(i)
		if f, ok := s.frame(at); ok {
			return f, true
		}
		at++
	}
	return frame{}, false
}

// torn reports whether what begins at a position looks like a write that did not
// reach the disk as a whole: the file ends within a frame, or a sector is still
// empty. What else is wrong was written, and has changed since.
func (s *scanner) torn(from int64) bool {
	for at := from; at < s.size; {
		size, ok := s.length(at)
		if !ok {
			if rest := s.bytes(at, len(magic)); s.size-at < headSize && strings.HasPrefix(magic, string(rest)) {
				return true
			}
			break
		}
		next := at + int64(headSize+size)
		if next > s.size {
			if _, more := s.next(at + 1); more || s.bytes(at, headSize)[12] == byte(kindCommit) && size != commitSize {
				break // its length has changed
			}
			return true
		}
		at = next
	}
	const sector = 512
	empty := make([]byte, sector)
	aligned := (from + sector - 1) / sector * sector
	if rest := s.bytes(from, int(aligned-from)); len(rest) > 0 && bytes.Equal(rest, empty[:len(rest)]) {
		return true // the sector that the write before it ends in
	}
	for at := aligned; at < s.size; at += sector {
		if raw := s.bytes(at, sector); bytes.Equal(raw, empty[:len(raw)]) {
			return true
		}
	}
	return false
}
