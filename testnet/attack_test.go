package testnet_test

import (
	"fmt"
	"os"
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
	} {
		t.Run(c.verb, func(t *testing.T) {
			secret := testnet.NewSecret(t)
			lan := netns.New(t)
			host := lan.AddHost("victim")
			victim := host.StartNode(t, testnet.Options{Secret: secret, Args: []string{"--listen", "/ip4/0.0.0.0/tcp/4100"}})
			friend := lan.AddHost("friend").StartNode(t, testnet.Options{Secret: secret, Args: []string{"--driver", "none"}})
			able := func(ds []testnet.Device) bool {
				v, ok := testnet.Find(ds, "victim")
				return ok && v.Role == "node" && v.Score > 0
			}
			friend.Watch().Until("the victim able to work", able)
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
			stop := lan.AddHost("attacker").Attack(t, args...)
			if c.verb == "scores" {
				victim.AwaitLog("name=attacker")
			}
			began := time.Now()
			under := ask()
			for time.Since(began) < lasting {
				under = append(under, ask()...)
			}
			joining := time.Now()
			late := lan.AddHost("late").StartNode(t, testnet.Options{Secret: secret, Args: []string{"--driver", "none"}})
			late.Watch().Until("the victim able to work", able)
			joined := time.Since(joining)
			during := memory(t, victim)
			stop()
			afterwards, after := ask(), memory(t, victim)

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
