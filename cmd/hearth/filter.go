package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hearth-edge/hearth/protocol"
)

// A filter says whether a list shows a request.
type filter func(*protocol.RequestInfo) bool

// filterStates are the words for --filter status=STATE: those that a list shows.
// exited is docker's for all that have ended.
var filterStates = append(func() (names []string) {
	for s := protocol.StateAccepted; s <= protocol.StateUnknown; s++ {
		names = append(names, s.String())
	}
	return names
}(), stateQueued, "exited")

// stateQueued is what a list shows of a request that waits on its node.
const stateQueued = "queued"

// parseFilters reads docker's form; what fits all of them is shown.
func parseFilters(texts []string) ([]filter, error) {
	var all []filter
	for _, text := range texts {
		key, value, ok := strings.Cut(text, "=")
		if !ok || value == "" {
			return nil, &failure{err: fmt.Errorf("--filter %q: not of the form KEY=VALUE", text), hint: filterHint}
		}
		f, err := newFilter(key, value)
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

const filterHint = "the keys are name, label (K or K=V), status, exited, image, node, from and id"

func newFilter(key, value string) (filter, error) {
	switch key {
	case "name":
		return func(r *protocol.RequestInfo) bool { return r.Tags[protocol.TagName] == value }, nil
	case "id":
		return func(r *protocol.RequestInfo) bool { return strings.HasPrefix(string(r.ID), value) }, nil
	case "label":
		k, want, exact := strings.Cut(value, "=")
		return func(r *protocol.RequestInfo) bool {
			got, ok := r.Tags[k]
			return ok && (!exact || got == want)
		}, nil
	case "image", "ancestor": // the latter is docker's
		return func(r *protocol.RequestInfo) bool { return sameImage(r.Image, value) }, nil
	case "exited":
		code, err := strconv.ParseUint(value, 10, 8)
		if err != nil {
			return nil, &failure{err: fmt.Errorf("--filter exited=%s: not an exit code", value), hint: "write it like exited=137; status=exited is whatever has ended"}
		}
		return func(r *protocol.RequestInfo) bool { return r.Last.HasExitCode() && r.Last.ExitCode == int(code) }, nil
	case "from":
		return func(r *protocol.RequestInfo) bool {
			return r.OrchestratorName == value || string(r.Orchestrator) == value
		}, nil
	case "node":
		return func(r *protocol.RequestInfo) bool {
			return r.Last.Node != "" && (r.Last.NodeName == value || string(r.Last.Node) == value)
		}, nil
	case "status":
		if !slices.Contains(filterStates, value) {
			return nil, &failure{err: fmt.Errorf("--filter status=%s: there is no such state", value), hint: "there are: " + strings.Join(filterStates, ", ")}
		}
		return func(r *protocol.RequestInfo) bool {
			return r.Last.State.String() == value || value == "exited" && r.Last.State.Ended() || value == stateQueued && isQueued(&r.Last)
		}, nil
	}
	return nil, &failure{err: fmt.Errorf("--filter %s=%s: there is no such key", key, value), hint: filterHint}
}

// sameImage reports whether an image is the one that a filter names, with or without
// its tag.
func sameImage(image, filter string) bool {
	rest, ok := strings.CutPrefix(image, filter)
	return ok && (rest == "" || rest[0] == ':' || rest[0] == '@')
}

func isQueued(e *protocol.Event) bool { return e.QueuePlace > 0 && !e.State.Ended() }

func fitsAll(r *protocol.RequestInfo, filters []filter) bool {
	return !slices.ContainsFunc(filters, func(f filter) bool { return !f(r) })
}

// endedOnly reports whether a filter asks for what has ended, which a list shows
// with --all only; to ask for it is to want it.
func endedOnly(texts []string) bool {
	return slices.ContainsFunc(texts, func(text string) bool {
		key, value, _ := strings.Cut(text, "=")
		ended := value == "exited" || slices.Contains(filterStates[protocol.StateSucceeded-1:len(filterStates)-2], value)
		return key == "exited" || key == "status" && ended
	})
}

func completeFilters(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	all := []cobra.Completion{"name=", "label=", "exited=", "image=", "node=", "from=", "id="}
	for _, s := range filterStates {
		all = append(all, "status="+s)
	}
	return all, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}
