package faults

import (
	"fmt"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/p2p/app"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/testnet"
)

// BenchmarkFailover: a request with a retry runs on a node that is then lost, the
// container still running; how long until another node has started it again, as
// the asker hears. The image is everywhere. Most of it is the lease, which the
// container of the lost node must be given. The ways to be lost take turns.
func BenchmarkFailover(b *testing.B) {
	image := testnet.Image(b)
	t := start(b)
	conn, err := app.Dial(b.Context(), t.first.State)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	device := protocol.NewAppClient(conn.Open, conn.Token())
	nodes := map[string]**testnet.Node{"second": &t.second, "third": &t.third}
	total := timed{name: "run elsewhere, warm image"}
	var each []*timed // in the order of the faults
	for i := 0; b.Loop(); i++ {
		t.first.WaitAble(3)
		session, err := device.Run(b.Context(), protocol.Run{
			ID: protocol.RequestID(fmt.Sprintf("failover-%d-%d", b.N, i)),
			Service: protocol.Service{
				Image: image, Args: []string{"sleep", "10m"}, CPUs: 0.1, Memory: 16 << 20, Retry: 1,
				Constraints: protocol.Constraints{NotHere: true},
			},
		})
		if err != nil {
			b.Fatal(err)
		}
		at := running(b, session, 1)
		faults := t.faults(nodes[at])
		which := i % len(faults)
		f := faults[which]
		if which == len(each) {
			each = append(each, &timed{name: total.name + ", " + f.name})
		}
		begun := time.Now()
		f.bring()
		running(b, session, 2)
		took := time.Since(begun)
		total.add(took)
		each[which].add(took)
		f.end()
		_ = session.Stop(0)
		for {
			if u, err := session.Next(); err != nil || u.Event != nil && u.Event.State.Ended() {
				break
			}
		}
		session.Close()
	}
	total.record(b, "most of it is the lease, which the container of the lost node must be given")
	for _, f := range each {
		f.record(b, "")
	}
}

// running returns the name of the node on which the attempt runs, once it does.
func running(b *testing.B, session protocol.Session, attempt uint32) string {
	for {
		u, err := session.Next()
		if err != nil {
			b.Fatal(err)
		}
		switch e := u.Event; {
		case e == nil:
		case e.State.Ended():
			b.Fatalf("it ended as %d: %s", e.State, e.Reason)
		case e.State == protocol.StateRunning && e.Attempt == attempt && e.Container != "":
			return e.NodeName
		}
	}
}
