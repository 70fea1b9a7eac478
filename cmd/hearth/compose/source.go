package compose

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v4"
)

// A source is one compose file: its bytes, which compose-go reads, and its
// nodes, which know their lines.
type source struct {
	path string
	data []byte
	docs []*yaml.Node
}

// sources are all compose files of a stack. The first ones are those that the
// user named; files that these include or extend follow.
type sources struct {
	named int
	all   []*source
	vars  map[string]string
}

// readSources reads the named files and all that they include or extend.
func readSources(files []string, dir string, vars map[string]string) (*sources, error) {
	s := &sources{vars: vars, named: len(files)}
	for _, f := range files {
		if err := s.read(f); err != nil {
			return nil, err
		}
	}
	for _, src := range s.all[:s.named] {
		if err := s.follow(src, dir); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *sources) read(path string) error {
	if len(s.all) >= maxSources {
		return Refusals{{Reason: fmt.Sprintf("more than %d compose files make up the stack", maxSources), Instead: "include fewer"}}
	}
	data, err := readBounded(path)
	if err != nil {
		return err
	}
	src := &source{path: path, data: data}
	if path == "-" {
		src.path = "stdin"
	}
	if err := src.parse(); err != nil {
		return err
	}
	s.all = append(s.all, src)
	return nil
}

// readBounded reads a whole file of at most maxFile bytes; "-" is the standard
// input.
func readBounded(path string) ([]byte, error) {
	in := io.Reader(os.Stdin)
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, Refusals{{Position: Position{File: path, Line: 1}, Reason: fmt.Sprintf("the file has more than %d KiB", maxFile>>10), Instead: "is it a compose file?"}}
	}
	return data, nil
}

// parse reads the nodes and checks that they can be expanded.
func (src *source) parse() error {
	at := func(line int) Position { return Position{File: src.path, Line: line} }
	d := yaml.NewDecoder(bytes.NewReader(src.data))
	for {
		doc := &yaml.Node{}
		err := d.Decode(doc)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Refusals{{Position: at(errorLine(err)), Reason: "this is no YAML: " + clipLong(strings.TrimPrefix(err.Error(), "yaml: ")), Instead: "check the indentation and quotes around this line"}}
		}
		if len(doc.Content) != 1 || doc.Content[0].Tag == "!!null" {
			continue
		}
		root := doc.Content[0]
		if resolve(root).Kind != yaml.MappingNode {
			return Refusals{{Position: at(root.Line), Reason: "the file holds no mapping", Instead: "a compose file begins with a line like `services:`"}}
		}
		if bad := expand(root); bad != "" {
			return Refusals{{Position: at(root.Line), Reason: bad, Instead: "write the values out"}}
		}
		src.docs = append(src.docs, root)
	}
	if len(src.docs) == 0 {
		return Refusals{{Position: at(1), Reason: "the file is empty", Instead: "a compose file begins with a line like `services:`"}}
	}
	return nil
}

// errorLine finds the line in an error of the YAML library; 1 where it has none.
func errorLine(err error) int {
	_, rest, ok := strings.Cut(err.Error(), "line ")
	line := 0
	if ok {
		_, _ = fmt.Sscanf(rest, "%d", &line)
	}
	return max(line, 1)
}

// resolve returns the node that an alias stands for.
func resolve(n *yaml.Node) *yaml.Node {
	for i := 0; n.Kind == yaml.AliasNode && n.Alias != nil && i < maxDepth; i++ {
		n = n.Alias
	}
	return n
}

// expand says why the values below n cannot be expanded: aliases that contain
// themselves, that multiply, or that nest too deep.
func expand(root *yaml.Node) string {
	const open = -1
	size := make(map[*yaml.Node]int)
	var visit func(n *yaml.Node, depth int) (int, string)
	visit = func(n *yaml.Node, depth int) (int, string) {
		if depth > maxDepth {
			return 0, fmt.Sprintf("values are nested more than %d deep", maxDepth)
		}
		if n.Kind == yaml.AliasNode {
			return visit(n.Alias, depth+1)
		}
		switch count, seen := size[n]; {
		case seen && count == open:
			return 0, fmt.Sprintf("the anchor &%s contains itself", clip(n.Anchor))
		case seen:
			return count, ""
		}
		size[n] = open
		total := 1
		for _, c := range n.Content {
			count, bad := visit(c, depth+1)
			if bad != "" {
				return 0, bad
			}
			if total += count; total > maxNodes {
				return 0, fmt.Sprintf("it expands to more than %d values", maxNodes)
			}
		}
		size[n] = total
		return total, ""
	}
	_, bad := visit(root, 0)
	return bad
}

// follow reads what src includes and extends, each file once. Files that are
// missing are left to compose-go, which says who asked for them.
func (s *sources) follow(src *source, dir string) error {
	type reference struct{ path, dir string }
	var refs []reference
	add := func(path, base string) {
		if path = absolute(dir, s.interpolate(path)); base == "" {
			base = filepath.Dir(path)
		}
		refs = append(refs, reference{path, base})
	}
	for _, doc := range src.docs {
		for _, item := range items(find(doc, "include")) {
			base := ""
			if p := scalar(find(item, "project_directory")); p != "" {
				base = absolute(dir, s.interpolate(p))
			}
			paths := find(item, "path")
			if item = resolve(item); item.Kind == yaml.ScalarNode {
				paths = item
			}
			for _, p := range items(paths) {
				add(scalar(p), base)
			}
		}
		pairs(find(doc, "services"), func(_, service *yaml.Node) {
			if p := scalar(find(find(service, "extends"), "file")); p != "" {
				add(p, "")
			}
		})
	}
	for _, r := range refs {
		if s.has(r.path) {
			continue
		}
		info, err := os.Stat(r.path)
		if err != nil {
			continue
		}
		if !info.Mode().IsRegular() {
			return Refusals{{Position: Position{src.path, 1}, Key: "include", Reason: fmt.Sprintf("%s is no file", clip(r.path)), Instead: "name a compose file"}}
		}
		if err := s.read(r.path); err != nil {
			return err
		}
		if err := s.follow(s.all[len(s.all)-1], r.dir); err != nil {
			return err
		}
	}
	return nil
}

func (s *sources) has(path string) bool {
	for _, src := range s.all {
		if src.path == path {
			return true
		}
	}
	return false
}

func absolute(dir, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}
