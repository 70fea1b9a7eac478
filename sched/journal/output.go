package journal

import (
	"encoding/binary"
	"math"
	"slices"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// tail returns the last pieces of output that take up to limit bytes, with a
// mark in each channel that says how much of it was left out.
func tail(pieces []protocol.Output, limit int) []protocol.Output {
	first, room := len(pieces), limit
	var out []protocol.Output
	for first > 0 && room > pieceCost {
		p := pieces[first-1]
		first--
		if excess := len(p.Data) - (room - pieceCost); excess > 0 {
			p.Data = p.Data[excess:]
			p.Offset += uint64(excess)
			p.Cut += uint64(excess)
		}
		room -= pieceCost + len(p.Data)
		out = append(out, p)
	}
	slices.Reverse(out)
	return markLoss(pieces[:first], out)
}

// markLoss adds what was left out to the first piece kept of each channel, or
// adds an empty piece where none was kept.
func markLoss(dropped, out []protocol.Output) []protocol.Output {
	for c := protocol.Stdout; c <= protocol.Stderr; c++ {
		var lost, end uint64
		for _, p := range dropped {
			if p.Channel == c {
				lost += p.Cut + uint64(len(p.Data))
				end = p.Offset + uint64(len(p.Data))
			}
		}
		if lost == 0 {
			continue
		}
		i := slices.IndexFunc(out, func(p protocol.Output) bool { return p.Channel == c })
		if i < 0 {
			out = append(out, protocol.Output{Channel: c, Offset: end, Cut: lost})
			continue
		}
		out[i].Cut += lost
	}
	return out
}

// timed is set beside the channel of a piece of which it is known when it came: then
// that follows the length, in milliseconds since 1970 (a uvarint).
const timed = 0x80

// encodeOutput writes each piece as channel, offset, cut, length (uvarints) and
// bytes; nil for no output.
func encodeOutput(pieces []protocol.Output) []byte {
	var raw []byte
	for _, p := range pieces {
		at := p.At.UnixMilli()
		known := !p.At.IsZero() && at > 0
		if known {
			raw = append(raw, byte(p.Channel)|timed)
		} else {
			raw = append(raw, byte(p.Channel))
		}
		raw = binary.AppendUvarint(raw, p.Offset)
		raw = binary.AppendUvarint(raw, p.Cut)
		raw = binary.AppendUvarint(raw, uint64(len(p.Data)))
		if known {
			raw = binary.AppendUvarint(raw, uint64(at))
		}
		raw = append(raw, p.Data...)
	}
	return raw
}

// decodeOutput is the inverse of encodeOutput; the pieces share no memory with
// raw.
func decodeOutput(raw []byte) ([]protocol.Output, error) {
	raw = slices.Clone(raw)
	var pieces []protocol.Output
	for len(raw) > 0 {
		p := protocol.Output{Channel: protocol.Channel(raw[0] &^ timed)}
		var size, at uint64
		fields := []*uint64{&p.Offset, &p.Cut, &size}
		if raw[0]&timed != 0 {
			fields = append(fields, &at)
		}
		raw = raw[1:]
		for _, field := range fields {
			v, n := binary.Uvarint(raw)
			if n <= 0 {
				return nil, errMalformed
			}
			*field, raw = v, raw[n:]
		}
		if size > uint64(len(raw)) || at > math.MaxInt64 {
			return nil, errMalformed
		}
		if at > 0 {
			p.At = time.UnixMilli(int64(at))
		}
		p.Data, raw = raw[:size:size], raw[size:]
		pieces = append(pieces, p)
	}
	return pieces, nil
}
