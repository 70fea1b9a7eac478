package protocol

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/hearth-edge/hearth/protocol/pb"
)

// A StacksClient is what another device knows of its stacks. It implements
// Stacks and may be used concurrently: each call opens a stream of its own.
// Besides an *Error, what its methods return says that the device could not be
// reached or the conversation broke.
type StacksClient struct {
	open  func(context.Context) (Stream, error)
	first func(*pb.Stacks) proto.Message // the first frame that asks for it
}

// NewStacksClient returns the stacks of the device that open opens streams of
// ExecuteProtocol to.
func NewStacksClient(open func(context.Context) (Stream, error)) *StacksClient {
	return &StacksClient{open: open, first: func(s *pb.Stacks) proto.Message {
		return &pb.ExecuteRequest{Verb: &pb.ExecuteRequest_Stacks{Stacks: s}}
	}}
}

// PlanStack implements Stacks.
func (c *StacksClient) PlanStack(ctx context.Context, u UpStack) (StackPlan, error) {
	var plan *StackPlan
	err := c.up(ctx, u, true, func(s StackUpdate) error {
		plan = s.Plan
		return nil
	})
	switch {
	case err != nil:
		return StackPlan{}, err
	case plan == nil:
		return StackPlan{}, broken(missing("plan"))
	}
	return *plan, nil
}

// UpStack implements Stacks.
func (c *StacksClient) UpStack(ctx context.Context, u UpStack, yield func(StackUpdate) error) error {
	return c.up(ctx, u, false, yield)
}

func (c *StacksClient) up(ctx context.Context, u UpStack, plan bool, yield func(StackUpdate) error) error {
	u.Record.Stack.Normalize()
	if err := u.validate(); err != nil {
		return err
	}
	p, body, err := upToPB(&u)
	if err != nil {
		return err
	}
	p.Plan = plan
	return c.updates(ctx, opening{c.first(&pb.Stacks{Verb: &pb.Stacks_Up{Up: p}}), body}, yield)
}

// RollbackStack implements Stacks.
func (c *StacksClient) RollbackStack(ctx context.Context, r RollbackStack, yield func(StackUpdate) error) error {
	return c.updates(ctx, c.first(&pb.Stacks{Verb: &pb.Stacks_Rollback{Rollback: rollbackToPB(&r)}}), yield)
}

// updates asks for a change of a stack and yields its steps.
func (c *StacksClient) updates(ctx context.Context, first proto.Message, yield func(StackUpdate) error) error {
	return c.items(ctx, first, false, func(m *pb.StacksItem, doc *document) error {
		if v, ok := m.GetItem().(*pb.StacksItem_Accepted); ok {
			return yield(StackUpdate{Accepted: v.Accepted})
		}
		switch doc.kind {
		case documentPlan:
			p, err := decodePlan(doc.json)
			if err != nil {
				return broken(err)
			}
			return yield(StackUpdate{Plan: &p})
		case documentStatus:
			s, err := decodeStatus(doc.json)
			if err != nil {
				return broken(err)
			}
			return yield(StackUpdate{Status: &s})
		}
		return nil
	})
}

// ListStacks implements Stacks.
func (c *StacksClient) ListStacks(ctx context.Context, l ListStacks, yield func([]StackStatus) error) error {
	verb := &pb.Stacks{Verb: &pb.Stacks_List{List: &pb.ListStacks{Name: string(l.Name), All: l.All, Watch: l.Watch}}}
	list := []StackStatus{}
	return c.items(ctx, c.first(verb), l.Watch, func(m *pb.StacksItem, doc *document) error {
		if _, ok := m.GetItem().(*pb.StacksItem_Complete); ok {
			whole := list
			list = []StackStatus{}
			return yield(whole)
		}
		if doc.kind != documentStatus {
			return nil
		}
		if len(list) == MaxStacksListed {
			return Errorf(CodeInvalid, "list: more than %d stacks", MaxStacksListed)
		}
		s, err := decodeStatus(doc.json)
		if err != nil {
			return broken(err)
		}
		list = append(list, s)
		return nil
	})
}

// ControlStack implements Stacks.
func (c *StacksClient) ControlStack(ctx context.Context, s ControlStack) error {
	verb := &pb.Stacks{Verb: &pb.Stacks_Control{Control: controlToPB(&s)}}
	return c.items(ctx, c.first(verb), false, func(*pb.StacksItem, *document) error { return nil })
}

// StackLogs implements Stacks. When ctx ends, it returns ctx's cause.
func (c *StacksClient) StackLogs(ctx context.Context, l StackLogs, yield func(LogLine) error) error {
	verb := &pb.Stacks{Verb: &pb.Stacks_Logs{Logs: logsToPB(&l)}}
	return c.items(ctx, c.first(verb), false, func(_ *pb.StacksItem, doc *document) error {
		if doc.kind != documentLine {
			return nil
		}
		line, err := decodeLine(doc.json)
		if err != nil {
			return broken(err)
		}
		return yield(line)
	})
}

// StackHistory implements Stacks.
func (c *StacksClient) StackHistory(ctx context.Context, name StackName, yield func(StackRecord) error) error {
	verb := &pb.Stacks{Verb: &pb.Stacks_History{History: &pb.StackHistory{Name: string(name)}}}
	return c.items(ctx, c.first(verb), false, func(_ *pb.StacksItem, doc *document) error {
		if doc.kind != documentRecord {
			return nil
		}
		r, err := decodeRecord(doc.json)
		if err == nil {
			err = r.validate()
		}
		if err != nil {
			return broken(err)
		}
		return yield(r)
	})
}

// items asks, and calls each for every item that comes until they are complete, the
// item that says so included, with the document that is whole with it. A watch goes
// on after that.
func (c *StacksClient) items(ctx context.Context, first proto.Message, watch bool, each func(*pb.StacksItem, *document) error) error {
	var parts documentParts
	return collect(ctx, c.open, first, func() {}, func(w *wire) (done bool, err error) {
		m := new(pb.StacksItem)
		if err := w.receive(m); err != nil {
			return false, broken(unexpected(err))
		}
		switch v := m.GetItem().(type) {
		case *pb.StacksItem_Error:
			return false, errorFromPB(v.Error)
		case *pb.StacksItem_Complete:
			return !watch, each(m, &document{})
		case *pb.StacksItem_Accepted:
			return false, each(m, &document{})
		}
		doc, err := parts.add(m)
		if err != nil || doc == nil {
			return false, err
		}
		return false, each(m, doc)
	})
}
