package bench

import (
	"context"
	"testing"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"

	"github.com/hearth-edge/hearth/p2p/app"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/testnet"
	"github.com/hearth-edge/hearth/testnet/bench/report"
	"github.com/hearth-edge/hearth/testnet/netns"
)

// BenchmarkOverhead: a container that ends at once, asked for on one device of a
// mesh of three and run by another, beside the raw Engine API making, starting
// and awaiting the same container, and the commands `hearth run` and `docker run`
// beside each other, all in turns.
func BenchmarkOverhead(b *testing.B) {
	secret := testnet.NewSecret(b)
	mesh := testnet.Fingerprint(b, secret)
	image := testnet.Image(b)
	lan := netns.New(b)
	var nodes []*testnet.Node
	for _, name := range []string{"first", "second", "third"} {
		nodes = append(nodes, lan.AddHost(name).StartNode(b, testnet.Options{Secret: secret}))
	}
	nodes[0].WaitAble(3)
	conn, err := app.Dial(b.Context(), nodes[0].State)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	device := protocol.NewAppClient(conn.Open, conn.Token())
	docker, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		b.Fatal(err)
	}
	defer docker.Close()
	e := &engine{docker: docker, image: image}
	e.learn(b, device)
	e.settle(b, mesh)

	var accepted, taken, started, ended, rawStarted, rawEnded, command, dockerRun series
	ours := func() {
		t, err := ask(b.Context(), device, protocol.Run{Service: elsewhere(image, "exit", "0")})
		if err != nil {
			b.Fatal(err)
		}
		accepted.add(t.accepted)
		taken.add(t.taken)
		started.add(t.started)
		ended.add(t.ended)
	}
	raw := func() {
		s, t := e.run(b)
		rawStarted.add(s)
		rawEnded.add(t)
	}
	for turn := 0; b.Loop(); turn++ {
		turns := [4]func(){ours, raw, func() { command.add(e.hearthRun(b, nodes[0])) }, func() { dockerRun.add(e.dockerRun(b)) }}
		for _, i := range inTurns[turn%len(inTurns)] {
			turns[i]()
			e.settle(b, mesh)
		}
	}
	api := func(samples series) *report.Reference { return &report.Reference{Name: "Engine API", Samples: samples} }
	for _, f := range []*report.Figure{
		{Name: "accepted", Samples: accepted},
		{Name: "taken by a node", Samples: taken},
		{Name: "started", Samples: started, Reference: api(rawStarted)},
		{Name: "ended", Samples: ended, Reference: api(rawEnded)},
		{Name: "hearth run", Samples: command, Reference: &report.Reference{Name: "docker run --rm", Samples: dockerRun}},
	} {
		f.Group, f.Nodes, f.Unit = "overhead", 3, "ms"
		record(b, f)
	}
}

// inTurns are orders of four in which each comes right after each other one once:
// what one leaves the machine to do, as writing to the disk, is no other's alone.
var inTurns = [4][4]int{{0, 1, 3, 2}, {1, 2, 0, 3}, {2, 3, 1, 0}, {3, 0, 2, 1}}

// elsewhere is a service for another device than the one that is asked.
func elsewhere(image string, args ...string) protocol.Service {
	return protocol.Service{Image: image, Args: args, Constraints: protocol.Constraints{NotHere: true}}
}

// engine is the container engine as one uses it without hearth.
type engine struct {
	docker *client.Client
	image  string
	// config and host are what hearth gives a container.
	config *container.Config
	host   *container.HostConfig
}

// learn finds out what a container gets from hearth, so that the engine is asked
// for the same.
func (e *engine) learn(b *testing.B, device *protocol.AppClient) {
	b.Helper()
	session, err := device.Run(b.Context(), protocol.Run{Service: elsewhere(e.image, "sleep", "1h")})
	if err != nil {
		b.Fatal(err)
	}
	defer session.Close() // which ends it
	for {
		u, err := session.Next()
		if err != nil {
			b.Fatal(err)
		}
		if u.Event == nil || u.Event.State != protocol.StateRunning {
			continue
		}
		c, err := e.docker.ContainerInspect(b.Context(), u.Event.Container)
		if err != nil {
			b.Fatal(err)
		}
		e.config, e.host = c.Config, c.HostConfig
		e.config.Hostname, e.config.Labels, e.config.Cmd = "", nil, []string{"exit", "0"}
		return
	}
}

// run makes, starts and awaits the container, and returns after how long it ran
// and had ended. Like hearth it is attached to what comes out.
func (e *engine) run(b *testing.B) (started, ended time.Duration) {
	b.Helper()
	ctx, start := b.Context(), time.Now()
	c, err := e.docker.ContainerCreate(ctx, e.config, e.host, nil, nil, "")
	if err != nil {
		b.Fatal(err)
	}
	streams, err := e.docker.ContainerAttach(ctx, c.ID, container.AttachOptions{Stream: true, Stdout: true, Stderr: true})
	if err != nil {
		b.Fatal(err)
	}
	defer streams.Close()
	done, failed := e.docker.ContainerWait(ctx, c.ID, container.WaitConditionNextExit)
	if err := e.docker.ContainerStart(ctx, c.ID, container.StartOptions{}); err != nil {
		b.Fatal(err)
	}
	started = time.Since(start)
	select {
	case <-done:
	case err := <-failed:
		b.Fatal(err)
	}
	ended = time.Since(start)
	if err := e.docker.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true}); err != nil {
		b.Fatal(err)
	}
	return started, ended
}

// settle waits until the mesh has no container on the engine any more: a node
// removes it after it has told its end.
func (e *engine) settle(b *testing.B, mesh string) {
	b.Helper()
	left, err := e.docker.ContainerList(b.Context(), container.ListOptions{
		All: true, Filters: filters.NewArgs(filters.Arg("label", testnet.LabelMesh+"="+mesh)),
	})
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range left {
		e.awaitRemoval(b, c.ID)
	}
}

// awaitRemoval waits until a container is removed, so that the engine is not
// still at that when the next one is timed.
func (e *engine) awaitRemoval(b *testing.B, id string) {
	b.Helper()
	removed, failed := e.docker.ContainerWait(context.Background(), id, container.WaitConditionRemoved)
	select {
	case <-removed:
	case err := <-failed:
		if !cerrdefs.IsNotFound(err) {
			b.Fatal(err)
		}
	}
}

// hearthRun is the command from its start to its end, as a person has it.
func (e *engine) hearthRun(b *testing.B, n *testnet.Node) time.Duration {
	b.Helper()
	start := time.Now()
	r := n.Hearth("run", "--not-here", e.image, "exit", "0")
	took := time.Since(start)
	if r.Code != 0 {
		b.Fatalf("hearth run ended with %d: %s", r.Code, r.Stderr)
	}
	return took
}

// dockerRun is docker's own command for the same.
func (e *engine) dockerRun(b *testing.B) time.Duration {
	b.Helper()
	start := time.Now()
	testnet.Docker(b, "run", "--rm", "--init", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--log-driver", "local",
		"--network", string(e.host.NetworkMode), "--cpus", "1", "--memory", "1g", "--memory-swap", "1g", "--pids-limit", "512", e.image, "exit", "0")
	return time.Since(start)
}
