package sched

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/hearth-edge/hearth/protocol"
)

// A ineligible is why a device cannot run a service. It is kept apart from its
// text, which is only made for those who read it: placement looks at every
// device for every request.
type ineligible struct {
	why ineligibleKind
	key string // of the label, with ineligibleLabel
}

type ineligibleKind uint8

const (
	feasible ineligibleKind = iota
	ineligibleRefused
	ineligibleNoStatus
	ineligibleNotReady
	ineligibleStale
	ineligibleRole
	ineligibleDraining
	ineligibleLimits
	ineligibleNode
	ineligibleHere
	ineligibleStatus
	ineligibleDriver
	ineligibleLabel
	ineligibleCPUs
	ineligibleMemory
	ineligibleAccelerator
	// Only placement knows these: see Demand.
	ineligibleNoImage
	ineligiblePlatform
)

// Match returns why the device that s speaks of can never run the service, or
// nil if it can. self says that it is the orchestrator's own device. Placement
// leaves out by it, and a node refuses by it.
func Match(service *protocol.Service, s *protocol.Status, self bool) *protocol.Refusal {
	return match(service, appendLabels(nil, service), s, s.Name, self).explain(service, s)
}

// pending reports whether the device may yet turn out to run the service: it does
// not know whether it runs work, or has said so when the request was offered to it.
func (m ineligible) pending(peer *Peer, d *Demand) bool {
	switch m.why {
	case ineligibleNoStatus:
		return peer.New
	case ineligibleNotReady:
		return true
	case ineligibleRefused:
		return d.Excluded[peer.Node].Code == protocol.CodeNotReady
	}
	return false
}

func loadOf(s *protocol.Status) protocol.Load {
	if s == nil {
		return protocol.Load{}
	}
	return protocol.Load{
		Running: s.Running, Queued: s.Queued, Slots: s.Slots, LongRunning: s.LongRunning, Youngest: s.Youngest,
	}
}

// match does what Match does, for a device called name; labels are the service's.
func match(service *protocol.Service, labels []label, s *protocol.Status, name string, self bool) ineligible {
	want := &service.Constraints
	switch {
	case want.Node != "" && want.Node != name && want.Node != string(s.Node):
		return ineligible{why: ineligibleNode}
	case want.NotHere && self:
		return ineligible{why: ineligibleHere}
	case s.NotReady:
		return notReady(labels, s, name)
	case s.Role != protocol.RoleNode:
		return ineligible{why: ineligibleRole}
	case s.Draining:
		return ineligible{why: ineligibleDraining}
	case len(s.MissingLimits) > 0:
		return ineligible{why: ineligibleLimits}
	case !plausible(s):
		return ineligible{why: ineligibleStatus}
	case len(s.Drivers) == 0:
		return ineligible{why: ineligibleDriver}
	case service.CPUs*almostOne > s.CPUs:
		return ineligible{why: ineligibleCPUs}
	case service.Memory > s.MemoryTotal:
		return ineligible{why: ineligibleMemory}
	case service.Accelerator != "" && !slices.Contains(s.Accelerators, service.Accelerator):
		return ineligible{why: ineligibleAccelerator}
	}
	for _, l := range labels {
		if !hasLabel(s, name, l.key, l.value) {
			return ineligible{why: ineligibleLabel, key: l.key}
		}
	}
	return ineligible{}
}

// notReady judges a device that does not know yet whether it runs work: what its
// engine tells, arch, os and driver, is not known either.
func notReady(labels []label, s *protocol.Status, name string) ineligible {
	for _, l := range labels {
		switch l.key {
		case "arch", "os", "driver":
		default:
			if !hasLabel(s, name, l.key, l.value) {
				return ineligible{why: ineligibleLabel, key: l.key}
			}
		}
	}
	return ineligible{why: ineligibleNotReady}
}

type label struct{ key, value string }

