package netif

import (
	"context"
	goruntime "runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// TestWatch needs root: it changes the network of a namespace that it makes and
// that is gone with its thread.
func TestWatch(t *testing.T) {
	goruntime.LockOSThread() // and never unlock it: the thread ends with the test
	ns, err := netns.New()
	if err != nil {
		t.Fatalf("make a network namespace (are you root?): %v", err)
	}
	defer ns.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	changed, ended := make(chan struct{}, 100), make(chan error, 1)
	started := make(chan struct{})
	go func() {
		goruntime.LockOSThread()
		if err := netns.Set(ns); err != nil {
			ended <- err
			return
		}
		close(started)
		ended <- Watch(ctx, func() { changed <- struct{}{} })
	}()
	await := func(what string, c <-chan struct{}) {
		t.Helper()
		select {
		case <-c:
		case err := <-ended:
			t.Fatalf("Watch ended: %v", err)
		case <-time.After(10 * time.Second):
			t.Fatalf("no news of %s", what)
		}
	}
	await("the start", started)
	list := func(want string) {
		t.Helper()
		ifs, err := List(nil)
		if err != nil || names(ifs) != want {
			t.Fatalf("List is %q, %v; want %q", names(ifs), err, want)
		}
	}
	list("")
	lo, err := netlink.LinkByName("lo")
	must(t, err)
	// Watch may not have subscribed yet, so the first change is repeated.
	for seen := false; !seen; {
		must(t, netlink.LinkSetUp(lo))
		must(t, netlink.LinkSetDown(lo))
		must(t, netlink.LinkSetUp(lo))
		select {
		case <-changed:
			seen = true
		case <-time.After(3 * settle):
		}
	}
	list("lo")
	eth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "veth0"}
	must(t, netlink.LinkAdd(eth))
	must(t, netlink.LinkSetUp(eth))
	far, err := netlink.LinkByName("veth0")
	must(t, err)
	must(t, netlink.LinkSetUp(far)) // the other end of the cable
	addr, err := netlink.ParseAddr("10.9.8.7/24")
	must(t, err)
	must(t, netlink.AddrAdd(eth, addr))
	await("an interface and its address", changed)
	list("eth0")
	must(t, netlink.AddrDel(eth, addr))
	await("an address that is gone", changed)
	must(t, netlink.LinkDel(eth))
	await("an interface that is gone", changed)
	list("lo")
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Watch: %v", err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
