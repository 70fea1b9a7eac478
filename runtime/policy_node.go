package runtime

import (
	"reflect"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime/machine"
)

// here is what the policy has to know of this machine as it is now.
func (n *Node) here() Here {
	n.mu.Lock()
	info, lent := n.engine.info, n.lent
	n.mu.Unlock()
	var found []machine.Accelerator
	if n.cfg.Accelerators != nil {
		found = n.cfg.Accelerators()
	}
	h := HereFor(info, lent, found, n.cfg.Private)
	h.Has, h.Logins = n.present, n.cfg.Driver.Logins
	return h
}

// HereFor is what the policy has to know of a machine with that engine, but for
// its images and logins.
func HereFor(info Info, lent Lent, accelerators []machine.Accelerator, private []string) Here {
	h := Here{Lent: lent, Accelerators: accelerators, Remote: info.Remote, NoLimits: info.NoLimits, NoSecrets: info.NoSecrets, Look: LookFile}
	for _, p := range append([]string{info.Socket, info.DataDir}, private...) {
		if p != "" {
			h.Private = append(h.Private, p)
		}
	}
	return h
}

// asker tells the policy who it is that asks.
func (n *Node) asker(orchestrator protocol.PeerID) Asker {
	a := Asker{Node: orchestrator, Self: orchestrator == n.cfg.Node}
	switch {
	case a.Self:
		a.Name = n.cfg.Name
	case n.cfg.NameOf != nil:
		a.Name = n.cfg.NameOf(orchestrator)
	}
	return a
}

// recheckPolicy makes sure, right before the container is made, that the files
// lent to e are still what the policy was applied to: it may have waited for
// hours.
func (n *Node) recheckPolicy(e *execution) error {
	if len(e.spec.Mounts) == 0 && len(e.spec.Devices) == 0 {
		return nil
	}
	here := n.here()
	j := judgement{policy: &n.cfg.Policy, service: &e.service, here: &here}
	j.files()
	for _, v := range j.verdicts {
		if v.Err != nil {
			return v.Err
		}
	}
	if !reflect.DeepEqual(j.spec.Mounts, e.spec.Mounts) || !reflect.DeepEqual(j.spec.Devices, e.spec.Devices) {
		return protocol.Errorf(protocol.CodePolicy, "the files lent to it were changed while it waited; ask again")
	}
	return nil
}
