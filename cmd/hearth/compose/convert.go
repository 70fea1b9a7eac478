package compose

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hearth-edge/hearth/protocol"
)

// convert makes the stack of the project. It goes on after a refusal, so that a
// user hears of all of them at once.
func (r *reader) convert() (protocol.Stack, []Warning, error) {
	r.stack = protocol.Stack{Name: protocol.StackName(r.name)}
	r.folders, r.travels = make(map[string]string), make(map[string]int)
	r.tellUses()
	r.tellUnset()
	r.topLevel()
	r.networks()
	r.volumes()
	writable := r.writableFolders()
	for _, name := range r.project.ServiceNames() {
		r.service(name, writable)
	}
	r.checkAliases()
	if len(r.stack.Services) == 0 && len(r.refusals) == 0 {
		r.refuse([]string{"services"}, "no service takes part", "define one, or choose profiles with --profile")
	}
	if len(r.refusals) == 0 {
		r.validate()
	}
	if len(r.refusals) > 0 {
		return protocol.Stack{}, nil, r.refusals.sorted()
	}
	return r.stack, r.warnings, nil
}

// refuse notes that path asks for what a stack cannot have.
func (r *reader) refuse(path []string, reason, instead string) {
	r.refusals = append(r.refusals, Refusal{r.src.locate(path...), clip(key(path...)), reason, instead})
}

// refuseItem is refuse for the item of a list that contains text.
func (r *reader) refuseItem(text string, path []string, reason, instead string) {
	r.refusals = append(r.refusals, Refusal{r.src.locateItem(text, path...), clip(key(path...)), reason, instead})
}

func (r *reader) warn(path []string, format string, args ...any) {
	r.warnings = append(r.warnings, Warning{r.src.locate(path...), fmt.Sprintf(format, args...)})
}

// tellUses refuses the keys of the table that are refused and warns of others,
// where what they stand in takes part.
func (r *reader) tellUses() {
	for _, u := range r.uses {
		if !r.active(u.path) {
			continue
		}
		switch {
		case u.key.Path == "services.*.build" && r.project.Services[u.path[1]].Image != "":
			r.warn(u.path, "nothing is built: the image %s is used as it is", r.project.Services[u.path[1]].Image)
		case u.key.State == Refused:
			r.refuse(u.path, u.key.Note, u.key.Instead)
		case u.key.Warn:
			r.warn(u.path, "%s is left out: %s", key(u.path...), u.key.Note)
		}
	}
}

// active reports whether the part of the project that path is in is used.
func (r *reader) active(path []string) bool {
	if len(path) < 2 {
		return true
	}
	ok := true
	switch path[0] {
	case "services":
		_, ok = r.project.Services[path[1]]
	case "networks":
		_, ok = r.project.Networks[path[1]]
	case "volumes":
		_, ok = r.project.Volumes[path[1]]
	case "configs":
		_, ok = r.project.Configs[path[1]]
	case "secrets":
		_, ok = r.project.Secrets[path[1]]
	}
	return ok
}

// tellUnset warns of variables that are not set, each once. In a path they are
// refused but for a plan: it would lead to another folder.
func (r *reader) tellUnset() {
	for _, name := range slices.Sorted(maps.Keys(r.unset)) {
		r.warnings = append(r.warnings, Warning{r.src.locateVariable(name), fmt.Sprintf("the variable %s is not set: it is left empty", name)})
	}
	if r.plan || len(r.unset) == 0 {
		return
	}
	for _, src := range r.src.all {
		for _, doc := range src.docs {
			pairs(find(doc, "services"), func(k, service *yamlNode) {
				if !r.active([]string{"services", k.Value}) {
					return
				}
				for _, item := range items(find(service, "volumes")) {
					text := scalar(item)
					if text == "" {
						text = scalar(find(item, "source"))
					}
					for _, name := range r.src.unset(text) {
						r.refusals = append(r.refusals, Refusal{
							Position{src.path, item.Line}, key("services", k.Value, "volumes"),
							fmt.Sprintf("the variable %s is not set, and a path with it would lead to another folder", name),
							"set it in .env beside the file, or in the environment",
						})
					}
				}
			})
		}
	}
}

// topLevel reads the extensions of the stack as a whole.
func (r *reader) topLevel() {
	r.node(r.project.Extensions["x-hearth-node"], "x-hearth-node")
	r.usesOf(r.project.Extensions["x-hearth-uses"], "x-hearth-uses")
}

// node sets the node that the stack runs on.
func (r *reader) node(v any, path ...string) {
	switch name, ok := v.(string); {
	case v == nil:
	case !ok || name == "":
		r.refuse(path, "this is no node's name", "write it as text")
	case r.stack.Constraints.Node != "" && r.stack.Constraints.Node != name:
		r.refuse(path, fmt.Sprintf("a stack runs on one node, and another key names %s", clip(r.stack.Constraints.Node)), "name one node")
	default:
		r.stack.Constraints.Node = name
	}
}

// label requires a label of the stack's node.
func (r *reader) label(name, value string, path ...string) {
	if old, ok := r.stack.Constraints.Labels[name]; ok && old != value {
		r.refuse(path, fmt.Sprintf("a stack runs on one node, and another key wants %s to be %s", name, clip(old)), "ask for one value")
		return
	}
	if r.stack.Constraints.Labels == nil {
		r.stack.Constraints.Labels = make(map[string]string)
	}
	r.stack.Constraints.Labels[name] = value
}

// usesOf adds the services of other stacks that this one reaches.
func (r *reader) usesOf(v any, path ...string) {
	if v == nil {
		return
	}
	list, ok := v.([]any)
	if one, text := v.(string); text {
		list, ok = []any{one}, true
	}
	for _, item := range list {
		use, text := item.(string)
		stack, service, cut := strings.Cut(use, "/")
		if _, err := protocol.ParseStackName(stack); !text || !cut || err != nil || service == "" {
			ok = false
			break
		}
		if !slices.Contains(r.stack.Uses, use) {
			r.stack.Uses = append(r.stack.Uses, use)
		}
	}
	if !ok {
		r.refuse(path, "this is no list of services", "write [STACK/SERVICE]")
	}
}

// checkAliases refuses names that two services claim.
func (r *reader) checkAliases() {
	owner := make(map[string]string)
	for _, s := range r.stack.Services {
		owner[strings.ToLower(s.Name)] = s.Name
	}
	for _, s := range r.stack.Services {
		for _, a := range s.Aliases {
			if other, taken := owner[strings.ToLower(a)]; taken && other != s.Name {
				r.refuse([]string{"services", s.Name}, fmt.Sprintf("its further name %s is that of the service %s", clip(a), other), "give one of them another name")
			}
			owner[strings.ToLower(a)] = s.Name
		}
	}
}
