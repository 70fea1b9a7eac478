package web

import (
	"testing"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/protocol/api"
)

// TestStacks: listed, and watched: a line for each that changed or is gone.
func TestStacks(t *testing.T) {
	r := start(t)
	photos := protocol.StackStatus{Name: "photos", Version: 2, Holder: "12D3KooWattic", HolderName: "attic", State: protocol.StackUp,
		Instances: []protocol.InstanceStatus{{Service: "web", State: protocol.InstanceRunning, Image: "photos:1"}}}
	r.app.setStacks(photos, protocol.StackStatus{Name: "wiki", Holder: "12D3KooWporch", HolderName: "porch", State: protocol.StackStopped})
	var list []api.StackStatus
	r.ask("GET", "/v1/stacks", "").into(t, 200, &list)
	if len(list) != 2 || list[0].Name != "photos" || list[0].Instances[0].Service != "web" || list[1].Instances == nil {
		t.Errorf("listed %+v", list)
	}
	watched, stop := r.stream("/v1/stacks?watch")
	defer stop()
	if a, b, c := watched.next(), watched.next(), watched.next(); a["name"] != "photos" || b["name"] != "wiki" || c["begun"] != true {
		t.Errorf("first told %v, %v, %v", a, b, c)
	}
	photos.State, photos.Reason = protocol.StackDegraded, "web ended with 1"
	r.app.setStacks(photos)
	if a, b := watched.next(), watched.next(); a["state"] != "degraded" || b["name"] != "wiki" || b["gone"] != true {
		t.Errorf("then told %v, %v", a, b)
	}
}
