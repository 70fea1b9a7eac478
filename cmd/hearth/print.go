package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/docker/go-units"

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

// table writes rows in columns; the first row is the heading.
func table(w io.Writer, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			row[i] = oneLine(cell)
		}
		fmt.Fprintln(tw, strings.TrimRight(strings.Join(row, "\t"), "\t"))
	}
	return tw.Flush()
}

// oneLine is printable for a place where there is one line.
func oneLine(s string) string { return strings.ReplaceAll(printable(s), "\n", " ") }

// size prints an amount of memory in powers of 1024, as docker does.
func size(b protocol.Bytes) string { return units.BytesSize(float64(b)) }

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

// cores prints a number of cores without needless zeros.
func cores(c protocol.Cores) string { return strconv.FormatFloat(float64(c), 'f', -1, 64) }
