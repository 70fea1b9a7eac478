package sched

import (
	"slices"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

const (
	// markSpan is the shortest time that one mark stands for.
	markSpan = time.Second
	// maxMarks bounds the marks of one request: some 8 KiB, and a few percent
	// of error in how long ago something was written.
	maxMarks = 256
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
	start       position
}

// add takes note that output comes at start. Neither now nor start go back.
func (m *marks) add(now time.Duration, start position) {
	if n := len(*m); n > 0 && now-(*m)[n-1].first < markSpan {
		(*m)[n-1].last = now
		return
	}
	*m = append(*m, mark{first: now, last: now, start: start})
	if len(*m) > maxMarks {
		m.thin(now)
	}
}

// thin joins the two neighbours that then stand for the least time, measured by
// how long ago it is: of what is long past nobody asks for the second. The last
// mark is left as it is.
func (m *marks) thin(now time.Duration) {
	all, best, least := *m, 0, 0.0
	for i := range len(all) - 2 {
		share := float64(all[i+1].last-all[i].first) / float64(now-all[i].first)
		if i == 0 || share < least {
			best, least = i, share
		}
	}
	all[best].last = all[best+1].last
	*m = slices.Delete(all, best+1, best+2)
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
