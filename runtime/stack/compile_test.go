package stack

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

func prefix(text string) netip.Prefix { return netip.MustParsePrefix(text) }

// aWorld is a device without public addresses, and the subnets of a stack.
func aWorld() *world {
	policy := runtime.DefaultPolicy()
	return &world{
		policy: &policy, own: []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.168.7.2")},
		here: runtime.Here{Lent: runtime.Lent{CPUs: 2, Memory: 1 << 30}, Look: runtime.LookFile, Has: func(string) bool { return true }},
		subnets: map[string]netip.Prefix{
			defaultNetwork: prefix("10.200.2.0/23"), "back": prefix("10.200.4.0/23"), sharedNetwork: prefix("10.200.6.0/23"),
		},
	}
}

func (c *compiled) service(name string) *service {
	for i := range c.services {
		if c.services[i].name == name {
			return &c.services[i]
		}
	}
	return nil
}

// TestNamesLeadToNumbers: each service reaches those that share a network with it,
// by name and alias, at its number; those that do not it cannot name.
func TestNamesLeadToNumbers(t *testing.T) {
	on := func(names ...string) (all []protocol.NetworkAttachment) {
		for _, n := range names {
			all = append(all, protocol.NetworkAttachment{Network: n, Aliases: []string{n + "-alias"}})
		}
		return all
	}
	s := &protocol.Stack{Name: "shop", Networks: []protocol.StackNetwork{{Name: "back"}}, Services: []protocol.StackService{
		{Name: "web", Number: 1, Image: "app", Networks: on("default", "back"), Aliases: []string{"www"}},
		{Name: "front", Number: 2, Image: "app"},
		{Name: "db", Number: 3, Image: "app", Networks: on("back")},
		{Name: "host", Number: 4, Image: "app", NetworkMode: "host"},
		{Name: "side", Number: 5, Image: "app", NetworkMode: "service:db"},
		{Name: "alone", Number: 6, Image: "app", NetworkMode: "none"},
	}}
	w := aWorld()
	w.policy.Networks = []string{"bridge", "host"}
	c := compile(s, w)
	if len(c.refusals) != 0 {
		t.Fatalf("%+v", c.refusals)
	}
	for service, want := range map[string]string{
		"web":   "web:10.200.2.1 www:10.200.2.1 default-alias:10.200.2.1 front:10.200.2.2 db:10.200.4.3 back-alias:10.200.4.3 host:10.200.2.254 side:10.200.4.3",
		"front": "web:10.200.2.1 www:10.200.2.1 default-alias:10.200.2.1 front:10.200.2.2 host:10.200.2.254",
		"db":    "web:10.200.4.1 www:10.200.4.1 back-alias:10.200.4.1 db:10.200.4.3 back-alias:10.200.4.3 host:10.200.4.254 side:10.200.4.3",
		"host":  "web:10.200.2.1 www:10.200.2.1 default-alias:10.200.2.1 front:10.200.2.2 db:10.200.4.3 back-alias:10.200.4.3 host:10.200.2.254 side:10.200.4.3",
		"side":  "", "alone": "",
	} {
		if got := strings.Join(c.specs[service].Hosts, " "); got != want {
			t.Errorf("%s has\n%s\nwant\n%s", service, got, want)
		}
	}
	web := c.specs["web"]
	if len(web.Networks) != 2 || web.Networks[0].Network != "hearth_shop_default" || web.Networks[1].Address.String() != "10.200.4.1" || !slices.Contains(web.Networks[1].Aliases, "www") {
		t.Errorf("%+v", web.Networks)
	}
	if c.service("side").joins != "db" || c.specs["alone"].Mode != "none" || c.specs["host"].Mode != "host" {
		t.Errorf("%+v", c.services)
	}
}

