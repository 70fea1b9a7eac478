package device

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"strings"

	"github.com/hearth-edge/hearth/p2p"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/sched"
)

// Forget implements protocol.Manager.
func (a appServer) Forget(_ context.Context, name string) error { return a.d.mesh.Forget(name) }

// devices lists the devices of the mesh, each with what is wrong with its name.
func (d *Device) devices() []protocol.Device {
	claims := make(map[protocol.PeerID]string)
	for _, c := range d.mesh.Conflicts() {
		claims[c.Claimant] = c.Name
	}
	copies := make(map[protocol.PeerID]string)
	for _, c := range d.mesh.Copies() {
		copies[c.Of] = c.Address
	}
	all := d.view.Devices()
	for i := range all {
		s := &all[i].Status
		s.ClaimedName, s.CopyAddress = claims[s.Node], copies[s.Node]
	}
	return all
}

// checkMatch tells why this device can never run a service. What it is called the
// orchestrator says, which chose it: each device has its own names for others.
func (d *Device) checkMatch(s protocol.Service) error {
	s.Constraints.Node = ""
	if _, named := s.Constraints.Labels["name"]; named {
		s.Constraints.Labels = maps.Clone(s.Constraints.Labels)
		delete(s.Constraints.Labels, "name")
	}
	status := d.gossip.last()
	if r := sched.Match(&s, &status, false); r != nil {
		return r
	}
	return nil
}

// checkNames tells whose names and state folders are not theirs alone.
func (d *Device) checkNames() (checks []protocol.Check) {
	for _, c := range d.mesh.Conflicts() {
		if c.Holder == "" {
			continue // NamesFull says it
		}
		checks = append(checks, problem("name", fmt.Sprintf("start one of the two with another --name; if %s is no more: 'hearth forget %s'", c.Holder, c.Name),
			"device %s at %s claims the name %q, which is that of %s; it is shown as %s", c.Claimant, c.Address, c.Name, c.Holder, c.Shown))
	}
	if len(checks) == 0 {
		checks = append(checks, d.checkRivals()...)
	}
	if d.mesh.NamesFull() {
		checks = append(checks, problem("name", "start this device once without its file "+p2p.NamesFile+", which forgets all names",
			"so many names have a holder that newcomers get none, and are shown with the end of their IDs"))
	}
	for _, c := range d.mesh.Copies() {
		checks = append(checks, checkCopy(&c, d.cfg.StateDir))
	}
	return checks
}

// checkCopy tells of a copy, and which of the two should begin anew.
func checkCopy(c *p2p.Copy, state string) protocol.Check {
	there := fmt.Sprintf("at %s, remove 'seed' from the state folder and start it again; each device needs one of its own", c.Address)
	switch {
	case c.Refused:
		return problem("copy", fmt.Sprintf("if this device is the copy, remove %s and start it again; else do so at %s", filepath.Join(state, "seed"), c.Address),
			"others refuse this device: it runs with a copy of the state folder of the one at %s, which came first", c.Address)
	case c.First != "":
		return problem("copy", there, "another device at %s runs with a copy of the state folder of the one at %s, and is refused", c.Address, c.First)
	}
	return problem("copy", "remove 'seed' from the state folder that is the copy, and start that device again", "another device at %s runs with a copy of this device's state folder", c.Address)
}

// checkRivals tells where this device is called otherwise, since its name is another's
// there.
func (d *Device) checkRivals() []protocol.Check {
	var at []string
	var rival protocol.PeerID
	for _, p := range d.mesh.Peers() {
		if p.Rival != "" {
			at, rival = append(at, p.Name), p.Rival
		}
	}
	if len(at) == 0 {
		return nil
	}
	return []protocol.Check{warning("name", fmt.Sprintf("start this device with another --name; if %s is no more: 'hearth forget %s' there", rival, d.cfg.Name),
		"on %s this device is shown with the end of its ID: its name is that of %s there", strings.Join(at, ", "), rival)}
}
