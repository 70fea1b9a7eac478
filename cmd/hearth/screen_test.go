package main

import (
	"strings"
	"testing"
)

// TestScreenDrawsOverTheLastList: the cursor goes up by as many rows as the last
// list took, those that the terminal broke counted, and never by more than there are.
func TestScreenDrawsOverTheLastList(t *testing.T) {
	s := &screen{live: true}
	draw := func(list string, width, height int) string {
		f := s.frame(list, width, height)
		s.drawn = true
		return f
	}
	const end = "\x1b[K\n"
	for i, c := range []struct {
		list          string
		width, height int
		want          string
	}{
		{"a\nb\n", 10, 5, "a" + end + "b" + end + "\x1b[J"},
		{"a\n", 10, 5, "\r\x1b[2Aa" + end + "\x1b[J"},
		{strings.Repeat("x", 15) + "\n", 10, 5, "\r\x1b[1A" + strings.Repeat("x", 15) + end + "\x1b[J"},
		{"1\n2\n3\n4\n", 10, 5, "\r\x1b[2A1" + end + "2" + end + "3" + end + "4" + end + "\x1b[J"},
		{"1\n2\n3\n4\n5\n6\n", 40, 5, "\x1b[H\x1b[2J1" + end + "2" + end + "3" + end + "… and 3 more lines" + end + "\x1b[J"},
		{"1\n" + strings.Repeat("x", 81) + "\n3\n", 40, 4, "\x1b[H\x1b[2J1" + end + "… and 2 more lines" + end + "\x1b[J"},
		{"1\n2\n", 40, 1, "\x1b[H\x1b[2J… and 2 more lines" + end + "\x1b[J"},
		{"1\n2\n", 40, 1, "\r\x1b[1A… and 2 more lines" + end + "\x1b[J"},
	} {
		if got := draw(c.list, c.width, c.height); got != c.want {
			t.Errorf("%d: %q, want %q", i, got, c.want)
		}
	}
}
