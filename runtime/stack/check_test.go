package stack_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime/stack"
)

// refusals are those of a check, a line each.
func (b *bed) refusals(s protocol.Stack) string {
	b.Helper()
	all, err := b.keeper.Check(b.Context(), s)
	if err != nil {
		b.Fatal(err)
	}
	var lines []string
	for _, r := range all {
		lines = append(lines, strings.TrimSpace(r.Service+" "+r.Code.String()+": "+r.Reason+" ["+r.PolicyLine+"]"))
	}
	return strings.Join(lines, "\n")
}

func port(published, target uint16) func(*protocol.StackService) {
	return func(s *protocol.StackService) {
		s.Ports = append(s.Ports, protocol.StackPort{Published: published, Target: target})
	}
}

func TestCheckTellsWhoHasThePort(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.taken[80], b.taken[81] = true, true
		b.apply(record("shop", 1, svc("web", 1, port(8080, 80))))
		for want, s := range map[string]protocol.Stack{
			"": record("shop", 2, svc("web", 1, port(8080, 80))).Stack,
			"b conflict: port 8080 is taken by the stack shop (service web): 8081 is free []": record("x", 1, svc("b", 1, port(8080, 1))).Stack,
			"b conflict: port 80 is taken by another program: 82 is free []":                  record("x", 1, svc("b", 1, port(80, 1))).Stack,
			"b conflict: port 90 is taken by the service a of the same stack: 91 is free []":  record("x", 1, svc("a", 1, port(90, 1)), svc("b", 2, port(90, 2))).Stack,
			"b conflict: port 8080 is taken by the stack shop (service web): 8081 is free [] ": record("x", 1, svc("b", 1, func(s *protocol.StackService) {
				s.NetworkMode, s.Expose = "host", []uint16{8080}
			})).Stack,
		} {
			got := b.refusals(s)
			if strings.HasSuffix(want, " ") { // the host's network is the policy's, too
				if !strings.Contains(got, strings.TrimSpace(want)) || !strings.Contains(got, `networks = ["bridge", "host"]`) {
					t.Errorf("%s", got)
				}
			} else if got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		}
		udp := record("x", 1, svc("b", 1, func(s *protocol.StackService) { s.Ports = []protocol.StackPort{{Published: 80, Target: 1, UDP: true}} }))
		if got := b.refusals(udp.Stack); got != "" {
			t.Errorf("another protocol: %s", got)
		}
	})
}

func TestCheckCountsWhatIsReserved(t *testing.T) {
	inBubble(t, func(b *bed) {
		gib := func(s *protocol.StackService) { s.ReservedMemory, s.ReservedCPUs = 1<<30, 1.5 }
		b.apply(record("big", 1, svc("a", 1, gib)))
		want := "resources: reserves 1 GiB of memory in all, and 960 MiB of the 2 GiB that this node lends are left for it; other stacks reserve 1 GiB []\n" +
			"resources: reserves 1.5 cores in all, and 0.5 cores of the 2 cores that this node lends are left for it []"
		if got := b.refusals(record("more", 1, svc("a", 1, gib)).Stack); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		if got := b.refusals(record("big", 2, svc("a", 1, gib)).Stack); got != "" {
			t.Errorf("itself: %s", got)
		}
	})
}

func TestCheckLooksAtImagesVolumesAndNetworks(t *testing.T) {
	inBubble(t, func(b *bed) {
		image := func(ref string, pull protocol.PullPolicy) func(*protocol.StackService) {
			return func(s *protocol.StackService) { s.Image, s.Pull = ref, pull }
		}
		if got := b.refusals(record("x", 1, svc("a", 1, image("arm", ""))).Stack); got != `a image_platform: the image "arm" is made for linux/arm64, which this node does not run []` {
			t.Error(got)
		}
		if got := b.refusals(record("x", 1, svc("a", 1, image("absent", ""))).Stack); got != "" {
			t.Error(got)
		}
		if got := b.refusals(record("x", 1, svc("a", 1, image("absent", protocol.PullNever))).Stack); !strings.HasPrefix(got, "a image_not_found") {
			t.Error(got)
		}
		other := b.engine.Stacks("mesh", "other")
		b.must(other.MakeVolume(b.Context(), stack.Volume{Name: "hearth_x_data", Stack: "x", Volume: "data"}))
		r := record("x", 1, svc("a", 1))
		r.Stack.Volumes = []protocol.StackVolume{{Name: "data"}}
		if got := b.refusals(r.Stack); !strings.Contains(got, "conflict: the engine's volume hearth_x_data belongs to somebody else") {
			t.Error(got)
		}
		r = record("y", 1, svc("a", 1))
		r.Stack.Networks = []protocol.StackNetwork{{Name: "default", Subnet: "192.168.0.0/16"}}
		if got := b.refusals(r.Stack); !strings.Contains(got, "the subnet 192.168.0.0/16 of the network default is in use on this device") {
			t.Error(got)
		}
		private := record("z", 1, svc("a", 1))
		b.apply(private)
		user := record("user", 1, svc("a", 1))
		user.Stack.Uses = []string{"z/a", "later/db"}
		if got := b.refusals(user.Stack); got != "policy: the stack z does not share its service a: set x-hearth-shared there []" {
			t.Error(got)
		}
		if _, err := b.keeper.Check(b.Context(), protocol.Stack{Name: "none"}); protocol.CodeOf(err) != protocol.CodeInvalid {
			t.Error(err)
		}
	})
}

