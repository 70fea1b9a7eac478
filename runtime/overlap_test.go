package runtime

import (
	"context"
	"testing"

	"pgregory.net/rapid"

	"github.com/hearth-edge/hearth/protocol"
)

// feedOf returns a feed that keeps limit bytes of what was written.
func feedOf(limit int, written string) *protocol.Feed {
	f := protocol.NewFeed(limit)
	if err := f.Output(context.Background(), protocol.Stdout, []byte(written)); err != nil {
		panic(err)
	}
	return f
}

func passAll(f *protocol.Feed, pieces ...string) (fresh string, lossy bool) {
	o := overlaps(f)[protocol.Stdout]
	for _, p := range pieces {
		more, l := o.pass([]byte(p))
		fresh, lossy = fresh+string(more), lossy || l
	}
	return fresh, lossy
}

func TestOverlap(t *testing.T) {
	for what, c := range map[string]struct {
		limit   int
		written string
		log     []string
		fresh   string
		lossy   bool
	}{
		"nothing known":             {100, "", []string{"abc"}, "abc", false},
		"all known":                 {100, "abc", []string{"a", "bc"}, "", false},
		"more than is kept":         {4, "0123456789", []string{"01234567", "89ab"}, "ab", false},
		"the end was never logged":  {100, "ready\n> ", []string{"ready\n", "go\n"}, "go\n", true},
		"nothing was ever logged":   {100, "> ", []string{"go\n"}, "go\n", true},
		"the end, of much":          {4, "0123456789", []string{"0123456", "ab"}, "ab", true},
		"the beginning was dropped": {4, "0123456789", []string{"23456789ab"}, "", true},
	} {
		fresh, lossy := passAll(feedOf(c.limit, c.written), c.log...)
		if fresh != c.fresh || lossy != c.lossy {
			t.Errorf("%s: %q, %v", what, fresh, lossy)
		}
	}
}

// However it is cut into pieces, and however much is kept, a log that begins
// as what is known goes on after it.
func TestOverlapOfAWholeLog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		log := rapid.StringN(0, 200, -1).Draw(t, "log")
		known := rapid.IntRange(0, len(log)).Draw(t, "known")
		var pieces []string
		for rest := log; rest != ""; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "piece")
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		fresh, lossy := passAll(feedOf(rapid.IntRange(1, 300).Draw(t, "limit"), log[:known]), pieces...)
		if fresh != log[known:] || lossy {
			t.Fatalf("%q, %v", fresh, lossy)
		}
	})
}
