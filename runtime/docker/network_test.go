package docker

import (
	"strings"
	"sync"
	"testing"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/runtimetest"
)

// ownBridge gives drivers a network of the test's own instead of the one that all
// share, and removes it.
func ownBridge(t *testing.T) (made func() *Driver) {
	t.Helper()
	name := "ht" + unique()
	t.Cleanup(func() {
		err := newTestDriver(t).client.Load().NetworkRemove(testContext(t), name)
		if err != nil && !cerrdefs.IsNotFound(err) {
			t.Error(err)
		}
	})
	return func() *Driver {
		d := newTestDriver(t)
		d.bridge = newBridge(name, name)
		return d
	}
}

// onBridge is a spec of a container on the default network.
func onBridge(args ...string) runtime.Spec {
	spec := testSpec(engineImage, args...)
	spec.Network = "bridge"
	return spec
}

// address returns the container's on the network.
func address(t *testing.T, d *Driver, id runtime.ExecutionID, name string) string {
	t.Helper()
	c, err := d.look(testContext(t), d.target(id))
	if err != nil || c.NetworkSettings.Networks[name] == nil {
		t.Fatalf("no address on %s: %v", name, err)
	}
	return c.NetworkSettings.Networks[name].IPAddress
}

// TestContainersDoNotReachEachOther: what one asker's container listens on cannot
// be read from another's; what is beyond the bridge can, as its own port can.
func TestContainersDoNotReachEachOther(t *testing.T) {
	runtimetest.BusyboxImage(t, engineImage)
	bridged := ownBridge(t)
	anna, mallory := bridged(), bridged()
	private := onBridge("sh", "-c", "echo ready; while :; do echo private-service-of-anna | nc -l -p 9000; done")
	private.ID.Orchestrator = "anna"
	serving := run(t, anna, private)
	if _, _, err := serving.Output.Next(); err != nil {
		t.Fatal(err)
	}
	at := address(t, anna, private.ID, anna.bridge.name)
	spy := onBridge("sh", "-c", `nc -w 2 "$1" 9000 </dev/null 2>&1; echo ended with $?
cat /proc/sys/net/ipv6/conf/eth0/disable_ipv6 2>/dev/null || echo 1
route -n | grep -c ^0.0.0.0`, "sh", at)
	spy.ID.Orchestrator = "mallory"
	got := output(t, run(t, mallory, spy).Output)
	if strings.Contains(got, "private") || !strings.HasSuffix(got, "ended with 1\n1\n1\n") {
		t.Errorf("the other container got %q", got)
	}
	// The service does answer those who may reach it: the node itself.
	dialled := onBridge("nc", "-w", "2", at, "9000")
	dialled.Network = "host"
	if got := output(t, run(t, anna, dialled).Output); !strings.Contains(got, "private-service-of-anna") {
		t.Errorf("the node got %q", got)
	}
}

// TestBridgeIsMadeOnce: devices that start containers at the same time, and share
// an engine, share one network.
func TestBridgeIsMadeOnce(t *testing.T) {
	runtimetest.BusyboxImage(t, engineImage)
	bridged := ownBridge(t)
	var starting sync.WaitGroup
	for range 4 {
		d := bridged()
		starting.Go(func() {
			if err := d.ensureNetwork(testContext(t), &runtime.Spec{Network: "bridge"}); err != nil {
				t.Error(err)
			}
		})
	}
	starting.Wait()
	d := bridged()
	all, err := d.client.Load().NetworkList(testContext(t), network.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	made := 0
	for _, n := range all {
		if n.Name == d.bridge.name {
			made++
		}
	}
	if made != 1 {
		t.Errorf("%d networks were made", made)
	}
}

// TestBridgeIsMadeAnew: a network that was removed is there again for the next
// container.
func TestBridgeIsMadeAnew(t *testing.T) {
	runtimetest.BusyboxImage(t, engineImage)
	d := ownBridge(t)()
	first := onBridge("echo", "out")
	run(t, d, first)
	if _, err := d.Wait(testContext(t), first.ID); err != nil {
		t.Fatal(err)
	}
	if err := d.client.Load().NetworkRemove(testContext(t), d.bridge.name); err != nil {
		t.Fatal(err)
	}
	if got := output(t, run(t, d, onBridge("echo", "again")).Output); got != "again\n" {
		t.Errorf("output %q", got)
	}
}

// TestBridgeOfOthers: a network of that name on which containers reach each other is
// not used.
func TestBridgeOfOthers(t *testing.T) {
	runtimetest.BusyboxImage(t, engineImage)
	d := ownBridge(t)()
	if _, err := d.client.Load().NetworkCreate(testContext(t), d.bridge.name, network.CreateOptions{Driver: "bridge"}); err != nil {
		t.Fatal(err)
	}
	_, _, err := d.Create(testContext(t), onBridge("true"))
	wantError(t, err, protocol.CodeStartFailed, d.bridge.name, "reach each other", "Remove it")
}

// TestNetworkModes: what the policy's words are to the engine.
func TestNetworkModes(t *testing.T) {
	for word, want := range map[string]container.NetworkMode{
		"bridge": bridgeName, engineBridge: "bridge", "host": "host", "none": "none", "": "none", "container:x": "none", "web": "web",
	} {
		if got := networkMode(word); got != want {
			t.Errorf("%q is %q, want %q", word, got, want)
		}
	}
}