// TestServiceWaitsForItsDevice: it is looked for again, and what runs is left alone.
func TestServiceWaitsForItsDevice(t *testing.T) {
	dir := t.TempDir()
	folder := filepath.Join(dir, "stick")
	inBubble(t, func(b *bed) {
		b.stop()
		b.cfg.Policy.Mounts = []string{folder}
		b.run()
		b.apply(record("s", 1, svc("a", 1, func(s *protocol.StackService) {
			s.Mounts = []protocol.StackMount{{Kind: protocol.MountBind, Source: folder, Target: "/x", ReadOnly: true}}
		})))
		if i := b.is("s", "a", protocol.InstanceWaiting); !strings.Contains(i.Reason, "has none now") {
			t.Errorf("%+v", i)
		}
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		b.after(16e9)
		b.is("s", "a", protocol.InstanceRunning)
		if err := os.Remove(folder); err != nil {
			t.Fatal(err)
		}
		b.restart(record("s", 1, svc("a", 1, func(s *protocol.StackService) {
			s.Mounts = []protocol.StackMount{{Kind: protocol.MountBind, Source: folder, Target: "/x", ReadOnly: true}}
		})))
		b.is("s", "a", protocol.InstanceRunning)
	})
}

// TestForbiddenServiceIsStopped: a policy that takes something back counts after a
// restart.
func TestForbiddenServiceIsStopped(t *testing.T) {
	inBubble(t, func(b *bed) {
		r := record("s", 1, svc("a", 1, func(s *protocol.StackService) { s.CapAdd = []string{"NET_ADMIN"} }), svc("b", 2))
		b.stop()
		b.cfg.Policy.Capabilities = []string{"NET_ADMIN"}
		b.run(r)
		b.after(1e9)
		b.is("s", "a", protocol.InstanceRunning)
		b.stop()
		b.cfg.Policy.Capabilities = nil
		b.run(r)
		b.after(1e9)
		if i := b.is("s", "a", protocol.InstanceWaiting); !strings.Contains(i.Reason, "NET_ADMIN") {
			t.Errorf("%+v", i)
		}
		b.is("s", "b", protocol.InstanceRunning)
	})
}

func TestSharedStackIsReachedByItsUsersOnly(t *testing.T) {
	inBubble(t, func(b *bed) {
		user := record("user", 1, svc("web", 1))
		user.Stack.Uses = []string{"base/db"}
		b.apply(user)
		if s := b.status("user"); s.Reason != "uses base/db, which is not shared on this node" {
			t.Errorf("%+v", s)
		}
		first := b.instance("user", "web").Container
		b.apply(record("base", 1, svc("db", 7, func(s *protocol.StackService) { s.Shared = true })))
		b.is("user", "web", protocol.InstanceRunning)
		if s := b.status("user"); s.Reason != "" || s.Instances[0].Container == first {
			t.Errorf("%+v", s)
		}
		networks, err := b.stacks.Networks(b.Context())
		b.must(err)
		var shared netip.Prefix
		for _, n := range networks {
			if n.Name == "hearth_base.shared" {
				shared = n.Subnets[0]
			}
		}
		for _, c := range b.containers() {
			if c.Stack == "user" && (len(c.Hosts) != 2 || !shared.Contains(netip.MustParseAddr(strings.TrimPrefix(c.Hosts[1], "db:")))) {
				t.Errorf("%v is not in %v", c.Hosts, shared)
			}
		}
		b.must(b.keeper.Remove(b.Context(), "base", true))
		b.is("user", "web", protocol.InstanceRunning)
	})
}

// TestPublicAddressMovesPorts: one that comes is not published on, and bridges of the
// engine are no reason.
func TestPublicAddressMovesPorts(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.apply(record("s", 1, svc("a", 1, port(8080, 80)), svc("b", 2)))
		first := b.status("s").Instances
		own := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.168.7.2")}
		networks, err := b.stacks.Networks(b.Context())
		b.must(err)
		b.keeper.AddressesChanged(append(own, networks[0].Gateway, netip.MustParseAddr("192.168.7.3")))
		b.after(1e9)
		if now := b.status("s").Instances; now[0].Container != first[0].Container {
			t.Errorf("%+v", now)
		}
		b.keeper.AddressesChanged(append(own, netip.MustParseAddr("93.184.216.34")))
		b.after(1e9)
		now := b.status("s").Instances
		if now[0].Container == first[0].Container || now[1].Container != first[1].Container || now[0].State != protocol.InstanceRunning {
			t.Errorf("%+v", now)
		}
	})
}
