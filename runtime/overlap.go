package runtime

import (
	"github.com/hearth-edge/hearth/protocol"
)

// An overlap tells what of one channel's output is known already, where it is
// read again from the beginning. Usually that is as many bytes as came before;
// but an engine that was killed has not logged all that it had passed on, and
// what follows then comes sooner than it should.
type overlap struct {
	at    uint64 // how much was read again
	total uint64 // how much is known
	from  uint64 // of the first byte in kept
	kept  []byte // the end of what is known
}

// overlaps returns what is known of both channels of a feed.
func overlaps(feed *protocol.Feed) (known [protocol.Stderr + 1]overlap) {
	reader := feed.ReaderOfNow(0, 0)
	defer reader.Close()
	for {
		u, err := reader.Next()
		if err != nil {
			return known
		}
		if u.Output == nil {
			continue
		}
		o := &known[u.Output.Channel]
		if u.Output.Cut > 0 {
			o.kept = o.kept[:0]
		}
		if len(o.kept) == 0 {
			o.from = u.Output.Offset
		}
		o.kept = append(o.kept, u.Output.Data...)
		o.total = u.Output.Offset + uint64(len(u.Output.Data))
	}
}

// pass takes the next piece and returns what of it is new. lossy says that it
// is not what came before, so that some of the output may be missing.
func (o *overlap) pass(p []byte) (fresh []byte, lossy bool) {
	for len(p) > 0 && o.at < o.total {
		if o.at < o.from {
			n := min(o.from-o.at, uint64(len(p)))
			o.at, p = o.at+n, p[n:]
			continue
		}
		n := common(p, o.kept[o.at-o.from:])
		o.at, p = o.at+uint64(n), p[n:]
		switch {
		case len(p) == 0 || o.at == o.total:
		case o.at > o.from || o.from == 0: // all was there up to here
			o.total, lossy = o.at, true
		default: // nothing tells where it would go on: the count decides
			o.from, lossy = o.total, true
		}
	}
	return p, lossy
}

// common returns how many bytes a and b begin with alike.
func common(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
