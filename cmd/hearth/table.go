package main

import (
	"bufio"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

const (
	// terminalWidth is the least width that tables are made for.
	terminalWidth = 80
	// leastCell is how far a cell may be cut to make a table fit.
	leastCell = 8
	// leastText is how narrow a text may be wrapped beside its row's cells; with
	// less room it goes below them, indented by textIndent.
	leastText, textIndent = 40, 4
	columnGap             = 2
)

// cutColumns are those of which a part is told from others well enough.
var cutColumns = []string{"IMAGE", "COMMAND", "NODE"}

// table writes rows in columns, so that they fit a terminal; what goes elsewhere
// is neither cut nor wrapped. The first row is the heading. A row's last cell is
// wrapped instead of cut, and may come early.
func table(w io.Writer, rows [][]string) error {
	return writeTable(w, rows, widthOf(w))
}

// table writes a table for stdout to w; with wide, nothing of it is cut.
func (c *cli) table(w io.Writer, rows [][]string, wide bool) error {
	if wide {
		return writeTable(w, rows, 0)
	}
	return writeTable(w, rows, widthOf(c.stdout))
}

// widthOf returns how many characters a line on w may have; 0 is any number.
func widthOf(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok || !isTerminal(f) {
		return 0
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return terminalWidth
	}
	return max(columns, terminalWidth)
}

// writeTable is table for lines of that many characters; 0 is any number.
func writeTable(w io.Writer, rows [][]string, width int) error {
	if len(rows) == 0 {
		return nil
	}
	var widths []int // of all columns but the last
	last := 0
	for _, row := range rows {
		for i := range row {
			row[i] = oneLine(row[i])
			n := utf8.RuneCountInString(row[i])
			if i == len(row)-1 {
				last = max(last, n)
				break
			}
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], n)
		}
	}
	if width > 0 {
		narrow(rows[0], widths, width-min(last, leastText))
	}
	out := bufio.NewWriter(w)
	for _, row := range rows {
		writeRow(out, row, widths, width)
	}
	return out.Flush()
}

// narrow takes from the widest of cutColumns until all fit, but never from the
// first column: that is what users type.
func narrow(heading []string, widths []int, width int) {
	total := 0
	for _, w := range widths {
		total += w + columnGap
	}
	for ; total > width; total-- {
		widest := 0
		for i := 1; i < min(len(widths), len(heading)); i++ {
			if slices.Contains(cutColumns, heading[i]) && (widest == 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest == 0 || widths[widest] <= leastCell {
			return
		}
		widths[widest]--
	}
}

func writeRow(out *bufio.Writer, row []string, widths []int, width int) {
	if len(row) == 0 {
		return
	}
	var line strings.Builder
	for i, cell := range row[:len(row)-1] {
		if width > 0 && i > 0 {
			cell = clipped(cell, widths[i])
		}
		line.WriteString(cell + strings.Repeat(" ", max(widths[i]-utf8.RuneCountInString(cell), 0)+columnGap))
	}
	at, last := utf8.RuneCountInString(line.String()), row[len(row)-1]
	if width > 0 && at+utf8.RuneCountInString(last) > width && width-at < leastText {
		_, _ = out.WriteString(strings.TrimRight(line.String(), " ") + "\n" + strings.Repeat(" ", textIndent) + wrapped(last, textIndent, width) + "\n")
		return
	}
	_, _ = out.WriteString(strings.TrimRight(line.String()+wrapped(last, at, width), " ") + "\n")
}

// wrapped breaks text that begins in the column at between words, so that it ends
// at width and goes on in the same column.
func wrapped(text string, at, width int) string {
	if width == 0 || at+utf8.RuneCountInString(text) <= width {
		return text
	}
	var b strings.Builder
	room := width - at
	for used, words := 0, strings.Split(text, " "); len(words) > 0; words = words[1:] {
		n := utf8.RuneCountInString(words[0])
		switch {
		case used > 0 && used+1+n > room:
			b.WriteString("\n" + strings.Repeat(" ", at))
			used = 0
		case used > 0:
			b.WriteString(" ")
			used++
		}
		b.WriteString(words[0])
		used += n
	}
	return b.String()
}
