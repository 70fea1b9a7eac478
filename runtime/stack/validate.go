package stack

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hearth-edge/hearth/protocol"
)

// maxNumber is the highest number of a service.
const maxNumber = 200

// validate refuses what the Keeper could not keep up: what refers to nothing, and
// dependencies in a circle. What each field may hold is for the protocol to say.
func validate(s *protocol.Stack) error {
	invalid := func(format string, args ...any) error {
		return protocol.Errorf(protocol.CodeInvalid, "stack %s: %s", s.Name, fmt.Sprintf(format, args...))
	}
	if s.Name == "" || len(s.Services) == 0 || len(s.Services) > protocol.MaxStackServices {
		return invalid("it needs a name and 1 to %d services", protocol.MaxStackServices)
	}
	numbers := make(map[uint8]string)
	for i := range s.Services {
		svc := &s.Services[i]
		if other := numbers[svc.Number]; other != "" || svc.Number < 1 || svc.Number > maxNumber {
			return invalid("the service %s has the number %d: each has one of its own, from 1 to %d", svc.Name, svc.Number, maxNumber)
		}
		numbers[svc.Number] = svc.Name
		if what := dangling(s, svc); what != "" {
			return invalid("the service %s refers to %s, which it does not have", svc.Name, what)
		}
	}
	if circle := circleIn(s); circle != nil {
		return invalid("its services depend on each other in a circle: %s", strings.Join(circle, " -> "))
	}
	return nil
}

func hasService(s *protocol.Stack, name string) bool {
	return slices.ContainsFunc(s.Services, func(o protocol.StackService) bool { return o.Name == name })
}

// dangling names what a service refers to and the stack does not have.
func dangling(s *protocol.Stack, svc *protocol.StackService) string {
	if joined, ok := strings.CutPrefix(svc.NetworkMode, "service:"); ok && !hasService(s, joined) {
		return "the network of the service " + joined
	}
	for _, d := range svc.DependsOn {
		if !d.Optional && !hasService(s, d.Service) {
			return "the service " + d.Service
		}
	}
	for _, a := range networksOf(svc) {
		if _, ok := network(s, a.Network); !ok {
			return "the network " + a.Network
		}
	}
	for _, m := range svc.Mounts {
		switch m.Kind {
		case protocol.MountVolume:
			if !slices.ContainsFunc(s.Volumes, func(v protocol.StackVolume) bool { return v.Name == m.Source }) {
				return "the volume " + m.Source
			}
		case protocol.MountFile:
			if !slices.ContainsFunc(s.Files, func(f protocol.StackFile) bool { return f.Name == m.Source }) {
				return "the file " + m.Source
			}
		}
	}
	return ""
}

// circleIn returns services that depend on each other in a circle, the first one
// again at the end; nil where there are none.
func circleIn(s *protocol.Stack) []string {
	needs := make(map[string][]string)
	for i := range s.Services {
		svc := &s.Services[i]
		for _, d := range svc.DependsOn {
			needs[svc.Name] = append(needs[svc.Name], d.Service)
		}
		if joined, ok := strings.CutPrefix(svc.NetworkMode, "service:"); ok {
			needs[svc.Name] = append(needs[svc.Name], joined)
		}
	}
	clear := make(map[string]bool)
	var visit func(path []string) []string
	visit = func(path []string) []string {
		name := path[len(path)-1]
		if at := slices.Index(path[:len(path)-1], name); at >= 0 {
			return path[at:]
		}
		if clear[name] {
			return nil
		}
		for _, next := range needs[name] {
			if circle := visit(append(slices.Clone(path), next)); circle != nil {
				return circle
			}
		}
		clear[name] = true
		return nil
	}
	for i := range s.Services {
		if circle := visit([]string{s.Services[i].Name}); circle != nil {
			return circle
		}
	}
	return nil
}
