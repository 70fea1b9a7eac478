package policyfile

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/hearth-edge/hearth/runtime"
)

// An Error is what is wrong in a file, and where.
type Error struct {
	File string
	Line int
	Text string
}

func (e *Error) Error() string {
	file := e.File
	if file == "" {
		file = "policy"
	}
	return fmt.Sprintf("%s:%d: %s", file, e.Line, e.Text)
}

// Parse reads a policy: TOML that consists of the keys that Example shows, each
// at most once. What a key that is left out means, Example says too. The error
// is an *Error.
func Parse(text []byte) (runtime.Policy, error) {
	if len(text) > maxSize {
		return runtime.Policy{}, &Error{Line: 1, Text: fmt.Sprintf("longer than %d bytes", maxSize)}
	}
	r := reader{policy: runtime.DefaultPolicy(), seen: make(map[string]int)}
	r.parser.Reset(text[:len(text):len(text)])
	for r.parser.NextExpression() {
		e := r.parser.Expression()
		at, err := r.line(e), r.take(e)
		if err != nil {
			return runtime.Policy{}, &Error{Line: at, Text: err.Error()}
		}
	}
	if err := r.parser.Error(); err != nil {
		return runtime.Policy{}, r.syntax(err)
	}
	return r.policy, nil
}

// reader is Parse at work.
type reader struct {
	parser unstable.Parser
	policy runtime.Policy
	seen   map[string]int // the line of each key
}

// line of an expression's key.
func (r *reader) line(e *unstable.Node) int {
	keys := e.Key()
	if !keys.Next() {
		return 1
	}
	return r.parser.Shape(keys.Node().Raw).Start.Line
}

// take takes one key and its value over into the policy, which must make sense
// with it.
func (r *reader) take(e *unstable.Node) error {
	keys := e.Key()
	var parts []string
	for keys.Next() {
		parts = append(parts, string(keys.Node().Data))
	}
	name := strings.Join(parts, ".")
	if e.Kind != unstable.KeyValue {
		return fmt.Errorf("[%s]: a policy has no tables: write KEY = VALUE", printed(name))
	}
	i := slices.IndexFunc(keysOf(&r.policy), func(k key) bool { return k.name == name && len(parts) == 1 })
	if i < 0 {
		return unknown(name)
	}
	if before := r.seen[name]; before != 0 {
		return fmt.Errorf("%s was given in line %d already", name, before)
	}
	r.seen[name] = r.line(e)
	if err := keysOf(&r.policy)[i].value.set(e.Value()); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := r.policy.Validate(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// syntax is the error for text that is not TOML.
func (r *reader) syntax(err error) *Error {
	bad := &Error{Line: 1, Text: "this is not TOML: " + strings.TrimPrefix(err.Error(), "toml: ")}
	if at, ok := errors.AsType[*unstable.ParserError](err); ok && at.Highlight != nil {
		bad.Line = r.parser.Shape(r.parser.Range(at.Highlight)).Start.Line
	}
	return bad
}

// printed keeps what is in a file from steering a terminal, or filling it.
func printed(s string) string {
	const most = 80
	if len(s) > most {
		s = s[:most] + "…"
	}
	q := fmt.Sprintf("%q", s)
	return q[1 : len(q)-1]
}

func unknown(name string) error {
	policy := runtime.DefaultPolicy()
	best, far := "", len(name)/2+1
	for _, k := range keysOf(&policy) {
		if d := distance(name, k.name); d < far {
			best, far = k.name, d
		}
	}
	if best == "" || len(name) > 80 {
		return fmt.Errorf("%s is not a key of a policy: 'hearth policy example' shows them all", printed(name))
	}
	return fmt.Errorf("%s is not a key of a policy: is %s meant?", printed(name), best)
}

// distance is how many letters must be changed, left out or put in to make a
// into b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range a {
		before := row[0]
		row[0] = i + 1
		for j := range b {
			cost := before
			if a[i] != b[j] {
				cost++
			}
			before, row[j+1] = row[j+1], min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
