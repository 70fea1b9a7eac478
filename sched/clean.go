package sched

import (
	"context"
	"errors"
	"io"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/sched/journal"
)

// clean has the node of a removed request drop its last attempt; by itself the
// node keeps the output for minutes. An attempt that may still run is killed
// when the node is there, over restarts of this device too, as long as the
// removal is remembered. One that has ended is worth ReattachTimeout. At most
// MaxUnknown are under way.
func (t *table) clean(x journal.Removal, node protocol.PeerID) {
	p := &t.o.cfg.Params
	if node == "" || x.Attempt == 0 {
		return
	}
	if t.cleaning >= p.MaxUnknown {
		t.o.cfg.Log.Warn("a removed request is not dropped at its node: too many others are", "request", x.ID, "peer", node)
		return
	}
	t.cleaning++
	o := t.o
	t.launch(func(run context.Context) {
		ctx, cancel := context.WithCancel(run)
		if x.Node == "" {
			ctx, cancel = context.WithTimeout(run, p.ReattachTimeout)
		}
		defer cancel()
		o.dropAt(ctx, node, protocol.Attach{Request: x.ID, Attempt: x.Attempt, NoOutput: true, Forget: true})
		_ = o.do(run, func(t *table) { t.cleaning-- })
	})
}

// dropAt has the node drop an execution, as often as it takes until ctx ends.
func (o *Orchestrator) dropAt(ctx context.Context, node protocol.PeerID, a protocol.Attach) {
	backoff := newReattachBackoff(&o.cfg.Params, 0)
	for {
		if !o.cfg.View.Connected(node) {
			o.peerWaiter.await(ctx, node)
			backoff.pause = 0
		}
		backoff.wait(ctx)
		if ctx.Err() != nil {
			return
		}
		err := o.dropOnce(ctx, node, a)
		if err == nil || protocol.CodeOf(err) == protocol.CodeNotFound {
			return
		}
		o.cfg.Log.Debug("a removed request was not dropped at its node", "request", a.Request, "peer", node, "err", err)
	}
}

// dropOnce kills the execution, where it has not ended, and reads its end, which is
// when the node drops it.
func (o *Orchestrator) dropOnce(ctx context.Context, node protocol.PeerID, a protocol.Attach) error {
	executor, err := o.cfg.Executor(node)
	if err != nil {
		return err
	}
	asking, cancel := context.WithTimeout(ctx, o.cfg.Params.AnswerTimeout)
	s, err := executor.Attach(asking, a)
	cancel()
	if err != nil {
		return err
	}
	defer s.Close()
	defer context.AfterFunc(ctx, func() { s.Close() })()
	if err := s.Stop(0); err != nil {
		return err
	}
	for {
		if _, err := s.Next(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}
