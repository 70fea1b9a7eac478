package history

import (
	"strings"

	"github.com/hearth-edge/hearth/protocol"
)

// maxOutput bounds what is compared of one request's output.
const maxOutput = 1 << 20

// output looks at whether what was told is what the containers wrote, one after
// the other: all of what the last one wrote where it ended by itself, and of each
// earlier one a beginning. What was told as cut may have been anything.
func (c *checker) output(ran []*Container) {
	told, known := c.assemble()
	if told == nil {
		return
	}
	if c.engineLost(ran) {
		c.loose(string(told), ran)
		return
	}
	// reached holds the positions up to which the output is explained.
	reached, whole := map[int]bool{0: true}, len(ran) == 0 && len(told) == 0
	for i, k := range ran {
		wrote := written(k, c.request.Lines)
		next := map[int]bool{}
		for from := range reached {
			for n := 0; from+n <= len(told); n++ {
				next[from+n] = true
				if i == len(ran)-1 && from+n == len(told) && n == len(wrote) {
					whole = true
				}
				if n == len(wrote) || from+n == len(told) || known[from+n] && told[from+n] != wrote[n] {
					break
				}
			}
		}
		reached = next
	}
	end := c.lastEnd()
	switch {
	case !reached[len(told)]:
		c.broken(Output, "%d bytes were told that %v did not write so: %.200q", len(told), names(ran), told)
	case !whole && end != nil && len(ran) > 0 && c.byItself(end, ran[len(ran)-1]):
		c.broken(Output, "%d bytes were told, which is not all that %s wrote", len(told), name(ran[len(ran)-1]))
	}
}

// assemble puts the pieces together; known tells the bytes from those that were
// cut. It returns nil where they do not follow on one another.
func (c *checker) assemble() (told []byte, known []bool) {
	told, known = []byte{}, []bool{}
	for _, p := range c.request.Output {
		if p.Offset != uint64(len(told))+p.Cut || p.Offset+uint64(len(p.Text)) > maxOutput {
			c.broken(Output, "after %d bytes those from %d on were told, %d of them cut", len(told), p.Offset, p.Cut)
			return nil, nil
		}
		told = append(append(told, make([]byte, p.Cut)...), p.Text...)
		known = append(known, make([]bool, p.Cut)...)
		for range p.Text {
			known = append(known, true)
		}
	}
	return told, known
}

// engineLost reports whether an engine was killed, or hung, in the life of one of
// the containers: of what it had in memory nobody can tell, and hearth says so.
func (c *checker) engineLost(ran []*Container) bool {
	for _, k := range ran {
		end := k.Ended
		if end == 0 {
			end = c.h.Ended
		}
		for _, f := range c.h.Faults {
			if f.Kind == EngineDown && f.Node == k.Node && f.From <= end+Tolerance && c.over(f) >= k.Started {
				return true
			}
		}
	}
	return false
}

// loose looks at whether each whole line was written by one of the containers,
// and none comes twice.
func (c *checker) loose(told string, ran []*Container) {
	written := map[string]bool{}
	for _, k := range ran {
		for n := range c.request.Lines {
			written[Line(k.ID, n)] = true
		}
	}
	seen := map[string]bool{}
	for line := range strings.Lines(told) {
		if len(line) != len(Line("", 0))+12 {
			continue // a part of one
		}
		if !written[line] || seen[line] {
			c.broken(Output, "the line %q was told, which %v did not write, or not twice", line, names(ran))
		}
		seen[line] = true
	}
}

// lastEnd returns the end that was told last.
func (c *checker) lastEnd() (end *Told) {
	for i := range c.request.Told {
		if t := &c.request.Told[i]; t.ended() {
			end = t
		}
	}
	return end
}

// byItself reports whether an end is that of a container that did all it was
// asked to.
func (c *checker) byItself(end *Told, k *Container) bool {
	exit := end.State == State(protocol.StateSucceeded) || end.State == State(protocol.StateFailed) && end.Code == ""
	return exit && end.Attempt == k.Attempt && end.ExitCode == c.request.Exit
}

// written is all that a container writes.
func written(k *Container, lines int) []byte {
	var all strings.Builder
	for n := range lines {
		all.WriteString(Line(k.ID, n))
	}
	return []byte(all.String())
}