// TestOthersChangeNothing: a service more, a volume that is missing and how it is
// kept up leave the container alone; what it is made of does not.
func TestOthersChangeNothing(t *testing.T) {
	base := func() *protocol.Stack {
		return &protocol.Stack{Name: "s", Services: []protocol.StackService{{Name: "a", Number: 1, Image: "app", Env: []string{"X=1"}}}}
	}
	hash := func(change func(*protocol.Stack, *world)) string {
		s, w := base(), aWorld()
		change(s, w)
		c := compile(s, w)
		return c.service("a").hash
	}
	first := hash(func(*protocol.Stack, *world) {})
	for what, change := range map[string]func(*protocol.Stack, *world){
		"another service": func(s *protocol.Stack, _ *world) {
			s.Services = append(s.Services, protocol.StackService{Name: "b", Number: 2, Image: "app"})
		},
		"restart":             func(s *protocol.Stack, _ *world) { s.Services[0].Restart = protocol.RestartNo },
		"a dependency":        func(s *protocol.Stack, _ *world) { s.Services[0].DependsOn = []protocol.Dependency{{Service: "a"}} },
		"the time to stop":    func(s *protocol.Stack, _ *world) { s.Services[0].StopGrace = 5 },
		"a new lease":         func(_ *protocol.Stack, w *world) { w.own[1] = netip.MustParseAddr("192.168.7.99") },
		"what it shares":      func(s *protocol.Stack, _ *world) { s.Services[0].Expose = []uint16{80} },
		"another memory here": func(_ *protocol.Stack, w *world) { w.here.Lent.Memory = 2 << 30 },
	} {
		if hash(change) != first {
			t.Errorf("%s changes the container", what)
		}
	}
	seen := map[string]string{first: "nothing"}
	for what, change := range map[string]func(*protocol.Stack, *world){
		"image":        func(s *protocol.Stack, _ *world) { s.Services[0].Image = "app:2" },
		"env":          func(s *protocol.Stack, _ *world) { s.Services[0].Env = []string{"X=2"} },
		"subnet":       func(_ *protocol.Stack, w *world) { w.subnets[defaultNetwork] = prefix("10.1.2.0/23") },
		"capabilities": func(_ *protocol.Stack, w *world) { w.policy.DefaultCapabilities = nil },
		"secret": func(s *protocol.Stack, _ *world) {
			s.Services[0].Mounts = []protocol.StackMount{{Kind: protocol.MountFile, Source: "k", Target: "/k"}}
			s.Files = []protocol.StackFile{{Name: "k", Data: []byte("1"), Secret: true}}
		},
		"another secret": func(s *protocol.Stack, _ *world) {
			s.Services[0].Mounts = []protocol.StackMount{{Kind: protocol.MountFile, Source: "k", Target: "/k"}}
			s.Files = []protocol.StackFile{{Name: "k", Data: []byte("2"), Secret: true}}
		},
		"health": func(s *protocol.Stack, _ *world) {
			s.Services[0].Health = &protocol.HealthCheck{Test: []string{"NONE"}}
		},
		"port": func(s *protocol.Stack, _ *world) {
			s.Services[0].Ports = []protocol.StackPort{{Published: 1, Target: 2}}
		},
	} {
		h := hash(change)
		if seen[h] != "" {
			t.Errorf("%s is the same as %s", what, seen[h])
		}
		seen[h] = what
	}
}

// TestHashIsStable: containers of this version are not made anew by the next one.
func TestHashIsStable(t *testing.T) {
	s := &protocol.Stack{Name: "s", Services: []protocol.StackService{{
		Name: "a", Number: 1, Image: "app", Env: []string{"X=1"}, Ports: []protocol.StackPort{{Published: 80, Target: 80}},
		Mounts: []protocol.StackMount{{Kind: protocol.MountVolume, Source: "v", Target: "/v"}},
	}}, Volumes: []protocol.StackVolume{{Name: "v"}}}
	c := compile(s, aWorld())
	if got := c.service("a").hash; got != goldenHash {
		t.Errorf("the hash is %s: where that is meant, all containers of all stacks are made anew", got)
	}
}

const goldenHash = "07eb948badc4dc23682086f8ae8424ca"

