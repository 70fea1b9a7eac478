package compose

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/schema"
)

// TestKeysAreThoseOfTheSchema: the table has each key of the compose schema and
// no other, so that a newer compose-go shows what it brings.
func TestKeysAreThoseOfTheSchema(t *testing.T) {
	t.Parallel()
	var root map[string]any
	if err := json.Unmarshal([]byte(schema.Schema), &root); err != nil {
		t.Fatal(err)
	}
	s := schemaWalk{root: root, found: make(map[string]bool)}
	s.walk(root, nil, keyTree())
	for _, k := range slices.Sorted(maps.Keys(s.found)) {
		at := keyTree()
		for part := range strings.SplitSeq(k, ".") {
			if at = at.next[part]; at == nil {
				break
			}
		}
		if at == nil {
			t.Errorf("the table lacks %s", k)
		}
	}
	for _, k := range Keys() {
		if !s.found[k.Path] && !strings.HasSuffix(k.Path, "*") && !strings.Contains(k.Path, ".x-hearth-") && !strings.HasPrefix(k.Path, "x-hearth-") {
			t.Errorf("the schema lacks %s", k.Path)
		}
	}
}

// schemaWalk collects the keys of a JSON schema, as far down as the table goes.
type schemaWalk struct {
	root  map[string]any
	found map[string]bool
}

func (s *schemaWalk) walk(v any, path []string, at *keyNode) {
	m, ok := v.(map[string]any)
	if !ok || len(path) > 0 && at != nil && at.free() || len(path) > 12 {
		return
	}
	if ref, ok := m["$ref"].(string); ok {
		defs := s.root["$defs"].(map[string]any)
		s.walk(defs[strings.TrimPrefix(ref, "#/$defs/")], path, at)
	}
	for _, group := range []string{"oneOf", "anyOf", "allOf"} {
		list, _ := m[group].([]any)
		for _, one := range list {
			s.walk(one, path, at)
		}
	}
	below := func(name string, v any) {
		var next *keyNode
		if at != nil {
			next = at.child(name)
		}
		s.walk(v, append(slices.Clip(path), name), next)
	}
	properties, _ := m["properties"].(map[string]any)
	for name, p := range properties {
		// Volumes and networks may be named by a mapping below external, an old
		// form of a key that is refused anyway.
		s.found[strings.Join(append(slices.Clip(path), name), ".")] = true
		below(name, p)
	}
	patterns, _ := m["patternProperties"].(map[string]any)
	for pattern, p := range patterns {
		if pattern != "^x-" {
			below("*", p)
		}
	}
	if m["items"] != nil {
		below("*", m["items"])
	}
	if m["additionalProperties"] != nil {
		below("*", m["additionalProperties"])
	}
}

// TestKeysTellWhatToDo: a refused key has a reason and a way out, others none;
// the table has each key once, and no text is longer than a line or two.
func TestKeysTellWhatToDo(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, k := range Keys() {
		if seen[k.Path] {
			t.Errorf("%s is there twice", k.Path)
		}
		seen[k.Path] = true
		if (k.State == Refused) != (k.Instead != "") || k.State == Refused && k.Note == "" || k.State == Refused && k.Warn || k.Warn && k.Note == "" {
			t.Errorf("%+v lacks or has too much", k)
		}
		if k.State != Done && k.State != Harmless && k.State != Refused || len(k.Note)+len(k.Instead) > 220 {
			t.Errorf("%+v", k)
		}
	}
}

// TestEachRefusedKeyIsRefused puts each refused key into a file.
func TestEachRefusedKeyIsRefused(t *testing.T) {
	t.Parallel()
	for _, k := range Keys() {
		if k.State != Refused {
			continue
		}
		uses := notDone(nested(strings.Split(k.Path, ".")).(map[string]any))
		if !slices.ContainsFunc(uses, func(u use) bool { return u.key.Path == k.Path }) {
			t.Errorf("%s is not found in a model that has it: %v", k.Path, uses)
		}
	}
}

func nested(path []string) any {
	if len(path) == 0 {
		return "x"
	}
	return map[string]any{path[0]: nested(path[1:])}
}
