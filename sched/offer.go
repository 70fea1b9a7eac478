package sched

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// errUnreachable: the offer never left this device.
var errUnreachable = errors.New("cannot be reached")

// place offers the request to one node after the other until one takes it, and
// returns the execution's session; nil when the request has ended instead, or ctx.
func (r *request) place(ctx context.Context) protocol.Session {
	for {
		if r.stopping() {
			r.dropFirstPlacement()
			r.endUnplaced()
			return nil
		}
		if ctx.Err() != nil {
			r.dropFirstPlacement()
			return nil
		}
		if !r.secrets.complete() {
			r.endWithoutSecrets()
			return nil
		}
		changed := r.o.cfg.View.Changed() // before looking, to miss nothing
		p := r.choose(ctx)
		if !p.found && r.awaitMesh(ctx, changed, p) {
			continue
		}
		r.progress.addDecision(p.decision)
		if !p.found {
			r.refuse(&p.decision)
			return nil
		}
		r.node, r.name = p.Node, nameOr(p.Name, p.Node)
		if !p.persisted && !r.persistOffer(ctx) {
			r.o.cfg.View.OfferFailed(p.Node)
			return nil
		}
		s, err := r.offer(ctx, p.Choice)
		if err == nil {
			r.publish(protocol.Event{State: r.state}) // with the node that takes it
			return s
		}
		if !r.mayOfferAgain(ctx, err) {
			return nil
		}
		r.node, r.name = "", ""
	}
}

// A placement is what becomes of choosing a node.
type placement struct {
	Choice
	found     bool // there is a node
	persisted bool // the offer is written down
	decision  protocol.Decision
}

// choose returns the node that is offered the request next.
func (r *request) choose(ctx context.Context) *placement {
	if p := r.firstPlacement; p != nil {
		r.firstPlacement = nil
		return p
	}
	r.refreshDemand(ctx)
	return r.o.choose(&r.demand)
}

// dropFirstPlacement gives up a first offer that was not sent.
func (r *request) dropFirstPlacement() {
	p := r.firstPlacement
	if p == nil {
		return
	}
	r.firstPlacement = nil
	r.o.cfg.View.OfferFailed(p.Node)
	if p.persisted {
		r.withdrawOffer()
	}
}

// refreshDemand updates the demand. Hours may lie between two attempts, and
// after a restart the mesh is known only by and by. What nodes said of this
// request stays.
func (r *request) refreshDemand(ctx context.Context) {
	d := r.o.demand(ctx, &r.service)
	d.Refusals, d.Excluded, d.NoFetch = r.demand.Refusals, r.demand.Excluded, r.demand.NoFetch || d.NoFetch
	d.Waited = r.demand.Waited
	r.demand = d
}

// endUnplaced ends the request because somebody wanted that before it was placed.
func (r *request) endUnplaced() {
	when := "cancelled before it was placed"
	if r.lostAttempts > 0 {
		when = "cancelled before it was run again"
	}
	r.end(protocol.StateCancelled, protocol.CodeCancelled, "%s", when)
}

// awaitMesh waits for a change of the mesh, and reports whether to look again.
// It waits for devices that have just started and may run work. It waits after
// a restart of this device, which knows nobody at first. And it waits after a
// lost attempt, whose node may be the only one.
func (r *request) awaitMesh(ctx context.Context, changed <-chan struct{}, p *placement) bool {
	now, until := r.o.cfg.Clock(), r.nodeDeadline
	if p.Pending {
		if r.readyDeadline == 0 {
			r.readyDeadline = now + r.o.cfg.Params.ReadyTimeout
			r.publishNote(protocol.CodeNotReady, "waiting up to %v for devices that have just started", r.o.cfg.Params.ReadyTimeout)
		}
		until = max(until, r.readyDeadline)
	}
	left := until - now
	if left <= 0 {
		return false
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-r.control.stopping:
	case <-ctx.Done():
	}
	r.resetAvoided()
	return true
}

// offer proposes the request to the chosen node. The error is a
// *protocol.Refusal, errUnreachable, or means that the answer was lost and
// could not be found out: then it is errGone, errForgotten or ctx's.
func (r *request) offer(ctx context.Context, c Choice) (protocol.Session, error) {
	view := r.o.cfg.View
	executor, err := r.o.cfg.Executor(c.Node)
	if err != nil {
		view.OfferFailed(c.Node)
		return nil, fmt.Errorf("%w: %w", errUnreachable, err)
	}
	offer := protocol.Offer{
		Request: r.id, Attempt: r.attempt, Service: r.secrets.fill(r.service), Bound: c.Bound,
		Forced: c.Only || r.demand.Refusals >= r.o.cfg.Params.RefusableOffers, MaxWait: c.MaxWait,
	}
	if r.o.cfg.ImageID != nil && c.Node != r.o.cfg.Self && r.service.Pull != protocol.PullAlways {
		offer.ImageID = r.o.cfg.ImageID(ctx, r.service.Image)
	}
	if r.leased() {
		offer.Lease = r.o.cfg.Params.Lease
		r.o.leases.begin(r.id, r.attempt, r.node)
	}
	timed, cancel := context.WithTimeout(ctx, r.o.cfg.Params.answerTimeout(r.size))
	s, err := executor.Offer(timed, offer)
	cancel()
	refusal, refused := errors.AsType[*protocol.Refusal](err)
	if err != nil && !refused {
		r.log.Warn("no answer to an offer", "peer", c.Node, "attempt", r.attempt, "err", err)
		s, err = r.reattach(ctx, newReattachBackoff(&r.o.cfg.Params, r.o.cfg.Params.ReattachTimeout))
	}
	switch {
	case err == nil:
		r.offeredAt = r.o.cfg.Clock()
		view.OfferAccepted(c.Node)
	case refused:
		view.OfferRefused(c.Node, refusal.Load)
	default:
		view.OfferFailed(c.Node)
	}
	return s, err
}