func TestPublishedPorts(t *testing.T) {
	s := &protocol.Stack{Name: "s", Services: []protocol.StackService{{Name: "a", Number: 1, Image: "app", Ports: []protocol.StackPort{
		{Published: 80, Target: 8080}, {Published: 53, Target: 53, UDP: true, HostIP: "127.0.0.1"}, {Published: 81, Target: 81, HostIP: "8.8.8.8"},
	}}}}
	w := aWorld()
	at := func(port uint16) (all []string) {
		for _, p := range compile(s, w).specs["a"].Ports {
			if p.Published == port {
				all = append(all, p.Address.String())
			}
		}
		return all
	}
	if got := at(80); !slices.Equal(got, []string{"0.0.0.0"}) {
		t.Errorf("where nothing is public: %q", got)
	}
	if c := compile(s, w); len(c.refusals) != 1 || c.refusals[0].PolicyLine != "publish_public = true" || !c.services[0].forbidden {
		t.Errorf("%+v", c.refusals)
	}
	w.own = append(w.own, netip.MustParseAddr("93.184.216.34"), netip.MustParseAddr("2001:db8::1"))
	if got := at(80); !slices.Equal(got, []string{"127.0.0.1", "192.168.7.2"}) {
		t.Errorf("with a public address: %q", got)
	}
	w.policy.PublishPublic = true
	if got := at(80); !slices.Equal(got, []string{"0.0.0.0"}) || !slices.Equal(at(81), []string{"8.8.8.8"}) || !slices.Equal(at(53), []string{"127.0.0.1"}) {
		t.Errorf("allowed: %q", got)
	}
	w.policy.PublishPublic, w.here.Remote = false, true
	if c := compile(s, w); len(c.refusals) != 2 {
		t.Errorf("on another machine: %+v", c.refusals)
	}
}

func TestSharedServicesOfOthers(t *testing.T) {
	db := &protocol.Stack{Name: "base", Services: []protocol.StackService{{Name: "db", Number: 9, Image: "app", Shared: true}, {Name: "inner", Number: 2, Image: "app"}}}
	w := aWorld()
	c := compile(db, w)
	if n := c.specs["db"].Networks; len(n) != 2 || n[1].Network != "hearth_base.shared" || n[1].Address.String() != "10.200.6.9" || len(c.specs["inner"].Networks) != 1 {
		t.Errorf("%+v", n)
	}
	user := &protocol.Stack{Name: "app", Uses: []string{"base/db"}, Services: []protocol.StackService{{Name: "web", Number: 1, Image: "app"}}}
	w.shared = map[string]sharedService{"base/db": {"hearth_base.shared", netip.MustParseAddr("10.200.6.9")}}
	c = compile(user, w)
	if web := c.specs["web"]; !slices.Contains(web.Hosts, "db:10.200.6.9") || web.Networks[1].Network != "hearth_base.shared" || web.Networks[1].Address.IsValid() {
		t.Errorf("%+v", web)
	}
}

func TestSubnetsOverlapNothing(t *testing.T) {
	if a, b := chooseSubnet("x", nil), chooseSubnet("x", nil); a != b || a.Bits() != 23 || !pools[0].Overlaps(a) {
		t.Errorf("%v, %v", a, b)
	}
	if got := chooseSubnet("x", []netip.Prefix{pools[0], pools[1]}); !pools[2].Overlaps(got) {
		t.Errorf("%v", got)
	}
	if got := chooseSubnet("x", []netip.Prefix{prefix("0.0.0.0/0")}); got.IsValid() {
		t.Errorf("%v", got)
	}
	rapid.Check(t, func(t *rapid.T) {
		var taken []netip.Prefix
		for range rapid.IntRange(0, 50).Draw(t, "n") {
			a := [4]byte{rapid.SampledFrom([]byte{10, 172, 192}).Draw(t, "a"), rapid.Byte().Draw(t, "b"), rapid.Byte().Draw(t, "c"), 0}
			taken = append(taken, netip.PrefixFrom(netip.AddrFrom4(a), rapid.IntRange(8, 32).Draw(t, "bits")).Masked())
		}
		got := chooseSubnet(rapid.String().Draw(t, "name"), taken)
		if got.IsValid() && (overlaps(got, taken) || got != got.Masked()) {
			t.Fatalf("%v", got)
		}
		gateway, engines := layout(protocol.StackNetwork{}, prefix("10.200.2.0/23"))
		for number := 1; number <= 200; number++ {
			if a := address(protocol.StackNetwork{}, prefix("10.200.2.0/23"), uint8(number)); a == gateway || engines.Contains(a) {
				t.Fatalf("%v is taken twice", a)
			}
		}
	})
}

