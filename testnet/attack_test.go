package testnet_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/testnet"
	"github.com/hearth-edge/hearth/testnet/netns"
)

const (
	// grownBy bounds what an attack may add to a device's memory.
	grownBy = 64 << 20
	// measured is how many requests each figure is of, lasting how long an attack
	// goes on at least.
	measured = 8
	lasting  = 5 * time.Second
)

// TestAttacks: a device under attack by a stranger or a careless member lives,
// serves requests of honest members, lets a new one join, and does not grow without
// bound. The attacker is a process on a host of its own.
//
// It measures, so it runs beside no other test.
func TestAttacks(t *testing.T) {
	testnet.Attacker(t) // building it takes time that no attack is to count
	image := testnet.Image(t)
	for _, c := range []struct {
		verb   string
		member bool // it has the secret
	}{
		{"silent", false}, {"garbage", false}, {"slow", false}, {"stock", false}, {"foreign", false}, {"mdns", false},
		{"borrowed", true}, {"scores", true}, {"streams", true}, {"frames", true}, {"chatter", true},
		{"sybil", true}, {"local", false}, {"pins", true}, {"names", true},
	} {
		t.Run(c.verb, func(t *testing.T) {
			secret := testnet.NewSecret(t)
			lan := netns.New(t)
			host := lan.AddHost("victim")
			policy := filepath.Join(t.TempDir(), "policy.toml")
			if err := os.WriteFile(policy, []byte("allow_from = [\"friend\"]\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			victim := host.StartNode(t, testnet.Options{Secret: secret, Args: []string{"--listen", "/ip4/0.0.0.0/tcp/4100", "--policy", policy}})
			friend := lan.AddHost("friend").StartNode(t, testnet.Options{Secret: secret, Args: []string{"--driver", "none"}})
			able := func(ds []testnet.Device) bool {
				v, ok := testnet.Find(ds, "victim")
				return ok && v.Role == "node" && v.Score > 0
			}
			friend.Watch().Until("the victim able to work", able)
			others := []string{"friend"}
			if c.verb == "sybil" { // it takes some of whom the victim hears through others only
				for i := range 6 {
					name := fmt.Sprint("other", i)
					others = append(others, name)
					lan.AddHost(name).StartNode(t, testnet.Options{Secret: secret, Args: []string{"--driver", "none"}})
				}
				victim.WaitNodes(len(others) + 1)
			}
			ask := func() []time.Duration { return askVictim(t, friend, image) }
			ask() // the first of an image is not like the others
			before, calm := memory(t, victim), ask()

			args := []string{c.verb, host.IP + ":4100"}
			if c.verb == "mdns" {
				args[1] = strings.TrimSpace(victim.Hearth("secret", "fingerprint").Stdout)
			}
			if c.member || c.verb == "borrowed" {
				args = append(args, secret)
			}
			if c.verb == "pins" || c.verb == "names" {
				args = append(args, "friend")
			}
			from := host
			if c.verb == "local" {
				args[1] = appsPort(t, victim)
			} else {
				from = lan.AddHost("attacker")
			}
			stop := from.Attack(t, args...)
			if c.verb == "scores" {
				victim.AwaitLog("name=attacker")
			}
			began := time.Now()
			under := ask()
			for time.Since(began) < lasting {
				under = append(under, ask()...)
			}
			if c.verb == "local" {
				for range measured {
					if r := victim.Hearth("nodes"); r.Code != 0 {
						t.Errorf("the owner's command ended with %d: %s", r.Code, r.Stderr)
					}
				}
			}
			joining := time.Now()
			late := lan.AddHost("late").StartNode(t, testnet.Options{Secret: secret, Args: []string{"--driver", "none"}})
			late.Watch().Until("the victim able to work", able)
			joined := time.Since(joining)
			during := memory(t, victim)
			stop()
			if c.verb == "sybil" {
				hearsAll(t, victim, others)
			}
			afterwards, after := ask(), memory(t, victim)
			if c.verb == "pins" {
				passesForNobody(t, lan, secret, victim, friend, image)
			}

			t.Logf("request %v before, %v during (×%.2f), %v after; RSS %d, %d, %d MiB; a member joined within %v of its start; %d lines logged",
				median(calm), median(under), float64(median(under))/float64(median(calm)), median(afterwards),
				before>>20, during>>20, after>>20, joined.Round(time.Millisecond), strings.Count(victim.Log(), "\n"))
			if during > before+grownBy {
				t.Errorf("the device grew from %d to %d MiB", before>>20, during>>20)
			}
			if n := strings.Count(victim.Log(), "\n"); n > 200 {
				t.Errorf("%d lines were logged", n)
			}
		})
	}
}

// passesForNobody: a device that claims the friend's name is not let in by the victim's
// policy, and is not called so.
func passesForNobody(t *testing.T, lan *netns.Net, secret string, victim, friend *testnet.Node, image string) {
	t.Helper()
	other := lan.AddHost("false").StartNode(t, testnet.Options{Name: "friend", Secret: secret, Args: []string{"--driver", "none"}})
	other.Watch().Until("the victim", func(ds []testnet.Device) bool {
		v, ok := testnet.Find(ds, "victim")
		return ok && v.Score > 0
	})
	if r := other.Hearth("run", "--node", "victim", image, "exit", "0"); r.Code != 126 || !strings.Contains(r.Stderr, "allow_from") {
		t.Errorf("a device with another's name was served: %d, %s", r.Code, r.Stderr)
	}
	seen := victim.Watch().Until("the false one by the end of its ID", func(ds []testnet.Device) bool {
		return slices.ContainsFunc(ds, func(d testnet.Device) bool { return strings.HasPrefix(d.Name, "friend-") })
	})
	own, ok := testnet.Find(friend.Watch().Until("itself", func(ds []testnet.Device) bool { return len(ds) > 0 }), "friend")
	if d, found := testnet.Find(seen, "friend"); !ok || !found || d.PeerID != own.PeerID {
		t.Errorf("the victim calls %+v friend, which is %+v", d, own)
	}
}

// askVictim has containers run by the victim and returns how long each took.
func askVictim(t *testing.T, friend *testnet.Node, image string) []time.Duration {
	t.Helper()
	var took []time.Duration
	for range measured {
		began := time.Now()
		if r := friend.Hearth("run", "--node", "victim", image, "exit", "0"); r.Code != 0 {
			t.Fatalf("an honest request ended with %d: %s", r.Code, r.Stderr)
		}
		took = append(took, time.Since(began))
	}
	return took
}

// memory is the resident memory of a node's process, in bytes.
func memory(t *testing.T, n *testnet.Node) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.PID()))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		t.Fatal("no memory is told")
	}
	kib, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2].Round(time.Millisecond)
}

