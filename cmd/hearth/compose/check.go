package compose

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// unknown looks every key of every file up in the table and returns those that
// it lacks.
func (s *sources) unknown() Refusals {
	var found Refusals
	for _, src := range s.all {
		w := &keyWalk{file: src.path, seen: make(map[walked]bool)}
		for _, doc := range src.docs {
			w.walk(doc, keyTree(), nil, 0)
		}
		found = append(found, w.found...)
	}
	return found.sorted()
}

type walked struct {
	node *yaml.Node
	at   *keyNode
}

// keyWalk goes through one file. A node behind an alias is looked at once for
// each place of the table.
type keyWalk struct {
	file  string
	seen  map[walked]bool
	found Refusals
}

func (w *keyWalk) walk(n *yaml.Node, at *keyNode, path []string, depth int) {
	n = resolve(n)
	if depth > maxDepth || w.seen[walked{n, at}] {
		return
	}
	w.seen[walked{n, at}] = true
	switch n.Kind {
	case yaml.MappingNode:
		if at.free() {
			return
		}
		pairs(n, func(k, v *yaml.Node) {
			next := at.child(k.Value)
			here := append(slices.Clip(path), k.Value)
			switch {
			case next != nil:
				w.walk(v, next, here, depth+1)
			case !extension(k.Value):
				w.refuse(k, at, here)
			}
		})
	case yaml.SequenceNode:
		if item := at.next["*"]; item != nil {
			for i, c := range n.Content {
				w.walk(c, item, append(slices.Clip(path), strconv.Itoa(i)), depth+1)
			}
		}
	case yaml.ScalarNode:
		if at.key.Path == "services.*.volumes.*" {
			w.checkOptions(n, path)
		}
		if at.key.Text && slices.Contains(notText, n.ShortTag()) {
			w.found = append(w.found, Refusal{
				Position: Position{File: w.file, Line: n.Line}, Key: clip(strings.Join(path, ".")),
				Reason: fmt.Sprintf("%q is no text", clip(n.Value)), Instead: "put quotes around it, or leave the key out",
			})
		}
	}
}

func (w *keyWalk) refuse(k *yaml.Node, at *keyNode, path []string) {
	r := Refusal{Position: Position{File: w.file, Line: k.Line}, Key: clip(strings.Join(path, ".")), Reason: "unknown key"}
	switch near := at.nearest(k.Value); {
	case near != "":
		r.Instead = fmt.Sprintf("did you mean %s?", near)
	case len(path) == 1:
		r.Instead = "services stand under `services:`; `hearth stack keys` lists the keys"
	default:
		r.Instead = "`hearth stack keys` lists the keys"
	}
	w.found = append(w.found, r)
}

// checkOptions looks at the options of a volume's short form: compose-go leaves
// out in silence those that it does not know.
func (w *keyWalk) checkOptions(n *yaml.Node, path []string) {
	parts := strings.Split(n.Value, ":")
	last := parts[len(parts)-1]
	if len(parts) < 3 || strings.ContainsAny(last, "/${}") {
		return
	}
	for option := range strings.SplitSeq(last, ",") {
		if !slices.Contains(mountOptions, option) {
			w.found = append(w.found, Refusal{
				Position: Position{File: w.file, Line: n.Line}, Key: clip(strings.Join(path, ".")),
				Reason: fmt.Sprintf("unknown mount option %q", clip(option)), Instead: "known are " + strings.Join(mountOptions, ", "),
			})
		}
	}
}

// notText are the YAML types of values that a Key of Text cannot have.
var notText = []string{"!!null", "!!bool", "!!int", "!!float", "!!timestamp"}

var mountOptions = []string{
	"ro", "rw", "nocopy", "z", "Z", "private", "rprivate", "shared", "rshared", "slave", "rslave",
	"cached", "delegated", "consistent",
}

// A use is a key of the merged model that is not done.
type use struct {
	key  Key
	path []string
}

// notDone returns the keys of the merged model that are refused or that the
// user should hear of. The model is what compose-go made of all files, before it
// is decoded.
func notDone(model map[string]any) []use {
	var uses []use
	var walk func(v any, at *keyNode, path []string)
	walk = func(v any, at *keyNode, path []string) {
		if at.key.State != Done && !empty(v) {
			uses = append(uses, use{at.key, path})
		}
		if at.free() {
			return
		}
		switch v := v.(type) {
		case map[string]any:
			for _, k := range slices.Sorted(maps.Keys(v)) {
				if next := at.child(k); next != nil {
					walk(v[k], next, append(slices.Clip(path), k))
				}
			}
		case []any:
			if item := at.next["*"]; item != nil {
				for i, c := range v {
					walk(c, item, append(slices.Clip(path), strconv.Itoa(i)))
				}
			}
		}
	}
	walk(model, keyTree(), nil)
	return uses
}

// empty reports whether a value asks for nothing, so that its key changes
// nothing.
func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return !v
	case string:
		return v == ""
	case int:
		return v == 0
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}