// appendLabels appends the labels that the service demands, by their keys: the
// same question has the same answer then, and a slice is gone through faster
// than a map, for each device.
func appendLabels(to []label, service *protocol.Service) []label {
	for key, value := range service.Constraints.Labels {
		to = append(to, label{key, value})
	}
	slices.SortFunc(to, func(a, b label) int { return strings.Compare(a.key, b.key) })
	return to
}

func hasLabel(s *protocol.Status, name, key, value string) bool {
	switch key {
	case "arch":
		return s.Arch == value
	case "os":
		return s.OS == value
	case "name":
		return name == value
	case "driver":
		return slices.Contains(s.Drivers, value)
	}
	have, ok := s.Labels[key]
	return ok && have == value
}

// plausible reports whether a node's status can be calculated with.
func plausible(s *protocol.Status) bool {
	return s.Speed > 0 && s.Speed <= math.MaxFloat32 &&
		s.CPUs > 0 && s.CPUs <= math.MaxFloat32 &&
		s.CPUOthers >= 0 && s.Throttled >= 0 && s.Throttled <= 1 && s.CPUFree >= 0 && s.Slots > 0 &&
		s.Score >= 0 && s.Score <= math.MaxFloat32
}

func (m ineligible) explain(service *protocol.Service, s *protocol.Status) *protocol.Refusal {
	want := &service.Constraints
	refuse := func(code protocol.Code, format string, args ...any) *protocol.Refusal {
		return &protocol.Refusal{Code: code, Reason: fmt.Sprintf(format, args...), Load: loadOf(s)}
	}
	switch m.why {
	case ineligibleNode:
		return refuse(protocol.CodeConstraint, "is not %s, the only node allowed", want.Node)
	case ineligibleHere:
		return refuse(protocol.CodeConstraint, "is the asking device, which was left out by wish")
	case ineligibleNotReady:
		return refuse(protocol.CodeNotReady, "has just started, and does not know yet whether it runs work")
	case ineligibleRole:
		return refuse(protocol.CodeConstraint, "runs no work: no container engine is in use there")
	case ineligibleDraining:
		return refuse(protocol.CodePolicy, "%s", protocol.ReasonDraining)
	case ineligibleLimits:
		return refuse(protocol.CodePolicy, "cannot limit a container's %s, as its owner's policy asks: 'hearth doctor' there says what helps", strings.Join(s.MissingLimits, ", "))
	case ineligibleDriver:
		return refuse(protocol.CodeEngineDown, "has no container engine that answers")
	case ineligibleStatus:
		return refuse(protocol.CodeInvalid, "gives out a score that makes no sense: look at its log")
	case ineligibleLabel:
		return refuse(protocol.CodeConstraint, "%s", m.labels(want, s))
	case ineligibleCPUs:
		return refuse(protocol.CodeResources, "has %s, %s asked", s.CPUs, service.CPUs)
	case ineligibleMemory:
		return refuse(protocol.CodeResources, "has %s of memory, %s asked", s.MemoryTotal, service.Memory)
	case ineligibleAccelerator:
		return refuse(protocol.CodeConstraint, "%s", lacksAccelerator(service.Accelerator, s))
	}
	return nil
}

func lacksAccelerator(kind string, s *protocol.Status) string {
	text := fmt.Sprintf("has no %s that its owner lends", kind)
	if len(s.Accelerators) > 0 {
		text += "; it lends: " + strings.Join(s.Accelerators, ", ")
	}
	return text
}

func (m ineligible) labels(want *protocol.Constraints, s *protocol.Status) string {
	asked := want.Labels[m.key]
	have, ok := s.Labels[m.key]
	switch m.key {
	case "arch":
		have, ok = s.Arch, true
	case "os":
		have, ok = s.OS, true
	case "driver":
		have, ok = strings.Join(s.Drivers, ", "), true
	case "name":
		return fmt.Sprintf("is not named %s", asked)
	}
	if !ok {
		return fmt.Sprintf("has no label %s, %s=%s asked", m.key, m.key, asked)
	}
	return fmt.Sprintf("has %s=%s, %s asked", m.key, have, asked)
}
