package bench

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"

	"github.com/hearth-edge/hearth/p2p/app"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/testnet"
	"github.com/hearth-edge/hearth/testnet/netns"
)

// BenchmarkRequest: a container that ends at once, asked for on one device of a
// mesh of three and run by another, beside the raw Engine API creating and
// starting the same container, in turns. Limits: accepted by the winner within
// 5 ms, started within 10 ms of the raw API.
func BenchmarkRequest(b *testing.B) {
	secret := testnet.NewSecret(b)
	image := testnet.Image(b)
	lan := netns.New(b)
	var nodes []*testnet.Node
	for _, name := range []string{"first", "second", "third"} {
		nodes = append(nodes, lan.AddHost(name).StartNode(b, testnet.Options{Secret: secret}))
	}
	nodes[0].WaitNodes(3)
	conn, err := app.Dial(b.Context(), nodes[0].State)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	device := protocol.NewAppClient(conn.Open, conn.Token())
	engine, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		b.Fatal(err)
	}
	defer engine.Close()

	var accepted, started, raw, ended series
	for b.Loop() {
		times := timeRequest(b, device, image)
		awaitRemoval(b, engine, times.container)
		accepted.add(times.accepted)
		started.add(times.started)
		ended.add(times.ended)
		raw.add(timeRaw(b, engine, image))
	}
	accepted.report(b, "accepted")
	started.report(b, "started")
	raw.report(b, "raw-started")
	ended.report(b, "ended")
	b.ReportMetric(float64(started.at(0.5)-raw.at(0.5))/1e6, "over-raw-ms")
	quiet(b)
}

type requestTimes struct {
	accepted, started, ended time.Duration
	container                string
}

// timeRequest runs the image's program without a task on another device and
// tells when its winner had accepted it, when its container ran, and when its
// end was known.
func timeRequest(b *testing.B, device *protocol.AppClient, image string) (t requestTimes) {
	start := time.Now()
	session, err := device.Run(b.Context(), protocol.Run{Service: protocol.Service{
		Image: image, Args: []string{"exit", "0"}, Constraints: protocol.Constraints{NotHere: true},
	}})
	if err != nil {
		b.Fatal(err)
	}
	defer session.Close()
	for {
		u, err := session.Next()
		if errors.Is(err, io.EOF) {
			return t
		}
		if err != nil {
			b.Fatal(err)
		}
		if u.Event == nil {
			continue
		}
		switch e := u.Event; {
		case e.State == protocol.StateSucceeded:
			t.ended = time.Since(start)
		case e.State.Ended():
			b.Fatalf("it ended as %d: %s", e.State, e.Reason)
		case e.State == protocol.StateRunning:
			t.started, t.container = time.Since(start), e.Container
		case e.Node != "" && t.accepted == 0:
			t.accepted = time.Since(start)
		}
	}
}

// awaitRemoval waits until a container is removed, so that the engine is not
// still at that when the next one is timed.
func awaitRemoval(b *testing.B, engine *client.Client, id string) {
	removed, failed := engine.ContainerWait(b.Context(), id, container.WaitConditionRemoved)
	select {
	case <-removed:
	case err := <-failed:
		if !cerrdefs.IsNotFound(err) {
			b.Fatal(err)
		}
	}
}

// timeRaw has the engine create and start the same container, with the limits
// that hearth sets, and tells when it ran.
func timeRaw(b *testing.B, engine *client.Client, image string) time.Duration {
	ctx := context.Background()
	pids, initProcess := int64(512), true
	start := time.Now()
	c, err := engine.ContainerCreate(ctx, &container.Config{Image: image, Cmd: []string{"exit", "0"}}, &container.HostConfig{
		CapDrop: []string{"ALL"}, SecurityOpt: []string{"no-new-privileges"}, Init: &initProcess,
		LogConfig: container.LogConfig{Type: "local"},
		Resources: container.Resources{NanoCPUs: 1e9, Memory: 1 << 30, MemorySwap: 1 << 30, PidsLimit: &pids},
	}, nil, nil, "")
	if err != nil {
		b.Fatal(err)
	}
	if err := engine.ContainerStart(ctx, c.ID, container.StartOptions{}); err != nil {
		b.Fatal(err)
	}
	took := time.Since(start)
	done, failed := engine.ContainerWait(ctx, c.ID, container.WaitConditionNotRunning)
	select {
	case <-done:
	case err := <-failed:
		b.Fatal(err)
	}
	if err := engine.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true}); err != nil {
		b.Fatal(err)
	}
	return took
}
