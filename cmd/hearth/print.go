package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/hearth-edge/hearth/protocol"
)

// printable quotes what could steer a terminal: text from a peer, an image or a
// file is never printed otherwise. Line ends stay.
func printable(s string) string {
	safe := true
	for _, r := range s {
		if r != '\n' && (!unicode.IsPrint(r) || r == unicode.ReplacementChar) {
			safe = false
			break
		}
	}
	if safe {
		return s
	}
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		q := strconv.Quote(l)
		lines[i] = strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
	}
	return strings.Join(lines, "\n")
}

// oneLine is printable for a place where there is one line.
func oneLine(s string) string { return strings.ReplaceAll(printable(s), "\n", " ") }

// brief prints a duration in a few characters.
func brief(d time.Duration) string {
	switch {
	case d == 0:
		return "0"
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// old prints how long ago something was, by its largest unit.
func old(d time.Duration) string {
	d = max(d, 0)
	switch day := 24 * time.Hour; {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 2*day:
		return fmt.Sprintf("%dh", d/time.Hour)
	default:
		return fmt.Sprintf("%dd", d/day)
	}
}

// cores prints a number of cores without needless zeros.
func cores(c protocol.Cores) string { return strconv.FormatFloat(float64(c), 'f', -1, 64) }
