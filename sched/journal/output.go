package journal

import (
	"encoding/binary"
	"slices"

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

// encodeOutput writes each piece as channel, offset, cut, length (uvarints) and
// bytes; nil for no output.
func encodeOutput(pieces []protocol.Output) []byte {
	var raw []byte
	for _, p := range pieces {
		raw = append(raw, byte(p.Channel))
		raw = binary.AppendUvarint(raw, p.Offset)
		raw = binary.AppendUvarint(raw, p.Cut)
		raw = binary.AppendUvarint(raw, uint64(len(p.Data)))
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
		p := protocol.Output{Channel: protocol.Channel(raw[0])}
		raw = raw[1:]
		var size uint64
		for _, field := range []*uint64{&p.Offset, &p.Cut, &size} {
			v, n := binary.Uvarint(raw)
			if n <= 0 {
				return nil, errMalformed
			}
			*field, raw = v, raw[n:]
		}
		if size > uint64(len(raw)) {
			return nil, errMalformed
		}
		p.Data, raw = raw[:size:size], raw[size:]
		pieces = append(pieces, p)
	}
	return pieces, nil
}
