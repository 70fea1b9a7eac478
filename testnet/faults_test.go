package testnet_test

import (
	"testing"
	"time"

	"github.com/hearth-edge/hearth/testnet"
	"github.com/hearth-edge/hearth/testnet/netns"
)

// How soon a device must be gone from the others' lists: promised to users, so
// these, and only these, are measured times that a test asserts.
const (
	killedWithin = 500 * time.Millisecond
	lostWithin   = 3 * time.Second
	leftWithin   = 500 * time.Millisecond
	// lossTries: a busy machine may be slow now and then, a slow program always is.
	lossTries = 3
)

// TestLoss: a killed, frozen, cut-off or leaving device is gone from the lists
// of the others in time, and is back when it can be.
//
// It measures, so it runs beside no other test.
func TestLoss(t *testing.T) {
	secret := testnet.NewSecret(t)
	lan := netns.New(t)
	options := testnet.Options{Secret: secret, Args: []string{"--driver", "none"}}
	a := lan.AddHost("a").StartNode(t, options)
	lan.AddHost("b").StartNode(t, options)
	host := lan.AddHost("c")
	c := host.StartNode(t, options)
	watch := a.Watch()
	all := func() {
		t.Helper()
		watch.Until("all three", func(ds []testnet.Device) bool { return len(ds) == 3 })
	}
	all()
	restart := func() { c = c.Restart("--driver", "none") }
	for _, f := range []struct {
		fault       string
		within      time.Duration
		cause, mend func()
	}{
		{"killed", killedWithin, func() { c.Kill() }, restart},
		{"frozen", lostWithin, func() { c.Freeze() }, func() { c.Thaw() }},
		{"cut off", lostWithin, host.Isolate, host.Heal},
		{"cable pulled", lostWithin, host.Down, host.Up},
		{"leaving", leftWithin, func() {
			if code := c.Stop(); code != 0 {
				t.Errorf("leaving ended with exit code %d", code)
			}
		}, restart},
	} {
		for try := 1; ; try++ {
			begun := time.Now()
			f.cause()
			watch.Until("c gone", func(ds []testnet.Device) bool {
				_, there := testnet.Find(ds, "c")
				return !there
			})
			took := time.Since(begun)
			t.Logf("%s: gone after %v", f.fault, took.Round(time.Millisecond))
			f.mend()
			all()
			if took <= f.within {
				break
			}
			if try == lossTries {
				t.Errorf("%s: gone after %v, promised is %v", f.fault, took, f.within)
				break
			}
		}
	}
}

// TestKilledWhileRunning: the asker is told when the node that runs its request
// dies.
func TestKilledWhileRunning(t *testing.T) {
	t.Parallel()
	secret := testnet.NewSecret(t)
	image := testnet.Image(t)
	witness := testnet.NewWitness(t, secret)
	lan := netns.New(t)
	a := lan.AddHost("a").StartNode(t, testnet.Options{Secret: secret})
	b := lan.AddHost("b").StartNode(t, testnet.Options{Secret: secret})
	a.WaitAble(2)
	type end struct {
		r   testnet.Result
		err error
	}
	ended := make(chan end, 1)
	go func() {
		r, err := a.Exec(t.Context(), nil, "run", "--node", "b", "--id", "doomed", image, "sleep", "1m")
		ended <- end{r, err}
	}()
	witness.Started(1, func(c testnet.Container) bool { return c.Request == "doomed" })
	b.Kill()
	e := <-ended
	if e.err != nil || e.r.Code != 125 || e.r.Stderr == "" {
		t.Errorf("%v, exit code %d, want 125 and a reason: %q", e.err, e.r.Code, e.r.Stderr)
	}
}

// TestLateNetwork: a device that starts without a network joins when it comes.
func TestLateNetwork(t *testing.T) {
	t.Parallel()
	secret := testnet.NewSecret(t)
	lan := netns.New(t)
	options := testnet.Options{Secret: secret, Args: []string{"--driver", "none"}}
	a := lan.AddHost("a").StartNode(t, options)
	host := lan.AddHost("late")
	host.Down()
	late := host.StartNode(t, options)
	late.WaitNodes(1)
	host.Up()
	late.WaitNodes(2)
	a.WaitNodes(2)
}

// TestNoMulticast: where the network drops multicast, a peer named by hand is
// enough for the whole mesh, and known peers are enough after a restart.
func TestNoMulticast(t *testing.T) {
	t.Parallel()
	secret := testnet.NewSecret(t)
	lan := netns.New(t)
	hosts := []*netns.Host{lan.AddHost("a"), lan.AddHost("b"), lan.AddHost("c")}
	lan.BlockMulticast()
	a := hosts[0].StartNode(t, testnet.Options{Secret: secret, Args: []string{
		"--driver", "none", "--listen", "/ip4/0.0.0.0/tcp/4100",
	}})
	peer := "/ip4/" + hosts[0].IP + "/tcp/4100"
	b := hosts[1].StartNode(t, testnet.Options{Secret: secret, Args: []string{"--driver", "none", "--peer", peer}})
	a.WaitNodes(2)
	c := hosts[2].StartNode(t, testnet.Options{Secret: secret, Args: []string{"--driver", "none", "--peer", peer}})
	for _, n := range []*testnet.Node{a, b, c} {
		n.WaitNodes(3)
	}
	if code := c.Stop(); code != 0 {
		t.Errorf("leaving ended with exit code %d", code)
	}
	a.WaitNodes(2)
	c.Restart("--driver", "none").WaitNodes(3)
}
