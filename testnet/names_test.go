package testnet_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/testnet"
	"github.com/hearth-edge/hearth/testnet/netns"
)

// Devices of one name, as five Raspberry Pis out of the box, form one mesh, in which
// each has a name of its own.
func TestSameNameFormsOneMesh(t *testing.T) {
	t.Parallel()
	secret, lan := testnet.NewSecret(t), netns.New(t)
	var nodes []*testnet.Node
	for _, host := range []string{"a", "b", "c"} {
		nodes = append(nodes, lan.AddHost(host).StartNode(t, testnet.Options{Name: "raspberrypi", Secret: secret, Args: []string{"--driver", "none"}}))
	}
	for _, n := range nodes {
		ds := n.WaitNodes(3)
		names := []string{ds[0].Name, ds[1].Name, ds[2].Name}
		slices.Sort(names)
		if len(slices.Compact(names)) != 3 || !slices.Contains(names, "raspberrypi") {
			t.Errorf("one sees %v", names)
		}
		if r := n.Hearth("nodes"); !strings.Contains(r.Stderr, "hearth forget raspberrypi") {
			t.Errorf("nodes says %q", r.Stderr)
		}
	}
}

// A device that was installed anew under its old name is in the mesh at once, and has
// that name where the owner forgets the old device.
func TestReinstalledDeviceJoins(t *testing.T) {
	t.Parallel()
	secret, lan := testnet.NewSecret(t), netns.New(t)
	none := []string{"--driver", "none"}
	pc := lan.AddHost("pc").StartNode(t, testnet.Options{Secret: secret, Args: none})
	host := lan.AddHost("nas")
	old := host.StartNode(t, testnet.Options{Secret: secret, Args: none})
	pc.WaitNodes(2)
	old.Kill()
	host.StartNode(t, testnet.Options{Secret: secret, Args: none})
	pc.Watch().Until("the new nas", func(ds []testnet.Device) bool {
		return slices.ContainsFunc(ds, func(d testnet.Device) bool { return strings.HasPrefix(d.Name, "nas-") })
	})
	// The old one is lost by now, or soon.
	for r := pc.Hearth("forget", "nas"); r.Code != 0; r = pc.Hearth("forget", "nas") {
		if !strings.Contains(r.Stderr, "is connected") {
			t.Fatal(r.Stderr)
		}
	}
	pc.Watch().Until("the new one as nas", func(ds []testnet.Device) bool {
		_, ok := testnet.Find(ds, "nas")
		return ok && len(ds) == 2
	})
}

// A device with a copy of another's state folder is refused, and told; the other one
// works on.
func TestCopiedStateFolderIsTold(t *testing.T) {
	t.Parallel()
	secret, lan := testnet.NewSecret(t), netns.New(t)
	none := []string{"--driver", "none"}
	a := lan.AddHost("a").StartNode(t, testnet.Options{Secret: secret, Args: none})
	b := lan.AddHost("b").StartNode(t, testnet.Options{Secret: secret, Args: none})
	a.WaitNodes(2)
	folder := filepath.Join(t.TempDir(), "copy")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"seed", "peers.json", "boot"} {
		if out, err := exec.Command("cp", "-a", filepath.Join(b.State, file), folder).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	second := lan.AddHost("second").StartNode(t, testnet.Options{Name: "b", Secret: secret, State: folder, Args: none})
	second.AwaitLog("others refuse this device: it runs with a copy of another's state folder")
	b.AwaitLog("runs with a copy of this device's state folder")
	a.AwaitLog("two devices run with copies of one state folder")
	for n, want := range map[*testnet.Node]string{a: "remove 'seed' from the state folder", second: "if this device is the copy, remove " + folder, b: "that is the copy"} {
		if r := n.Hearth("doctor"); !strings.Contains(r.Stdout, want) {
			t.Errorf("doctor on %s says %s, want %s", n.Name, r.Stdout, want)
		}
	}
	if ds := a.WaitNodes(2); len(ds) != 2 {
		t.Errorf("%+v", ds)
	}
	if n := strings.Count(a.Log(), "device joined"); n != 1 {
		t.Errorf("%d devices joined", n)
	}
}

// A mesh forms within 5 s after multicast begins to pass. The time is that of a machine
// with much to do, so it is told and not asserted; the schedule is, in p2p/mdns.
func TestMeshFormsWhenMulticastBeginsToPass(t *testing.T) {
	t.Parallel()
	secret, lan := testnet.NewSecret(t), netns.New(t)
	hosts := []*netns.Host{lan.AddHost("a"), lan.AddHost("b"), lan.AddHost("c")}
	lan.BlockMulticast()
	var nodes []*testnet.Node
	for _, h := range hosts {
		nodes = append(nodes, h.StartNode(t, testnet.Options{Secret: secret, Args: []string{"--driver", "none"}}))
	}
	nodes[0].AwaitLog("announcing by mDNS")
	lan.PassMulticast()
	passed := time.Now()
	for _, n := range nodes {
		n.WaitNodes(3)
	}
	t.Logf("a mesh of three %v after multicast begins to pass", time.Since(passed).Round(time.Millisecond))
}