// mayOfferAgain decides, after an offer came to nothing, whether there may be another
// one; if not, it ends the request, or lets it go. An offer whose answer was lost is repeated
// only when the node surely has not got it.
func (r *request) mayOfferAgain(ctx context.Context, err error) bool {
	refusal, refused := errors.AsType[*protocol.Refusal](err)
	switch {
	case refused && refusal.Code == protocol.CodeLeaving && r.node == r.o.cfg.Self:
		<-ctx.Done() // which is about to come: this device shuts down
		return false
	case refused && refusal.Code == protocol.CodeBusy && r.demand.Refusals < r.o.cfg.Params.RefusableOffers:
		r.demand.Refusals++
		r.publishNote(refusal.Code, "%s is busy: %s", r.name, refusal.Reason)
	case refused:
		r.publishNote(refusal.Code, "%s refuses: %s", r.name, refusal.Reason)
		if transient(refusal.Code) {
			r.avoid(r.node, refusal)
		} else {
			r.exclude(r.node, refusal)
		}
	case errors.Is(err, errUnreachable):
		r.log.Info("node not reached", "peer", r.node, "err", err)
		r.publishNote(protocol.CodeNodeLost, "%s cannot be reached", r.name)
		r.avoid(r.node, &protocol.Refusal{Code: protocol.CodeNodeLost, Reason: "cannot be reached"})
	case errors.Is(err, errForgotten) && !r.o.leases.granted(r.id):
		r.publishNote(protocol.CodeNodeLost, "%s never got the offer", r.name)
		r.avoid(r.node, &protocol.Refusal{Code: protocol.CodeNodeLost, Reason: "did not get the offer: the connection broke"})
		r.attempt++
	case errors.Is(err, errForgotten):
		r.connectionLost(ctx, err)
		return false
	case leaving(ctx):
		return false
	default:
		r.attemptLost(protocol.Event{State: protocol.StateUnknown, Code: lostCode(ctx), Reason: fmt.Sprintf(
			"%s did not answer the offer: %s; whether it runs there is not known", r.name, lostReason(ctx, r.reattachTimeout(r.o.cfg.Params.ReattachTimeout)))})
		return false
	}
	return true
}

// exclude leaves a node out of all further placements of this request.
func (r *request) exclude(node protocol.PeerID, why *protocol.Refusal) {
	if r.demand.Excluded == nil {
		r.demand.Excluded = make(map[protocol.PeerID]*protocol.Refusal)
	}
	r.demand.Excluded[node] = why
}

// refuse ends the request because there is no node for it.
func (r *request) refuse(d *protocol.Decision) {
	if r.endAsLastAttempt() {
		return
	}
	r.node, r.name = "", ""
	asked := r.service.Constraints.Node
	if asked == "" {
		r.end(protocol.StateRefused, protocol.CodeNoNode, "no node can run it: %s", reasons(d))
		return
	}
	for i := range d.Candidates {
		if c := &d.Candidates[i]; c.Name == asked || string(c.Node) == asked {
			r.end(protocol.StateRefused, protocol.CodeNoNode, "no other node is allowed, and %s %s", asked, c.Excluded)
			return
		}
	}
	r.end(protocol.StateRefused, protocol.CodeUnknownNode, "no device named %s is in the mesh; there are: %s", asked, names(d))
}

// listed is how many devices a text names; the decision has them all.
const listed = 8

// reasons tells why the devices of a decision were left out, those with the same
// reason together.
func reasons(d *protocol.Decision) string {
	var parts []string
	at := make(map[string]int) // of a reason in parts
	for _, c := range d.Candidates[:min(len(d.Candidates), listed)] {
		name := nameOr(c.Name, c.Node)
		if i, ok := at[c.Excluded]; ok {
			parts[i] += ", " + name
			continue
		}
		at[c.Excluded] = len(parts)
		parts = append(parts, name)
	}
	for why, i := range at {
		parts[i] += ": " + why
	}
	return withMore(d, parts)
}

func names(d *protocol.Decision) string {
	var parts []string
	for _, c := range d.Candidates[:min(len(d.Candidates), listed)] {
		parts = append(parts, nameOr(c.Name, c.Node))
	}
	return withMore(d, parts)
}

// withMore joins what is told of the first devices with how many there are more.
func withMore(d *protocol.Decision, parts []string) string {
	if more := len(d.Candidates) + d.Unnamed - listed; more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(parts, "; ")
}

func nameOr(name string, node protocol.PeerID) string {
	if name == "" {
		return string(node)
	}
	return name
}
