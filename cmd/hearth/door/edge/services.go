package edge

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// executionType is the one that Hearth has.
const executionType = "container"

// The tags that keep what a client said of its request.
const (
	tagService   = "edge.service"
	tagRequester = "edge.requester"
)

// serviceAnswer is what a request for a service comes to. RequestID and Reason are
// Hearth's own: clients skip keys that they do not know.
type serviceAnswer struct {
	Message          string
	RemoteTargetInfo *target // null where the request is malformed
	ServiceName      string
	RequestID        protocol.RequestID `json:",omitempty"`
	Reason           string             `json:",omitempty"`
}

type target struct{ ExecutionType, Target string }

// services runs a container, and answers when a node has taken it.
func (h *handler) services(r *http.Request, f fields) any {
	name, run, problem := h.runOf(r.Context(), f)
	if problem != nil {
		return problem
	}
	session, err := h.App.Run(r.Context(), run)
	if err != nil {
		return failed(name, run.ID, messageOf(protocol.CodeOf(err)), publicText(err))
	}
	o := follow(r.Context(), session, h.grace)
	if o.message != msgNone {
		return failed(name, run.ID, o.message, o.reason)
	}
	return serviceAnswer{
		Message: msgNone, ServiceName: name, RequestID: run.ID,
		RemoteTargetInfo: &target{executionType, h.addressOf(r.Context(), o.node)},
	}
}

func failed(name string, id protocol.RequestID, message, reason string) serviceAnswer {
	return serviceAnswer{Message: message, ServiceName: name, RemoteTargetInfo: &target{}, RequestID: id, Reason: reason}
}

// runOf reads what is to be run; problem is the answer where that cannot be.
func (h *handler) runOf(ctx context.Context, f fields) (name string, run protocol.Run, problem *serviceAnswer) {
	invalid := func(reason string) (string, protocol.Run, *serviceAnswer) {
		return name, run, &serviceAnswer{Message: msgInvalid, ServiceName: name, Reason: reason}
	}
	if f == nil {
		return invalid("the body is no JSON object")
	}
	given, ok := f.text("ServiceName")
	if !ok {
		return invalid("ServiceName is missing, or no text")
	}
	name = given
	command, found, reason := commandOf(f["ServiceInfo"])
	if reason != "" {
		return invalid(reason)
	}
	if !found {
		a := failed(name, "", msgNotFound, "ServiceInfo has no service of the type "+executionType+", and no other runs here")
		return name, run, &a
	}
	run, err := h.Parse(command)
	if err != nil {
		return invalid("ExecCmd: " + err.Error())
	}
	h.complete(ctx, &run, f, name)
	if err := run.Service.Validate(); err != nil {
		return invalid(err.Error())
	}
	return name, run, nil
}

// complete adds to a run what the API says beside the command line.
func (h *handler) complete(ctx context.Context, run *protocol.Run, f fields, name string) {
	run.Detach = true
	if run.ID == "" {
		run.ID = protocol.NewRequestID()
	}
	s := &run.Service
	if own, ok := f["SelfSelection"]; ok && own != true {
		text, isText := own.(string)
		s.Constraints.NotHere = s.Constraints.NotHere || own == false || isText && text != "true"
	}
	s.Tags = maps.Clone(s.Tags)
	if s.Tags == nil {
		s.Tags = map[string]string{}
	}
	s.Tags[tagService] = name
	if who, ok := f.text("ServiceRequester"); ok && who != "" {
		s.Tags[tagRequester] = who
	}
	// That project tells a container whom to notify of its end. Nobody serves that
	// here; but a program that wants the variable finds it.
	if !slices.ContainsFunc(s.Env, func(e string) bool { return strings.HasPrefix(e, "REQUEST=") }) {
		s.Env = append(slices.Clone(s.Env), "REQUEST="+h.addressOf(ctx, ""))
	}
}

// commandOf returns what follows "docker run" in the first container of a list of
// services. reason says why the list is malformed.
func commandOf(list any) (command []string, found bool, reason string) {
	services, ok := list.([]any)
	if !ok {
		return nil, false, "ServiceInfo is missing, or no list"
	}
	for _, v := range services {
		s, _ := v.(map[string]any)
		kind, ok := s["ExecutionType"].(string)
		if !ok {
			return nil, false, "ServiceInfo: an entry has no ExecutionType"
		}
		if kind != executionType {
			continue
		}
		words, ok := s["ExecCmd"].([]any)
		if !ok {
			return nil, false, "ExecCmd is missing, or no list"
		}
		for _, w := range words {
			text, ok := w.(string)
			if !ok {
				return nil, false, "ExecCmd: not all of it is text"
			}
			command = append(command, text)
		}
		if len(command) < 3 || command[0] != "docker" || command[1] != "run" {
			return nil, false, `ExecCmd: write it like ["docker", "run", "hello-world"]`
		}
		return command[2:], true, ""
	}
	return nil, false, ""
}

