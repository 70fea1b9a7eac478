package stack

import (
	"fmt"

	"github.com/hearth-edge/hearth/protocol"
)

// taken returns why a stack cannot publish its ports in this mesh: every device
// opens them, so each belongs to one stack of all. nil where it can.
func (m *Mesh) taken(s *protocol.Stack) error {
	type spot struct {
		port uint16
		udp  bool
	}
	used := make(map[spot][]string) // the addresses that are taken
	owner := make(map[spot]string)
	for _, d := range m.cfg.Devices() {
		for i := range d.Status.Stacks {
			other := &d.Status.Stacks[i]
			if other.Name == s.Name {
				continue
			}
			for _, p := range other.Ports {
				at := spot{p.Port, p.UDP}
				used[at] = append(used[at], p.HostIP)
				owner[at] = fmt.Sprintf("the stack %s on %s", other.Name, d.Status.Name)
			}
		}
	}
	for i := range s.Services {
		for _, p := range s.Services[i].Ports {
			at := spot{p.Published, p.UDP}
			if !overlap(used[at], p.HostIP) {
				continue
			}
			free := p.Published
			for used[spot{free, p.UDP}] != nil && free < 65535 {
				free++
			}
			return protocol.Errorf(protocol.CodeConflict, "service %s: the port %d is published by %s: publish another one, as %d:%d",
				s.Services[i].Name, p.Published, owner[at], free, p.Target)
		}
	}
	return nil
}

// overlap reports whether an address is one of those taken; none stands for all.
func overlap(taken []string, ip string) bool {
	for _, t := range taken {
		if t == ip || t == "" || ip == "" {
			return true
		}
	}
	return false
}