func TestSubnetOfTheStacksOwn(t *testing.T) {
	n := protocol.StackNetwork{Name: "x", Subnet: "172.30.5.0/24"}
	p, err := parseSubnet(n.Subnet)
	if err != nil {
		t.Fatal(err)
	}
	gateway, engines := layout(n, p)
	if gateway.String() != "172.30.5.1" || engines.String() != "172.30.5.192/26" || address(n, p, 4).String() != "172.30.5.5" {
		t.Errorf("%v, %v, %v", gateway, engines, address(n, p, 4))
	}
	for _, bad := range []string{"", "x", "10.0.0.0/30", "::/64", "10.0.0.0/7"} {
		if _, err := parseSubnet(bad); protocol.CodeOf(err) != protocol.CodeInvalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestValidateFindsWhatCannotBeKeptUp(t *testing.T) {
	two := func(change func(*protocol.Stack)) *protocol.Stack {
		s := &protocol.Stack{Name: "s", Services: []protocol.StackService{{Name: "a", Number: 1}, {Name: "b", Number: 2}}}
		change(s)
		return s
	}
	for words, s := range map[string]*protocol.Stack{
		"a -> b -> a": two(func(s *protocol.Stack) {
			s.Services[0].DependsOn = []protocol.Dependency{{Service: "b"}}
			s.Services[1].NetworkMode = "service:a"
		}),
		"number 1":      two(func(s *protocol.Stack) { s.Services[1].Number = 1 }),
		"number 0":      two(func(s *protocol.Stack) { s.Services[1].Number = 0 }),
		"the service c": two(func(s *protocol.Stack) { s.Services[1].DependsOn = []protocol.Dependency{{Service: "c"}} }),
		"the network n": two(func(s *protocol.Stack) { s.Services[1].Networks = []protocol.NetworkAttachment{{Network: "n"}} }),
		"the volume v": two(func(s *protocol.Stack) {
			s.Services[1].Mounts = []protocol.StackMount{{Kind: protocol.MountVolume, Source: "v"}}
		}),
		"the file f": two(func(s *protocol.Stack) {
			s.Services[1].Mounts = []protocol.StackMount{{Kind: protocol.MountFile, Source: "f"}}
		}),
		"1 to 64":        {Name: "s"},
		"of the service": two(func(s *protocol.Stack) { s.Services[1].NetworkMode = "service:x" }),
	} {
		if err := validate(s); protocol.CodeOf(err) != protocol.CodeInvalid || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", words, err)
		}
	}
	if err := validate(two(func(*protocol.Stack) {})); err != nil {
		t.Error(err)
	}
}

// TestFolderBelowWhatAnotherWrites: it could be replaced by a link while it is
// mounted.
func TestFolderBelowWhatAnotherWrites(t *testing.T) {
	mount := func(name, subpath string, readOnly bool) protocol.StackService {
		return protocol.StackService{Name: name, Image: "app", Mounts: []protocol.StackMount{
			{Kind: protocol.MountVolume, Source: "data", Subpath: subpath, Target: "/d", ReadOnly: readOnly},
		}}
	}
	for name, c := range map[string]struct {
		services []protocol.StackService
		refused  bool
	}{
		"the whole volume":          {[]protocol.StackService{mount("a", "", false), mount("b", "x", false)}, true},
		"the whole, for reading":    {[]protocol.StackService{mount("a", "", true), mount("b", "x", false)}, false},
		"a folder above":            {[]protocol.StackService{mount("a", "x", false), mount("b", "x/y/z", true)}, true},
		"the same folder":           {[]protocol.StackService{mount("a", "x/y", false), mount("b", "x/y", false)}, false},
		"another folder":            {[]protocol.StackService{mount("a", "x", false), mount("b", "xy", false)}, false},
		"one service with both":     {[]protocol.StackService{{Name: "a", Image: "app", Mounts: append(mount("", "", false).Mounts, mount("", "x", false).Mounts...)}}, false},
		"both mount all of it":      {[]protocol.StackService{mount("a", "", false), mount("b", "", false)}, false},
		"the whole by another name": {[]protocol.StackService{mount("a", ".", false), mount("b", "x", false)}, true},
	} {
		got := compile(&protocol.Stack{Name: "s", Volumes: []protocol.StackVolume{{Name: "data"}}, Services: c.services}, aWorld())
		if refused := len(got.refusals) == 1 && got.refusals[0].Service == "b" && got.service("b").blocked != ""; refused != c.refused || !refused && len(got.refusals) > 0 {
			t.Errorf("%s: %+v", name, got.refusals)
		}
	}
}
