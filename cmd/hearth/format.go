package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/template/parse"
)

const (
	// maxFormat bounds a template, and maxFormatted what it makes: a nested range
	// over much is much more.
	maxFormat, maxFormatted = 64 << 10, 16 << 20
)

// A format is a template of Go over JSON: what --format takes. The parser is Go's.
// Of text/template the rest is not used: it finds methods by their names, so the
// linker would keep all there are, 4 MB of them.
type format struct{ root *parse.ListNode }

// formatFuncs are those of Go and docker that JSON has a use for.
var formatFuncs = map[string]func(args []any) (any, error){
	"json":  formatJSON,
	"join":  formatJoin,
	"len":   formatLen,
	"index": formatIndex,
	"eq":    func(a []any) (any, error) { return same(a) },
	"ne": func(a []any) (any, error) {
		ok, err := same(a)
		return !ok, err
	},
	"not":   func(a []any) (any, error) { return len(a) == 1 && !truth(a[0]), count("not", a, 1) },
	"upper": func(a []any) (any, error) { return strings.ToUpper(shown(a...)), count("upper", a, 1) },
	"lower": func(a []any) (any, error) { return strings.ToLower(shown(a...)), count("lower", a, 1) },
}

const formatHint = "write it like '{{.state}} {{.service.image}}'; 'hearth inspect --json' shows the keys"

func parseFormat(text string) (*format, error) {
	if len(text) > maxFormat {
		return nil, fmt.Errorf("--format: %d bytes, the most is %d", len(text), maxFormat)
	}
	names := make(map[string]any)
	for name := range formatFuncs {
		names[name] = true
	}
	trees, err := parse.Parse("--format", text, "", "", names)
	if err != nil {
		return nil, &failure{err: fmt.Errorf("%s", strings.TrimPrefix(err.Error(), "template: ")), hint: formatHint}
	}
	tree := trees["--format"]
	if tree == nil { // as of an empty text
		return &format{}, nil
	}
	return &format{tree.Root}, nil
}

// print writes what the format makes of v's JSON, and a line end.
func (f *format) print(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var root any
	if err := json.Unmarshal(b, &root); err != nil {
		return err
	}
	r := formatRun{root: root}
	if f.root != nil {
		if err := r.list(f.root, root); err != nil {
			return &failure{err: fmt.Errorf("--format: %w", err), hint: formatHint}
		}
	}
	_, err = fmt.Fprintln(w, printable(r.out.String()))
	return err
}

// formatRun is one use of a format.
type formatRun struct {
	root any
	out  strings.Builder
}

func (r *formatRun) list(l *parse.ListNode, dot any) error {
	if l == nil {
		return nil
	}
	for _, n := range l.Nodes {
		if err := r.node(n, dot); err != nil {
			return err
		}
		if r.out.Len() > maxFormatted {
			return fmt.Errorf("it makes more than %d bytes", maxFormatted)
		}
	}
	return nil
}

func (r *formatRun) node(n parse.Node, dot any) error {
	switch n := n.(type) {
	case *parse.TextNode:
		r.out.Write(n.Text)
		return nil
	case *parse.CommentNode:
		return nil
	case *parse.ActionNode:
		v, err := r.pipe(n.Pipe, dot)
		r.out.WriteString(shown(v))
		return err
	case *parse.IfNode:
		return r.branch(&n.BranchNode, dot, func(any) any { return dot })
	case *parse.WithNode:
		return r.branch(&n.BranchNode, dot, func(v any) any { return v })
	case *parse.RangeNode:
		return r.each(&n.BranchNode, dot)
	}
	return fmt.Errorf("%s is not supported here", n)
}

func (r *formatRun) branch(n *parse.BranchNode, dot any, inside func(any) any) error {
	v, err := r.pipe(n.Pipe, dot)
	if err != nil {
		return err
	}
	if truth(v) {
		return r.list(n.List, inside(v))
	}
	return r.list(n.ElseList, dot)
}

func (r *formatRun) each(n *parse.BranchNode, dot any) error {
	v, err := r.pipe(n.Pipe, dot)
	if err != nil {
		return err
	}
	var items []any
	switch v := v.(type) {
	case nil:
	case []any:
		items = v
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			items = append(items, v[k])
		}
	default:
		return fmt.Errorf("%s is no list", n.Pipe)
	}
	if len(items) == 0 {
		return r.list(n.ElseList, dot)
	}
	for _, item := range items {
		if err := r.list(n.List, item); err != nil {
			return err
		}
	}
	return nil
}

// pipe evaluates commands, each of which gets what the one before it made as its
// last argument.
func (r *formatRun) pipe(p *parse.PipeNode, dot any) (v any, err error) {
	if len(p.Decl) > 0 {
		return nil, fmt.Errorf("variables as in %s are not supported here", p)
	}
	for i, c := range p.Cmds {
		var last []any
		if i > 0 {
			last = []any{v}
		}
		if v, err = r.command(c, dot, last); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func (r *formatRun) command(c *parse.CommandNode, dot any, last []any) (any, error) {
	name, isFunc := c.Args[0].(*parse.IdentifierNode)
	if !isFunc {
		if len(c.Args) > 1 || len(last) > 0 {
			return nil, fmt.Errorf("%s is no function", c.Args[0])
		}
		return r.value(c.Args[0], dot)
	}
	var args []any
	for _, a := range c.Args[1:] {
		v, err := r.value(a, dot)
		if err != nil {
			return nil, err
		}
		args = append(args, v)
	}
	return formatFuncs[name.Ident](append(args, last...))
}

func (r *formatRun) value(n parse.Node, dot any) (any, error) {
	switch n := n.(type) {
	case *parse.DotNode:
		return dot, nil
	case *parse.FieldNode:
		return field(dot, n.Ident)
	case *parse.VariableNode:
		if n.Ident[0] == "$" {
			return field(r.root, n.Ident[1:])
		}
	case *parse.ChainNode:
		v, err := r.value(n.Node, dot)
		if err != nil {
			return nil, err
		}
		return field(v, n.Field)
	case *parse.PipeNode:
		return r.pipe(n, dot)
	case *parse.StringNode:
		return n.Text, nil
	case *parse.NumberNode:
		return n.Float64, nil
	case *parse.BoolNode:
		return n.True, nil
	case *parse.NilNode:
		return nil, nil
	}
	return nil, fmt.Errorf("%s is not supported here", n)
}
