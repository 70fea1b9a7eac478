package compose

import (
	"fmt"
	"slices"
	"strings"
)

// A Refusal says why a file does not become a stack.
type Refusal struct {
	Position
	Key     string // services.web.build; empty where it is the file as a whole
	Reason  string
	Instead string // what to write or do; may be empty
}

// String returns FILE:LINE: KEY: REASON: INSTEAD.
func (r Refusal) String() string {
	parts := []string{r.Position.String(), r.Key, r.Reason, r.Instead}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ": ")
}

// Refusals is the error of a file that asks for what a stack cannot have: one
// line each, in the order of the files' lines.
type Refusals []Refusal

// Error implements error.
func (rs Refusals) Error() string {
	lines := make([]string, 0, maxRefusals+1)
	for i, r := range rs {
		if i == maxRefusals {
			lines = append(lines, fmt.Sprintf("and %d more", len(rs)-i))
			break
		}
		lines = append(lines, r.String())
	}
	return strings.Join(lines, "\n")
}

// sorted returns the refusals in order and each once.
func (rs Refusals) sorted() Refusals {
	slices.SortStableFunc(rs, func(a, b Refusal) int {
		if c := strings.Compare(a.File, b.File); c != 0 {
			return c
		}
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return strings.Compare(a.Key, b.Key)
	})
	return slices.Compact(rs)
}

// clip bounds text of a file that an error quotes.
func clip(s string) string {
	if len(s) > maxQuote {
		return strings.ToValidUTF8(s[:maxQuote], "") + "…"
	}
	return s
}
