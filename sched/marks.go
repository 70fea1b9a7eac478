package sched

import (
	"math"
	"slices"
	"sort"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

const (
	// markSpan is the shortest time that one mark stands for.
	markSpan = 10 * time.Millisecond
	// maxMarks bounds the marks of one request: some 120 KiB, and a percent of
	// error in how long ago something was written.
	maxMarks = 2048
)

// position is a place in a feed, in bytes of each channel.
type position struct{ stdout, stderr uint64 }

func positionOf(f *protocol.Feed) position {
	stdout, stderr := f.Offsets()
	return position{stdout, stderr}
}

// max returns the further one of each channel.
func (p position) max(q position) position {
	return position{max(p.stdout, q.stdout), max(p.stderr, q.stderr)}
}

// shifted returns output of what begins at p.
func (p position) shifted(out *protocol.Output) *protocol.Output {
	moved := *out
	switch out.Channel {
	case protocol.Stdout:
		moved.Offset += p.stdout
	case protocol.Stderr:
		moved.Offset += p.stderr
	}
	return &moved
}

// marks tell when which output came, the oldest first. The zero value is ready.
type marks []mark

// mark says that output came between first and last, and that it begins at start.
type mark struct {
	first, last time.Duration // on Config.Clock
	at          time.Time     // first, for people; zero where it is not known
	start       position
}

// add takes note that output comes at start. Neither now nor start go back.
func (m *marks) add(now time.Duration, at time.Time, start position) {
	if n := len(*m); n > 0 {
		last := &(*m)[n-1]
		if now-last.first < markSpan && at.IsZero() == last.at.IsZero() && at.Sub(last.at) < markSpan {
			last.last = now
			return
		}
	}
	*m = append(*m, mark{first: now, last: now, at: at, start: start})
	if len(*m) > maxMarks {
		m.thin(now)
	}
}

// thin joins the two neighbours that then stand for the least time, measured by
// how long ago it is: of what is long past nobody asks for the second. The last
// mark is left as it is.
func (m *marks) thin(now time.Duration) {
	all, best, least := *m, -1, 0.0
	for i := range len(all) - 2 {
		if all[i].at.IsZero() != all[i+1].at.IsZero() {
			continue // a time is not made up
		}
		share := float64(all[i+1].last-all[i].first) / float64(now-all[i].first)
		if best < 0 || share < least {
			best, least = i, share
		}
	}
	if best < 0 {
		best = 0 // there are far too many for that
	}
	all[best].last = all[best+1].last
	*m = slices.Delete(all, best+1, best+2)
}

// of returns when the byte at offset of channel c came, and up to which offset all
// came then.
func (m marks) of(c protocol.Channel, offset uint64) (at time.Time, end uint64) {
	starts := func(i int) uint64 {
		if c == protocol.Stderr {
			return m[i].start.stderr
		}
		return m[i].start.stdout
	}
	// Of marks that start at the same byte, the last one is that of the byte.
	i := sort.Search(len(m), func(i int) bool { return starts(i) > offset })
	if i < len(m) {
		end = starts(i)
	} else {
		end = math.MaxUint64
	}
	if i == 0 {
		return time.Time{}, end
	}
	return m[i-1].at, end
}

// since returns where the first mark starts of which something came at then or
// later; ok is false where nothing did.
func (m marks) since(then time.Duration) (start position, ok bool) {
	for i := range m {
		if m[i].last >= then {
			return m[i].start, true
		}
	}
	return position{}, false
}