// appsPort is where apps can connect to a device, besides its socket.
func appsPort(t *testing.T, n *testnet.Node) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(n.State, "app.json"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "/ip4/127.0.0.1/tcp/")
	port, _, ok := strings.Cut(rest, "/")
	if !ok {
		t.Fatalf("no port in %s", data)
	}
	return "127.0.0.1:" + port
}

// hearsAll waits until a device has a status of each other one that is of after now.
func hearsAll(t *testing.T, n *testnet.Node, others []string) {
	t.Helper()
	const intervals = 3 * 10 * time.Second // three of a quiet device in a mesh of ten
	began := time.Now()
	for range time.Tick(500 * time.Millisecond) {
		var list []testnet.Device
		if err := json.Unmarshal([]byte(n.Hearth("nodes", "--json").Stdout), &list); err != nil {
			t.Fatal(err)
		}
		since := time.Since(began)
		var old []string
		for _, name := range others {
			if d, ok := testnet.Find(list, name); !ok || time.Duration(d.AgeMS)*time.Millisecond >= since {
				old = append(old, fmt.Sprintf("%s (%d ms)", name, d.AgeMS))
			}
		}
		if len(old) == 0 {
			t.Logf("each device told a new score within %v", since.Round(time.Second))
			return
		}
		if since > intervals {
			t.Fatalf("no new score within %v of %v", since, old)
		}
	}
}
