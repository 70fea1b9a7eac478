package main

import (
	"testing"

	"github.com/hearth-edge/hearth/protocol"
)

// TestEveryShownStateIsFilterable: what a list shows in the column STATE is a word
// for --filter status=.
func TestEveryShownStateIsFilterable(t *testing.T) {
	shown := func(state protocol.State, place uint32) *protocol.RequestInfo {
		return &protocol.RequestInfo{Image: "nas:5000/work:1", Last: protocol.Event{State: state, QueuePlace: place}}
	}
	for _, c := range []struct {
		request *protocol.RequestInfo
		filter  string
		fits    bool
	}{
		{shown(protocol.StatePlacing, 2), "status=queued", true},
		{shown(protocol.StatePlacing, 2), "status=placing", true},
		{shown(protocol.StatePlacing, 0), "status=queued", false},
		{shown(protocol.StateCancelled, 2), "status=queued", false},
		{shown(protocol.StateCancelled, 0), "status=exited", true},
		{shown(protocol.StateSucceeded, 0), "exited=0", true},
		{shown(protocol.StateSucceeded, 0), "exited=1", false},
		{shown(protocol.StateRunning, 0), "exited=0", false},
		{shown(protocol.StateRunning, 0), "image=nas:5000/work", true},
		{shown(protocol.StateRunning, 0), "ancestor=nas:5000/work:1", true},
		{shown(protocol.StateRunning, 0), "image=nas:5000/wor", false},
	} {
		filters, err := parseFilters([]string{c.filter})
		if err != nil {
			t.Fatal(err)
		}
		if got := fitsAll(c.request, filters); got != c.fits {
			t.Errorf("%v fits %s: %v, want %v", stateText(&c.request.Last), c.filter, got, c.fits)
		}
	}
	for s := protocol.StateAccepted; s <= protocol.StateUnknown; s++ {
		if _, err := parseFilters([]string{"status=" + s.String()}); err != nil {
			t.Errorf("%v is shown, and no state for a filter: %v", s, err)
		}
	}
}

// TestEndedStatesAreListedWithoutAll: who asks for what has ended gets it.
func TestEndedStatesAreListedWithoutAll(t *testing.T) {
	for filter, want := range map[string]bool{
		"status=queued": false, "status=running": false, "status=failed": true, "status=unknown": true, "status=exited": true, "exited=3": true, "name=exited": false,
	} {
		if got := endedOnly([]string{filter}); got != want {
			t.Errorf("%s lists what has ended: %v", filter, got)
		}
	}
}
