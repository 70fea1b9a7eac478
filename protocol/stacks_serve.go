package protocol

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/hearth-edge/hearth/protocol/pb"
)

// serveStacks answers one verb of Stacks, whoever asks; see ServeApp and
// ServeExecute. from is the device that does, empty for an app.
func serveStacks(ctx context.Context, w *wire, stacks Stacks, p *pb.Stacks, from PeerID) error {
	switch v := p.GetVerb().(type) {
	case *pb.Stacks_Up:
		return serveUp(ctx, w, stacks, v.Up, from)
	case *pb.Stacks_List:
		return serveListStacks(ctx, w, stacks, v.List)
	case *pb.Stacks_Control:
		c, err := controlFromPB(v.Control)
		return serveStackItems(ctx, w, err, func(ctx context.Context, _ sendItem) error {
			return stacks.ControlStack(ctx, c)
		})
	case *pb.Stacks_Logs:
		l, err := logsFromPB(v.Logs)
		return serveStackItems(ctx, w, err, func(ctx context.Context, send sendItem) error {
			return stacks.StackLogs(ctx, l, func(line LogLine) error { return send.document(documentLine, clippedLine(line)) })
		})
	case *pb.Stacks_History:
		name, err := stackRef(v.History.GetName())
		return serveStackItems(ctx, w, err, func(ctx context.Context, send sendItem) error {
			return stacks.StackHistory(ctx, name, func(r StackRecord) error { return send.document(documentRecord, r.Public()) })
		})
	case *pb.Stacks_Rollback:
		r, err := rollbackFromPB(v.Rollback)
		return serveStackItems(ctx, w, err, func(ctx context.Context, send sendItem) error {
			return stacks.RollbackStack(ctx, r, send.update)
		})
	}
	return w.reject(unknownVerb())
}

// admittedStacks are a member's stacks for a peer: who may have none here does
// nothing to them and reads neither their output nor their environment. UpStack and
// PlanStack tell the same as a refusal.
type admittedStacks struct {
	Member
	from PeerID
}

func (a admittedStacks) ControlStack(ctx context.Context, c ControlStack) error {
	if err := a.AdmitStacks(a.from); err != nil {
		return err
	}
	return a.Member.ControlStack(ctx, c)
}

func (a admittedStacks) StackLogs(ctx context.Context, l StackLogs, yield func(LogLine) error) error {
	if err := a.AdmitStacks(a.from); err != nil {
		return err
	}
	return a.Member.StackLogs(ctx, l, yield)
}

func (a admittedStacks) StackHistory(ctx context.Context, name StackName, yield func(StackRecord) error) error {
	if err := a.AdmitStacks(a.from); err != nil {
		return err
	}
	return a.Member.StackHistory(ctx, name, yield)
}

func (a admittedStacks) RollbackStack(ctx context.Context, r RollbackStack, yield func(StackUpdate) error) error {
	if err := a.AdmitStacks(a.from); err != nil {
		return err
	}
	return a.Member.RollbackStack(ctx, r, yield)
}

// serveListStacks tells that a list is whole after each one.
func serveListStacks(ctx context.Context, w *wire, stacks Stacks, p *pb.ListStacks) error {
	l, err := listStacksFromPB(p)
	if err != nil {
		return w.answer(err)
	}
	return serveList(ctx, w, func(ctx context.Context, send func(proto.Message) error) error {
		item := sendItem(func(i *pb.StacksItem) error { return send(i) })
		return stacks.ListStacks(ctx, l, func(list []StackStatus) error {
			for i := range list[:min(len(list), MaxStacksListed)] {
				if err := item.document(documentStatus, &list[i]); err != nil {
					return err
				}
			}
			return item(completeStacks)
		})
	}, lastStacksItem)
}

// serveUp reads the document that follows the first frame. Who asks has proved
// that he may.
func serveUp(ctx context.Context, w *wire, stacks Stacks, p *pb.UpStack, from PeerID) error {
	u, err := w.receiveUp(p)
	if err != nil {
		return w.reject(err)
	}
	if from == "" {
		u.Record = StackRecord{Stack: u.Record.Stack}
	} else if u.Record.By != from {
		err = Errorf(CodeInvalid, "stack: the record says that another device than the asker changed it")
	}
	return serveStackItems(ctx, w, err, func(ctx context.Context, send sendItem) error {
		if !p.GetPlan() {
			return stacks.UpStack(ctx, u, send.update)
		}
		plan, err := stacks.PlanStack(ctx, u)
		if err != nil {
			return err
		}
		return send.document(documentPlan, &plan)
	})
}

// sendItem sends one item.
type sendItem func(*pb.StacksItem) error

// document sends v in as many items as it takes.
func (send sendItem) document(kind documentKind, v any) error {
	items, err := documentItems(kind, v)
	if err != nil {
		return err
	}
	for _, item := range items {
		if err := send(item); err != nil {
			return err
		}
	}
	return nil
}

func (send sendItem) update(u StackUpdate) error {
	switch {
	case u.Plan != nil:
		return send.document(documentPlan, u.Plan)
	case u.Status != nil:
		return send.document(documentStatus, u.Status)
	case u.Accepted > 0:
		return send(&pb.StacksItem{Item: &pb.StacksItem_Accepted{Accepted: u.Accepted}})
	}
	return nil
}

// serveStackItems serves a verb, unless it was asked for wrongly, and tells that it
// is done.
func serveStackItems(ctx context.Context, w *wire, wrong error, list func(context.Context, sendItem) error) error {
	if wrong != nil {
		return w.answer(wrong)
	}
	return serveList(ctx, w, func(ctx context.Context, send func(proto.Message) error) error {
		if err := list(ctx, func(item *pb.StacksItem) error { return send(item) }); err != nil {
			return err
		}
		return send(completeStacks)
	}, lastStacksItem)
}

var completeStacks = &pb.StacksItem{Item: &pb.StacksItem_Complete{Complete: &pb.Complete{}}}

func lastStacksItem(e *pb.Error) proto.Message {
	return &pb.StacksItem{Item: &pb.StacksItem_Error{Error: e}}
}
