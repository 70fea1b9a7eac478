package stack

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/hearth-edge/hearth/protocol"
)

// Diff returns what becomes of each service when a stack that was old becomes
// what now says, in the order in which it is done: what goes is removed first, and
// each comes after those that it depends on. old is nil for a new stack. Both are
// valid.
func Diff(old *protocol.Stack, now *protocol.Stack) []protocol.ServiceChange {
	changes := []protocol.ServiceChange{}
	if old == nil {
		old = &protocol.Stack{}
	}
	before := byName(old)
	after := byName(now)
	for i := range old.Services {
		if name := old.Services[i].Name; after[name] == nil {
			changes = append(changes, protocol.ServiceChange{Service: name, Action: protocol.ActionRemove})
		}
	}
	order, _ := now.StartOrder()
	for _, name := range order {
		was := before[name]
		if was == nil {
			changes = append(changes, protocol.ServiceChange{Service: name, Action: protocol.ActionCreate})
			continue
		}
		why := serviceDiff(old, was, now, after[name])
		action := protocol.ActionKeep
		if len(why) > 0 {
			action = protocol.ActionRecreate
		}
		changes = append(changes, protocol.ServiceChange{Service: name, Action: action, Why: why})
	}
	return changes
}

func byName(s *protocol.Stack) map[string]*protocol.StackService {
	services := make(map[string]*protocol.StackService, len(s.Services))
	for i := range s.Services {
		services[s.Services[i].Name] = &s.Services[i]
	}
	return services
}

// serviceDiff names the fields that differ, as the document calls them, and the
// parts of the stack that the service uses and that differ.
func serviceDiff(old *protocol.Stack, was *protocol.StackService, now *protocol.Stack, is *protocol.StackService) []string {
	why := fieldsThatDiffer(*was, *is)
	for _, m := range is.Mounts {
		switch m.Kind {
		case protocol.MountFile:
			if !sameFile(fileOf(old, m.Source), fileOf(now, m.Source)) {
				why = append(why, "file "+m.Source)
			}
		case protocol.MountVolume:
			if volumeOf(old, m.Source) != volumeOf(now, m.Source) {
				why = append(why, "volume "+m.Source)
			}
		}
	}
	for _, name := range networksOf(is) {
		if networkOf(old, name) != networkOf(now, name) {
			why = append(why, "network "+name)
		}
	}
	if !slices.Equal(old.Uses, now.Uses) && is.NetworkMode == "" {
		why = append(why, "uses")
	}
	return slices.Compact(why)
}

// fieldsThatDiffer compares two services as their documents have them. The number
// is the holder's to say.
func fieldsThatDiffer(was, is protocol.StackService) []string {
	was.Number, is.Number = 0, 0
	a, b := reflect.ValueOf(was), reflect.ValueOf(is)
	var names []string
	for i := range a.NumField() {
		x, _ := json.Marshal(a.Field(i).Interface())
		y, _ := json.Marshal(b.Field(i).Interface())
		if bytes.Equal(x, y) || emptyJSON(x) && emptyJSON(y) && !nilCounts[a.Type().Field(i).Name] {
			continue
		}
		tag, _, _ := strings.Cut(a.Type().Field(i).Tag.Get("json"), ",")
		names = append(names, tag)
	}
	return names
}

// nilCounts are the fields of which an empty list is not no list.
var nilCounts = map[string]bool{"Entrypoint": true, "Command": true}

func emptyJSON(raw []byte) bool {
	return slices.Contains([]string{"null", "[]", "{}", `""`, "0", "false"}, string(raw))
}

func fileOf(s *protocol.Stack, name string) *protocol.StackFile {
	for i := range s.Files {
		if s.Files[i].Name == name {
			return &s.Files[i]
		}
	}
	return nil
}

// sameFile compares what is known of two files; where one comes without its
// content, as in a plan for a device that is not to see it, its size counts.
func sameFile(a, b *protocol.StackFile) bool {
	if a == nil || b == nil {
		return a == b
	}
	if a.Size != b.Size || a.Folder != b.Folder || a.Secret != b.Secret {
		return false
	}
	return len(a.Data) != len(b.Data) || bytes.Equal(a.Data, b.Data)
}

