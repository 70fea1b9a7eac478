package compose

import (
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// pairs calls f with the keys and values of a mapping, those that it merges in
// after its own.
func pairs(n *yaml.Node, f func(key, value *yaml.Node)) { pairsBelow(n, f, 0) }

func pairsBelow(n *yaml.Node, f func(key, value *yaml.Node), depth int) {
	if n == nil || depth > maxDepth {
		return
	}
	if n = resolve(n); n.Kind != yaml.MappingNode {
		return
	}
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Value == "<<" && key.Kind == yaml.ScalarNode {
			merged = append(merged, value)
			continue
		}
		f(key, value)
	}
	for _, m := range merged {
		if list := resolve(m); list.Kind == yaml.SequenceNode {
			for _, one := range list.Content {
				pairsBelow(one, f, depth+1)
			}
			continue
		}
		pairsBelow(m, f, depth+1)
	}
}

// find returns the value of a key, or of an item of a list by its index, or nil.
func find(n *yaml.Node, name string) *yaml.Node {
	_, value := entry(n, name)
	return value
}

// entry returns the key and the value of name below n.
func entry(n *yaml.Node, name string) (key, value *yaml.Node) {
	if n == nil {
		return nil, nil
	}
	if n = resolve(n); n.Kind == yaml.SequenceNode {
		if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < len(n.Content) {
			return n.Content[i], n.Content[i]
		}
		// Short forms name what long ones have as keys.
		for _, c := range n.Content {
			if c := resolve(c); c.Kind == yaml.ScalarNode && (c.Value == name || strings.HasPrefix(c.Value, name+"=") || strings.HasPrefix(c.Value, name+":")) {
				return c, c
			}
		}
		return nil, nil
	}
	pairs(n, func(k, v *yaml.Node) {
		if key == nil && k.Value == name {
			key, value = k, v
		}
	})
	return key, value
}

// items returns the items of a list, or a value as the only one.
func items(n *yaml.Node) []*yaml.Node {
	if n == nil {
		return nil
	}
	if r := resolve(n); r.Kind == yaml.SequenceNode {
		return r.Content
	}
	return []*yaml.Node{n}
}

func scalar(n *yaml.Node) string {
	if n == nil {
		return ""
	}
	if n = resolve(n); n.Kind != yaml.ScalarNode {
		return ""
	}
	return n.Value
}

// locate returns the line of the deepest part of path that a file has, the last
// file first: it is the one that wins. Parts that a service has from another one
// are found there.
func (s *sources) locate(path ...string) Position {
	at, _ := s.deepest(path, 0)
	return at
}

func (s *sources) deepest(path []string, hops int) (Position, int) {
	var best Position
	depth := 0
	for _, src := range slices.Backward(s.all) {
		for _, doc := range slices.Backward(src.docs) {
			n := doc
			for i, name := range path {
				key, value := entry(n, name)
				if key == nil {
					break
				}
				if i+1 > depth {
					best, depth = Position{File: src.path, Line: key.Line}, i+1
				}
				n = value
			}
		}
	}
	if depth == len(path) || len(path) < 3 || path[0] != "services" || hops > maxDepth {
		return best, depth
	}
	for _, src := range s.all {
		for _, doc := range src.docs {
			extends := find(find(find(doc, "services"), path[1]), "extends")
			base := scalar(extends)
			if base == "" {
				base = scalar(find(extends, "service"))
			}
			if base == "" {
				continue
			}
			if at, d := s.deepest(append([]string{"services", base}, path[2:]...), hops+1); d > depth {
				best, depth = at, d
			}
		}
	}
	return best, depth
}

// locateItem returns the line of the item of a list that contains text.
func (s *sources) locateItem(text string, path ...string) Position {
	for _, src := range slices.Backward(s.all) {
		for _, doc := range src.docs {
			n := doc
			for _, name := range path {
				n = find(n, name)
			}
			for _, item := range items(n) {
				if contains(item, text, 0) {
					return Position{File: src.path, Line: item.Line}
				}
			}
		}
	}
	return s.locate(path...)
}

func contains(n *yaml.Node, text string, depth int) bool {
	if n = resolve(n); n.Kind == yaml.ScalarNode {
		return strings.Contains(n.Value, text)
	}
	return depth < maxDepth && slices.ContainsFunc(n.Content, func(c *yaml.Node) bool { return contains(c, text, depth+1) })
}

// yamlNode is a value of a compose file.
type yamlNode = yaml.Node

// locateVariable returns the first line that uses a variable.
func (s *sources) locateVariable(name string) Position {
	for _, src := range s.all {
		for i, line := range strings.Split(string(src.data), "\n") {
			if strings.Contains(line, "${"+name) || strings.Contains(line, "$"+name) {
				return Position{src.path, i + 1}
			}
		}
	}
	return Position{}
}
