package stack

import (
	"context"
	"fmt"
	"slices"

	"github.com/hearth-edge/hearth/protocol"
)

// target is where a stack goes, and the plan for it there.
type target struct {
	at      holder
	plan    protocol.StackPlan
	refused []protocol.NodeRefusal // by those asked before it
	why     string
}

// PlanStack implements protocol.Stacks.
func (m *Mesh) PlanStack(ctx context.Context, u protocol.UpStack) (protocol.StackPlan, error) {
	u.Record.By, u.Record.ByName = m.cfg.Self, m.cfg.Name
	candidates, refused, err := m.candidates(ctx, &u)
	if err != nil {
		return protocol.StackPlan{}, err
	}
	t, err := m.firstThatTakes(ctx, &u, candidates)
	if err != nil {
		return protocol.StackPlan{}, err
	}
	return t.planned(&u.Record.Stack, refused), nil
}

// planned is the plan as it is told: with all that do not take the stack.
func (t *target) planned(s *protocol.Stack, refused []protocol.NodeRefusal) protocol.StackPlan {
	plan := t.plan
	if plan.Holder == "" {
		plan.Name, plan.Services = s.Name, Diff(nil, s)
		if t.plan.Services != nil {
			plan.Services = t.plan.Services
		}
		plan.Version = max(plan.Version, 1)
	}
	if t.why != "" {
		plan.Why = t.why
	}
	plan.Refused = append(slices.Clone(t.refused), refused...)
	if plan.Warnings == nil {
		plan.Warnings = []string{}
	}
	return plan
}

// candidates are those that are asked to take the stack, in order: its holder, or
// all nodes, the best first. Those that cannot by their status are in refused.
func (m *Mesh) candidates(ctx context.Context, u *protocol.UpStack) (list []holder, refused []protocol.NodeRefusal, err error) {
	if err := m.taken(&u.Record.Stack); err != nil {
		return nil, nil, err
	}
	at, err := m.find(ctx, u.Record.Stack.Name)
	switch code := protocol.CodeOf(err); {
	case err == nil && !at.isNamed(u.Record.Stack.Constraints.Node):
		return nil, nil, protocol.Errorf(protocol.CodeConstraint, "the stack %s is held by %s, and only %s is allowed: leave that out, or take the stack down with its data first",
			u.Record.Stack.Name, at.name, u.Record.Stack.Constraints.Node)
	case err == nil:
		at.holds = true
		return []holder{at}, nil, nil
	case code == protocol.CodeNodeLost && !u.New:
		return nil, nil, protocol.Errorf(code, "%s: start that first, or have it made anew elsewhere, without its data, with --new", err.Error())
	case code != protocol.CodeNodeLost && code != protocol.CodeNotFound:
		return nil, nil, err
	}
	if err := m.isThere(u.Record.Stack.Constraints.Node); err != nil {
		return nil, nil, err
	}
	decision := m.cfg.Rank(demand(&u.Record.Stack))
	connected := m.connected()
	best := slices.Clone(decision.Candidates)
	slices.SortStableFunc(best, func(a, b protocol.Candidate) int { // the chosen one first, the rest as they are
		switch {
		case a.Chosen && !b.Chosen:
			return -1
		case b.Chosen && !a.Chosen:
			return 1
		}
		return 0
	})
	for _, c := range best {
		switch d, here := connected[c.Node]; {
		case c.Code != protocol.CodeNone:
			refused = append(refused, protocol.NodeRefusal{Node: c.Node, NodeName: c.Name, Reasons: []protocol.StackRefusal{{Code: c.Code, Reason: c.Excluded}}})
		case c.Self:
			list = append(list, m.own())
		case here:
			list = append(list, d.holder)
		}
	}
	return list, refused, nil
}

// isNamed reports whether a constraint allows the device.
func (h *holder) isNamed(node string) bool {
	return node == "" || node == h.name || node == string(h.id)
}

// isThere returns an error where a constraint names a device that is not connected.
func (m *Mesh) isThere(node string) error {
	own := m.own()
	if own.isNamed(node) {
		return nil
	}
	for _, d := range m.connected() {
		if d.isNamed(node) {
			return nil
		}
	}
	return protocol.Errorf(protocol.CodeUnknownNode, "no node %s is in the mesh now; see 'hearth nodes'", node)
}

