package testnet_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/testnet/inproc"
)

// TestRequestsEverywhere: what was asked of one device can be listed, inspected,
// attached to, watched and stopped from any other, by a beginning of its ID.
func TestRequestsEverywhere(t *testing.T) {
	t.Parallel()
	mesh := inproc.Start(t, 3, inproc.Options{})
	here, there, watching := mesh.Nodes[0].App, mesh.Nodes[1].App, mesh.Nodes[2].App
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	cancelled := errors.New("seen")
	watched, begun := make(chan error, 1), make(chan struct{})
	go func() {
		watched <- watching.Watch(ctx, func() { close(begun) }, func(e protocol.Event) error {
			if e.Request == "longrunner" && e.State == protocol.StateCancelled {
				return cancelled
			}
			return nil
		})
	}()
	<-begun
	session, err := here.Run(ctx, protocol.Run{
		ID: "longrunner", Detach: true,
		Service: protocol.Service{Image: inproc.Image, Args: []string{"out=begun", "sleep=1h"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	_ = session.Close()

	// Its output reaches another device, where it goes on from any position.
	far, err := there.Attach(ctx, protocol.Attach{Request: "long", Stdout: 2})
	if err != nil {
		t.Fatal(err)
	}
	if got := readOutput(t, far, 3); got != "gun" {
		t.Errorf("attached from 2 on, the output is %q", got)
	}
	_ = far.Close()

	detail, err := there.Inspect(ctx, "longrun")
	if err != nil {
		t.Fatal(err)
	}
	if detail.OrchestratorName != "node1" || detail.Last.State != protocol.StateRunning || !detail.Detached || len(detail.Decisions) == 0 {
		t.Errorf("inspected on another device it is %+v", detail)
	}
	if ids := listIDs(t, there, false); !slices.Equal(ids, []string{"longrunner"}) {
		t.Errorf("listed on another device: %q", ids)
	}
	if err := there.Stop(ctx, protocol.Stop{Request: "longr", Grace: time.Second}); err != nil {
		t.Fatal(err)
	}
	if err := <-watched; !errors.Is(err, cancelled) {
		t.Errorf("watched on a third device: %v", err)
	}
	if ids := listIDs(t, there, false); len(ids) != 0 {
		t.Errorf("after its end, listed: %q", ids)
	}
	if ids := listIDs(t, watching, true); !slices.Equal(ids, []string{"longrunner"}) {
		t.Errorf("after its end, listed with all: %q", ids)
	}

	// A device that left takes the answers along, and that is said in time.
	mesh.Nodes[0].Stop()
	_, err = there.Inspect(ctx, "longrunner")
	if protocol.CodeOf(err) != protocol.CodeNotFound || !strings.Contains(err.Error(), "longrunner") {
		t.Errorf("asked for what only a device that left knows: %v", err)
	}
}

func listIDs(t *testing.T, app *protocol.AppClient, all bool) []string {
	t.Helper()
	var ids []string
	_, err := app.List(t.Context(), all, func(r protocol.RequestInfo) error {
		ids = append(ids, string(r.ID))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// readOutput reads n bytes of what a session's container wrote.
func readOutput(t *testing.T, s protocol.Session, n int) string {
	t.Helper()
	var out strings.Builder
	for out.Len() < n {
		u, err := s.Next()
		if errors.Is(err, io.EOF) {
			t.Fatalf("the session ended after %q", out.String())
		}
		if err != nil {
			t.Fatal(err)
		}
		if u.Output != nil {
			out.Write(u.Output.Data)
		}
	}
	return out.String()
}