// outcome is what became of a request when it is answered.
type outcome struct {
	message, reason string
	node            protocol.PeerID
}

// follow waits until the container runs or the request ends. Once a node has taken
// it, it waits for no longer than grace. It closes the session; the request goes on,
// also when the client is gone.
func follow(ctx context.Context, session protocol.Session, grace time.Duration) outcome {
	closing := sync.OnceFunc(func() { _ = session.Close() })
	defer closing()
	defer context.AfterFunc(ctx, closing)()
	var (
		taken   protocol.PeerID
		reasons []protocol.Candidate
	)
	for {
		u, err := session.Next()
		switch {
		case err != nil && taken != "":
			return outcome{message: msgNone, node: taken}
		case err != nil:
			return outcome{message: msgInternal, reason: "what became of it is not known: see 'hearth ps --all'"}
		case u.Decision != nil:
			reasons = u.Decision.Candidates
		}
		e := u.Event
		switch {
		case e == nil:
		case e.State == protocol.StateRunning, e.State.Ended() && e.HasExitCode():
			return outcome{message: msgNone, node: e.Node}
		case e.State.Ended():
			return outcome{message: endMessage(e, reasons), reason: e.Reason}
		case e.Node != "" && (e.QueuePlace > 0 || e.State > protocol.StatePlacing):
			if taken == "" {
				defer time.AfterFunc(grace, closing).Stop()
			}
			taken = e.Node
		}
	}
}

// endMessage is that project's word for an end without an exit code.
func endMessage(e *protocol.Event, reasons []protocol.Candidate) string {
	if e.Code != protocol.CodeNoNode {
		return messageOf(e.Code)
	}
	// Each device has its own reason: what its owner forbids says most.
	message := msgNotFound
	for _, c := range reasons {
		switch m := messageOf(c.Code); {
		case c.Code == protocol.CodeNone || c.Excluded == protocol.ReasonDraining:
		case m == msgNotAllowed:
			return m
		case m == msgInternal:
			message = m
		}
	}
	return message
}

// messageOf is that project's word for a code.
func messageOf(code protocol.Code) string {
	switch code {
	case protocol.CodeInvalid, protocol.CodeConflict:
		return msgInvalid
	case protocol.CodePolicy:
		return msgNotAllowed
	case protocol.CodeNoNode, protocol.CodeUnknownNode, protocol.CodeConstraint, protocol.CodeResources, protocol.CodeBusy,
		protocol.CodeNotReady, protocol.CodeLeaving, protocol.CodeQueueTimeout:
		return msgNotFound
	}
	return msgInternal
}

// publicText is what an error says to clients: what is not a *protocol.Error stays
// inside.
func publicText(err error) string {
	if known, ok := errors.AsType[*protocol.Error](err); ok {
		return known.Message
	}
	return "an internal error; the device's log has the details"
}

// addressOf returns the IP of a node's connection, and of this device one of its own,
// where others of the LAN reach it if there is one. An empty id is this device.
func (h *handler) addressOf(ctx context.Context, id protocol.PeerID) (ip string) {
	_ = h.App.Devices(ctx, false, func(ds []protocol.Device) error {
		for i := range ds {
			d := &ds[i]
			switch {
			case d.Self && (id == "" || d.Status.Node == id):
				ip = ownIP(d.Status.Addresses)
				return nil
			case id != "" && d.Status.Node == id:
				ip = ipOf(d.Address)
				return nil
			}
		}
		return nil
	})
	return ip
}

// ownIP returns the first address that is not loopback alone, of IPv4 if there is one.
func ownIP(addrs []string) string {
	best, rank := "", 0
	for _, a := range addrs {
		ip := net.ParseIP(ipOf(a))
		r := 1
		switch {
		case ip == nil:
			continue
		case !ip.IsLoopback() && ip.To4() != nil:
			r = 3
		case !ip.IsLoopback():
			r = 2
		}
		if r > rank {
			best, rank = ip.String(), r
		}
	}
	return best
}

// ipOf returns the IP of a multiaddr, such as /ip4/192.168.1.2/tcp/7117.
func ipOf(multiaddr string) string {
	parts := strings.Split(multiaddr, "/")
	for i := 1; i+1 < len(parts); i++ {
		if parts[i] == "ip4" || parts[i] == "ip6" {
			return parts[i+1]
		}
	}
	return ""
}
