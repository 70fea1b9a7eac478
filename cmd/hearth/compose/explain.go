package compose

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

var (
	// keyInText is a key as compose-go writes it into its errors.
	keyInText = regexp.MustCompile(`\b(services|networks|volumes|configs|secrets)\.[^\s"',]+`)
	// serviceInText is a service as compose-go names it.
	serviceInText = regexp.MustCompile(`(?:service|services) "([^"]+)"`)
	// decodedInText is a key as the decoder writes it.
	decodedInText = regexp.MustCompile(`'(services|networks|volumes|configs|secrets)\[([^\]']+)\]\.?([^']*)'`)
	// indexInText ends a key with the items of a list.
	indexInText = regexp.MustCompile(`(\.\[\d*\])+$`)
	// undefinedInText names a part that a service mounts or is on.
	undefinedInText = regexp.MustCompile(`refers to undefined (volume|network|config|secret) ([^\s:]+)`)
	// portInText quotes one side of a port.
	portInText = regexp.MustCompile(`invalid (?:hostPort|containerPort|proto): (\S+)`)
	// pathInText begins some errors with the file that they are about.
	pathInText = regexp.MustCompile(`^(validating|failed to parse) [^:]+: `)
)

// explain gives errors of compose-go the line that they are about, and other
// words where its own say little.
func (s *sources) explain(err error) error {
	var all Refusals
	var visit func(err error)
	visit = func(err error) {
		if many, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range many.Unwrap() {
				visit(e)
			}
			return
		}
		all = append(all, s.explainOne(err.Error()))
	}
	visit(err)
	return all.sorted()
}

func (s *sources) explainOne(text string) Refusal {
	text = strings.TrimSuffix(text, ": invalid compose project")
	text = pathInText.ReplaceAllString(text, "")
	r := Refusal{}
	if m := keyInText.FindString(text); m != "" {
		path := s.split(indexInText.ReplaceAllString(strings.TrimRight(m, ".:;"), ""))
		r.Position, r.Key = s.locate(path...), key(path...)
		if unset := s.unset(s.value(path)); len(unset) > 0 {
			r.Instead = howToSet(unset[0])
		}
		if rest, ok := strings.CutPrefix(text, m); ok {
			text = strings.TrimLeft(rest, ": ")
		}
		text = strings.TrimPrefix(text, "error while interpolating "+m+" ")
	} else if m := decodedInText.FindStringSubmatch(text); m != nil {
		path := append([]string{m[1], m[2]}, strings.FieldsFunc(m[3], func(c rune) bool { return strings.ContainsRune(".[]", c) })...)
		r.Position, r.Key = s.locate(path...), key(path...)
		_, text, _ = strings.Cut(text, m[0])
		text = strings.TrimSpace(text)
	} else if at, path, raw := s.findValue(text); path != nil {
		r.Position, r.Key = at, key(path...)
		if unset := s.unset(raw); len(unset) > 0 {
			text, r.Instead = "the variable "+unset[0]+" is not set, which leaves "+clip(s.interpolate(raw)), "set it in .env beside the file, or in the environment"
		}
	} else if m := serviceInText.FindStringSubmatch(text); m != nil {
		path := []string{"services", m[1]}
		if strings.Contains(text, "depends on") {
			path = append(path, "depends_on")
		}
		r.Position, r.Key = s.locate(path...), key(path...)
		if u := undefinedInText.FindStringSubmatch(text); u != nil {
			path = append(path, u[1]+"s")
			r.Position, r.Key = s.locateItem(u[2], path...), key(path...)
		}
	} else if m := portInText.FindStringSubmatch(text); m != nil {
		r.Position, r.Key = s.findPort(m[1])
	}
	if r.File == "" {
		r.Position = s.locate("services")
	}
	if r.Key == "" {
		r.Key = "services"
	}
	r.Reason = clipLong(strings.ReplaceAll(text, "\n", " "))
	switch {
	case strings.Contains(text, "neither an image nor a build context"):
		r.Reason, r.Instead = "the service has no image", "name one with image:, or leave the service out"
	case strings.Contains(text, "required variable"):
		r.Instead = "set it in .env beside the file, or in the environment"
	case strings.Contains(text, "dependency cycle"):
		r.Instead = "leave one of these dependencies out"
	case strings.Contains(text, "nvalid containerPort"), strings.Contains(text, "nvalid hostPort"), strings.Contains(text, "nvalid proto"):
		r.Instead = "write ports like 8080:80 or 53:53/udp"
	case strings.Contains(text, "no such file or directory"):
		r.Instead = "check the path; it starts from the project's folder"
	case strings.Contains(text, "refers to undefined"):
		r.Instead = "define it at the top level, or correct the name"
	}
	return r
}

// split takes a dotted key apart where names in it, such as a service's, may
// have dots: the longest name that a file has at each step.
func (s *sources) split(dotted string) []string {
	parts := strings.Split(dotted, ".")
	var path []string
	for len(parts) > 0 {
		n := len(parts)
		for ; n > 1; n-- {
			if next := append(slices.Clip(path), strings.Join(parts[:n], ".")); s.exists(next) {
				break
			}
		}
		path = append(path, strings.Join(parts[:n], "."))
		parts = parts[n:]
	}
	return path
}

func (s *sources) exists(path []string) bool {
	_, depth := s.deepest(path, 0)
	return depth == len(path)
}

func clipLong(s string) string {
	const most = 400
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// howToSet says what to do about a variable that a value lacks.
func howToSet(variable string) string {
	return fmt.Sprintf("the variable %s is not set: set it in .env beside the file, or in the environment", clip(variable))
}

// value returns the text of a value as the last file has it.
func (s *sources) value(path []string) string {
	for _, src := range slices.Backward(s.all) {
		for _, doc := range slices.Backward(src.docs) {
			n := doc
			for _, name := range path {
				n = find(n, name)
			}
			if v := scalar(n); v != "" {
				return v
			}
		}
	}
	return ""
}

// findValue returns where the value of a service stands that an error quotes, as
// the file has it: the longest one, if several are in the text.
func (s *sources) findValue(text string) (at Position, path []string, raw string) {
	const least = 3
	best := least - 1
	for _, src := range s.all {
		var visit func(n *yamlNode, here []string, depth int)
		visit = func(n *yamlNode, here []string, depth int) {
			if depth > maxDepth {
				return
			}
			switch n = resolve(n); n.Kind {
			case yaml.ScalarNode:
				if v := s.interpolate(n.Value); len(v) > best && len(here) > 2 && strings.Contains(text, v) {
					best, at, path, raw = len(v), Position{src.path, n.Line}, here, n.Value
				}
			case yaml.SequenceNode:
				for _, c := range n.Content {
					visit(c, here, depth+1)
				}
			case yaml.MappingNode:
				pairs(n, func(k, v *yamlNode) { visit(v, append(slices.Clip(here), k.Value), depth+1) })
			}
		}
		for _, doc := range src.docs {
			if services := find(doc, "services"); services != nil {
				visit(services, []string{"services"}, 0)
			}
		}
	}
	return at, path, raw
}

// findPort returns where a service has a port of that text.
func (s *sources) findPort(text string) (at Position, where string) {
	for _, src := range s.all {
		for _, doc := range src.docs {
			pairs(find(doc, "services"), func(k, service *yamlNode) {
				for _, item := range items(find(service, "ports")) {
					if where == "" && strings.Contains(s.interpolate(scalar(item)), text) {
						at, where = Position{src.path, item.Line}, key("services", k.Value, "ports")
					}
				}
			})
		}
	}
	return at, where
}
