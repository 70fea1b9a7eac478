package faults

import (
	"testing"
	"time"

	"github.com/hearth-edge/hearth/p2p/app"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/testnet"
	"github.com/hearth-edge/hearth/testnet/bench/report"
	"github.com/hearth-edge/hearth/testnet/netns"
)

// BenchmarkFlood: what a member that floods a node in each of the ways that there
// are does to the requests of another that the node runs: their time from asking
// to the end, in turns without the flood and under it. The member takes no more than
// what is left of this machine's processors: it has a device of its own in life.
func BenchmarkFlood(b *testing.B) {
	testnet.Attacker(b)
	image := testnet.Image(b)
	secret := testnet.NewSecret(b)
	lan := netns.New(b)
	host := lan.AddHost("victim")
	host.StartNode(b, testnet.Options{Secret: secret, Args: []string{"--listen", "/ip4/0.0.0.0/tcp/4100"}})
	friend := lan.AddHost("friend").StartNode(b, testnet.Options{Secret: secret, Args: []string{"--driver", "none"}})
	attacker := lan.AddHost("attacker")
	friend.Watch().Until("the victim able to work", func(ds []testnet.Device) bool {
		v, ok := testnet.Find(ds, "victim")
		return ok && v.Role == "node" && v.Score > 0
	})
	conn, err := app.Dial(b.Context(), friend.State)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	device := protocol.NewAppClient(conn.Open, conn.Token())
	request := func() float64 {
		return toEnd(b, device, protocol.Service{Image: image, Args: []string{"exit", "0"}, Constraints: protocol.Constraints{Node: "victim"}}).Seconds() * 1e3
	}
	request() // the first of an image is not like the others
	floods := []string{"scores", "streams", "frames"}
	calm, under := make([][]float64, len(floods)), make([][]float64, len(floods))
	for b.Loop() {
		for i, flood := range floods {
			calm[i] = append(calm[i], request(), request())
			stop := attacker.Attack(b, flood, host.IP+":4100", secret)
			under[i] = append(under[i], request(), request())
			stop()
		}
	}
	for i, flood := range floods {
		run.Record(b, &report.Figure{
			Group: "faults", Name: "request while a member floods " + flood, Nodes: 3, Unit: "ms", Samples: under[i],
			Reference: &report.Reference{Name: "without it", Samples: calm[i]},
		})
	}
}

// toEnd runs a service and returns how long it took until it had ended well.
func toEnd(b *testing.B, device *protocol.AppClient, s protocol.Service) time.Duration {
	b.Helper()
	begun := time.Now()
	session, err := device.Run(b.Context(), protocol.Run{Service: s})
	if err != nil {
		b.Fatal(err)
	}
	defer session.Close()
	for {
		u, err := session.Next()
		switch {
		case err != nil:
			b.Fatal(err)
		case u.Event == nil || !u.Event.State.Ended():
		case u.Event.State != protocol.StateSucceeded:
			b.Fatalf("it ended as %d: %s", u.Event.State, u.Event.Reason)
		default:
			return time.Since(begun)
		}
	}
}