func volumeOf(s *protocol.Stack, name string) protocol.StackVolume {
	for _, v := range s.Volumes {
		if v.Name == name {
			return v
		}
	}
	return protocol.StackVolume{}
}

func networkOf(s *protocol.Stack, name string) protocol.StackNetwork {
	for _, n := range s.Networks {
		if n.Name == name {
			return n
		}
	}
	return protocol.StackNetwork{Name: name}
}

func networksOf(svc *protocol.StackService) []string {
	if svc.NetworkMode != "" {
		return nil
	}
	if len(svc.Networks) == 0 {
		return []string{protocol.DefaultNetwork}
	}
	var names []string
	for _, n := range svc.Networks {
		names = append(names, n.Network)
	}
	return names
}

// same reports whether two stacks ask for the same, whatever the numbers of their
// services are, and in whatever order they stand.
func same(a, b *protocol.Stack) bool {
	return bytes.Equal(canonical(a), canonical(b))
}

func canonical(s *protocol.Stack) []byte {
	c := *s
	c.Services = slices.Clone(s.Services)
	for i := range c.Services {
		c.Services[i].Number = 0
	}
	slices.SortFunc(c.Services, func(a, b protocol.StackService) int { return strings.Compare(a.Name, b.Name) })
	c.Networks = sorted(c.Networks, func(n protocol.StackNetwork) string { return n.Name })
	c.Volumes = sorted(c.Volumes, func(v protocol.StackVolume) string { return v.Name })
	c.Files = sorted(c.Files, func(f protocol.StackFile) string { return f.Name })
	raw, _ := json.Marshal(&c)
	return raw
}

func sorted[T any](list []T, key func(T) string) []T {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b T) int { return strings.Compare(key(a), key(b)) })
	return list
}

// assignNumbers gives each service of s its number: the one that it had in any of
// the versions before, the latest first, else the lowest that no kept version uses,
// so that no number soon means another service.
func assignNumbers(s *protocol.Stack, before []protocol.StackRecord) {
	had := make(map[string]uint8)
	used := make(map[uint8]bool)
	for i := range before {
		for _, svc := range before[i].Stack.Services {
			if _, known := had[svc.Name]; !known {
				had[svc.Name] = svc.Number
			}
			used[svc.Number] = true
		}
	}
	s.Services = slices.Clone(s.Services)
	taken := make(map[uint8]bool)
	for i := range s.Services {
		n := had[s.Services[i].Name]
		if taken[n] {
			n = 0
		}
		s.Services[i].Number = n
		taken[n] = n > 0
	}
	for i := range s.Services {
		if s.Services[i].Number == 0 {
			s.Services[i].Number = freeNumber(used, taken)
			taken[s.Services[i].Number] = true
		}
	}
}

// freeNumber prefers one that was never used; a stack has far fewer services than
// there are numbers.
func freeNumber(used, taken map[uint8]bool) uint8 {
	for _, avoid := range []map[uint8]bool{used, nil} {
		for n := uint8(1); n <= maxNumber; n++ {
			if !taken[n] && !avoid[n] {
				return n
			}
		}
	}
	return 0
}

// demand is the stack as one service: what all of it needs at least.
func demand(s *protocol.Stack) *protocol.Service {
	sum := protocol.Service{Constraints: s.Constraints}
	sum.Constraints.Labels = maps.Clone(s.Constraints.Labels)
	for i := range s.Services {
		svc := &s.Services[i]
		if sum.Image == "" {
			sum.Image = svc.Image
		}
		sum.CPUs += svc.ReservedCPUs
		sum.Memory += max(svc.ReservedMemory, 0)
		if svc.ReservedMemory == 0 {
			sum.Memory += defaultReserve
		}
		if svc.Accelerator != "" {
			sum.Accelerator = svc.Accelerator
		}
	}
	return &sum
}
