package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// A screen shows one list after the other for a verb that watches. On a terminal
// each takes the place of the last one, below what the terminal showed before;
// elsewhere an empty line parts them.
type screen struct {
	out   *os.File
	live  bool // out is a terminal
	drawn bool
	// rows of the terminal that the last list took, when it had this size.
	rows, width, height int
}

func (c *cli) newScreen() *screen { return &screen{out: c.stdout, live: isTerminal(c.stdout)} }

// show shows a list, which ends with a newline.
func (s *screen) show(list string) error {
	if s.live {
		width, height, err := term.GetSize(int(s.out.Fd()))
		if err != nil || width <= 0 || height <= 0 {
			width, height = terminalWidth, terminalHeight
		}
		list = s.frame(list, width, height)
	} else if s.drawn {
		list = "\n" + list
	}
	s.drawn = true
	_, err := io.WriteString(s.out, list)
	return err
}

// terminalHeight is taken for that of a terminal that does not tell it.
const terminalHeight = 24

// frame returns what draws a list on a terminal, in one piece so that nothing
// flickers. Of a list that does not fit, the end is left out: what scrolled away
// could not be drawn over.
func (s *screen) frame(list string, width, height int) string {
	var b strings.Builder
	switch {
	case s.drawn && (width != s.width || height != s.height):
		b.WriteString("\x1b[H\x1b[2J") // nobody knows how the terminal broke the lines anew
	case s.rows > 0:
		fmt.Fprintf(&b, "\r\x1b[%dA", s.rows)
	}
	lines := strings.Split(strings.TrimSuffix(list, "\n"), "\n")
	most := max(height-1, 1) // the last one is the cursor's
	s.rows, s.width, s.height = 0, width, height
	for i, line := range lines {
		rows := max(1, (utf8.RuneCountInString(line)+width-1)/width)
		if more := len(lines) - i; s.rows+rows > most || more > 1 && s.rows+rows == most {
			line, rows = clipped(fmt.Sprintf("… and %d more lines", more), width), 1
			lines = nil
		}
		b.WriteString(line + "\x1b[K\n")
		if s.rows += rows; lines == nil {
			break
		}
	}
	b.WriteString("\x1b[J")
	return b.String()
}

// leave clears what the terminal echoed of Ctrl-C, so that the shell's prompt
// follows the list.
func (s *screen) leave() {
	if s.live && s.drawn {
		_, _ = io.WriteString(s.out, "\r\x1b[K") // the terminal may be gone
	}
}