// firstThatTakes asks one after the other to plan the stack. Without one, the plan
// has no holder.
func (m *Mesh) firstThatTakes(ctx context.Context, u *protocol.UpStack, candidates []holder) (target, error) {
	var t target
	for _, at := range candidates {
		plan, err := m.planAt(ctx, u, at)
		if err := ctx.Err(); err != nil {
			return t, err
		}
		if err != nil && (at.holds || at.id == m.cfg.Self) {
			return t, m.reached(ctx, at, err, nil)
		}
		if err != nil {
			t.refused = append(t.refused, protocol.NodeRefusal{Node: at.id, NodeName: at.name, Reasons: []protocol.StackRefusal{
				{Code: protocol.CodeNodeLost, Reason: "does not answer"},
			}})
			continue
		}
		for i := range plan.Refused {
			plan.Refused[i].Node, plan.Refused[i].NodeName = at.id, at.name // as it is called here
		}
		t.refused = append(t.refused, plan.Refused...)
		plan.Refused = nil
		t.plan = plan
		if plan.Holder == "" {
			continue
		}
		t.at = at
		t.plan.Holder, t.plan.HolderName = at.id, at.name
		if t.why = plan.Why; t.why == "" {
			t.why = chosenBecause(len(candidates), len(t.refused))
		}
		return t, nil
	}
	if t.why = "no node is connected"; len(candidates) > 0 || len(t.refused) > 0 {
		t.why = "no node can run it"
	}
	return t, nil
}

func chosenBecause(candidates, refused int) string {
	switch {
	case candidates == 1:
		return "the only node that can run it"
	case refused > 0:
		return fmt.Sprintf("the best of %d nodes that takes it", candidates)
	}
	return fmt.Sprintf("the best of %d nodes", candidates)
}

// planAt has one device plan the stack. What files hold is told to its holder only.
func (m *Mesh) planAt(ctx context.Context, u *protocol.UpStack, at holder) (protocol.StackPlan, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	asked := *u
	asked.Record.Signature, asked.Record.Salt = nil, nil
	if !at.holds && at.id != m.cfg.Self {
		asked.Record.Stack = u.Record.Stack.WithoutData()
	}
	return at.stacks.PlanStack(ctx, asked)
}

// UpStack implements protocol.Stacks. The plan that it yields is that of the whole
// mesh; what the holder says of itself is in it.
func (m *Mesh) UpStack(ctx context.Context, u protocol.UpStack, yield func(protocol.StackUpdate) error) error {
	u.Record.By, u.Record.ByName = m.cfg.Self, m.cfg.Name
	if !u.Record.Stack.Complete() {
		return protocol.Errorf(protocol.CodeInvalid, "the stack %s comes without what its files hold", u.Record.Stack.Name)
	}
	candidates, refused, err := m.candidates(ctx, &u)
	if err != nil {
		return err
	}
	t, err := m.firstThatTakes(ctx, &u, candidates)
	if err != nil {
		return err
	}
	plan := t.planned(&u.Record.Stack, refused)
	if plan.Holder == "" {
		if err := yield(protocol.StackUpdate{Plan: &plan}); err != nil {
			return err
		}
		return refusedError(&plan)
	}
	if err := m.sign(&u, &plan); err != nil {
		return err
	}
	name, told := u.Record.Stack.Name, false
	to := relay[protocol.StackUpdate]{yield: yield}
	err = t.at.stacks.UpStack(ctx, u, func(s protocol.StackUpdate) error {
		switch {
		case s.Plan != nil && told:
			return nil
		case s.Plan != nil:
			// The holder's own counts: it may have changed since it was asked.
			plan.Services, plan.Version, plan.Current, told = s.Plan.Services, s.Plan.Version, s.Plan.Current, true
			return to.tell(protocol.StackUpdate{Plan: &plan})
		case s.Accepted > 0 && t.at.id != m.cfg.Self:
			m.cfg.Names.Holds(name, t.at.id, t.at.name, s.Accepted)
		}
		return to.tell(s)
	})
	return m.reached(ctx, t.at, err, to.failed)
}

// sign completes the record that the holder is to keep.
func (m *Mesh) sign(u *protocol.UpStack, plan *protocol.StackPlan) error {
	r := &u.Record
	r.Version, r.Changed = max(plan.Version, plan.Current+1), m.cfg.Now()
	if plan.Current == 0 {
		r.Version = m.newVersion(r.Stack.Name)
	}
	if slices.ContainsFunc(r.Stack.Files, func(f protocol.StackFile) bool { return f.Secret }) {
		r.Salt = m.cfg.Salt()
	}
	return SignRecord(r, m.cfg.Sign)
}

// newVersion is the first one of a stack that is made anew: later than any that a
// holder has that is away.
func (m *Mesh) newVersion(name protocol.StackName) uint64 {
	version := uint64(1)
	for _, s := range m.cfg.Names.holders(name) {
		version = max(version, s.Version+1)
	}
	return version
}
