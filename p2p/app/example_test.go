package app_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/hearth-edge/hearth/cmd/hearth/device"
	"github.com/hearth-edge/hearth/keys"
	"github.com/hearth-edge/hearth/p2p/app"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/fake"
)

// Run a container on the best node of the mesh, give it input, and read its
// output and exit code.
func Example() {
	stateDir, stop := startDevice() // an app takes that of its device: /var/lib/hearth
	defer stop()
	ctx := context.Background()

	hearth, err := app.Connect(ctx, stateDir)
	check(err)
	defer hearth.Close()

	session, err := hearth.Run(ctx, protocol.Run{
		ID: "greeting-1", // asking again with this ID runs nothing again
		// The fake engine of this example takes steps for arguments; with a
		// real one: Image: "busybox", Args: []string{"cat"}.
		Service: protocol.Service{Image: "work:1", Args: []string{"echo", "exit=3"}, Stdin: true},
	})
	check(err)
	defer session.Close()

	go func() {
		_, _ = io.Copy(session, strings.NewReader("hello\n"))
		_ = session.CloseWrite()
	}()
	for {
		update, err := session.Next()
		if err != nil {
			panic(err) // lost touch: hearth.Attach takes it up again
		}
		if out := update.Output; out != nil {
			os.Stdout.Write(out.Data)
		}
		if event := update.Event; event != nil && event.State.Ended() {
			fmt.Println("exit code", event.ExitCode)
			break
		}
	}
	// Output:
	// hello
	// exit code 3
}

// Start something that outlives this app, and come back to it by its ID.
func ExampleClient_Attach() {
	stateDir, stop := startDevice()
	defer stop()
	ctx := context.Background()
	hearth, err := app.Connect(ctx, stateDir)
	check(err)
	defer hearth.Close()

	session, err := hearth.Run(ctx, protocol.Run{
		ID: "nightly", Detach: true,
		Service: protocol.Service{Image: "work:1", Args: []string{"out=all night long"}},
	})
	check(err)
	_ = session.Close() // it goes on

	// A beginning of the ID will do. What it wrote before is kept.
	session, err = hearth.Attach(ctx, protocol.Attach{Request: "night", Stdout: 4})
	check(err)
	defer session.Close()
	for {
		update, err := session.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		check(err)
		if update.Output != nil {
			fmt.Printf("%s\n", update.Output.Data)
		}
	}

	_, err = hearth.Inspect(ctx, "daily")
	fmt.Println(protocol.CodeOf(err))
	// Output:
	// night long
	// not_found
}

// Watch every state that the requests of the mesh go through.
func ExampleClient_Watch() {
	stateDir, stop := startDevice()
	defer stop()
	ctx := context.Background()
	hearth, err := app.Connect(ctx, stateDir)
	check(err)
	defer hearth.Close()

	working, rest := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { // so that there is something to see
		defer close(ended)
		for working.Err() == nil {
			session, err := hearth.Run(ctx, protocol.Run{Service: protocol.Service{Image: "work:1", Args: []string{"exit=7"}}})
			check(err)
			for err == nil {
				_, err = session.Next()
			}
			_ = session.Close()
		}
	}()
	enough := errors.New("seen enough")
	err = hearth.Watch(ctx, func() {}, func(e protocol.Event) error {
		if !e.State.Ended() {
			return nil // on its way
		}
		fmt.Println("exit code", e.ExitCode, "on", e.NodeName)
		return enough
	})
	fmt.Println(err)
	rest()
	<-ended
	// Output:
	// exit code 7 on kitchen
	// seen enough
}

// startDevice starts a device whose engine only pretends to run containers.
func startDevice() (stateDir string, stop func()) {
	dir, err := os.MkdirTemp("", "hearth")
	check(err)
	engine := fake.NewEngine(fake.Config{Images: map[string]fake.Image{"work:1": {}}})
	cfg := device.DefaultConfig()
	cfg.Secret, cfg.Name, cfg.StateDir = keys.NewSecret(), "kitchen", dir
	cfg.Listen = []ma.Multiaddr{ma.StringCast("/ip4/127.0.0.1/tcp/0")}
	cfg.NoDiscovery, cfg.CPUs, cfg.Speed = true, 4, 1
	cfg.Driver = func(mesh keys.Fingerprint, self protocol.PeerID) (runtime.Driver, error) {
		return engine.Driver(string(mesh), self), nil
	}
	n, err := device.New(cfg)
	check(err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	<-n.Ready()
	awaitNode(dir)
	return dir, func() {
		cancel()
		check(<-ended)
		engine.Close()
		_ = os.RemoveAll(dir)
	}
}

// awaitNode waits until the device runs work.
func awaitNode(stateDir string) {
	hearth, err := app.Connect(context.Background(), stateDir)
	check(err)
	defer hearth.Close()
	ready := errors.New("it is a node")
	err = hearth.Devices(context.Background(), true, func(all []protocol.Device) error {
		if all[0].Status.Role == protocol.RoleNode {
			return ready
		}
		return nil
	})
	if !errors.Is(err, ready) {
		panic(err)
	}
}

// check stands for what an app does about errors.
func check(err error) {
	if err != nil {
		panic(err)
	}
}
