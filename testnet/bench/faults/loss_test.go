package faults

import (
	"testing"
	"time"

	"github.com/hearth-edge/hearth/testnet"
	"github.com/hearth-edge/hearth/testnet/netns"
)

// fault is a way to lose a device, and to have it back.
type fault struct {
	name       string
	bring, end func()
}

// trio is a mesh of three that run work on the machine's engine; one is watched
// by the first, and is lost again and again.
type trio struct {
	first, second, third *testnet.Node
	hosts                map[string]*netns.Host
}

func start(b *testing.B) *trio {
	secret := testnet.NewSecret(b)
	lan := netns.New(b)
	t := &trio{hosts: map[string]*netns.Host{}}
	for name, node := range map[string]**testnet.Node{"first": &t.first, "second": &t.second, "third": &t.third} {
		t.hosts[name] = lan.AddHost(name)
		*node = t.hosts[name].StartNode(b, testnet.Options{Secret: secret, Args: []string{"--driver", "docker"}})
	}
	t.first.WaitAble(3)
	return t
}

// faults are those of the node that *at is now.
func (t *trio) faults(at **testnet.Node) []fault {
	host := t.hosts[(*at).Name]
	return []fault{
		{"killed", func() { (*at).Kill() }, func() { *at = (*at).Relaunch() }},
		{"frozen", func() { (*at).Freeze() }, func() { (*at).Thaw() }},
		{"cut off", host.Isolate, host.Heal},
	}
}

// BenchmarkLoss: how soon another device's list lacks one that is lost, and how
// soon that is a node in the list again, able to work, when the fault is over.
// Rejoining counts from there on: from the start of the process where it was
// killed.
func BenchmarkLoss(b *testing.B) {
	t := start(b)
	watch := t.first.Watch()
	able := func(want bool) {
		watch.Until("the third as it should be", func(ds []testnet.Device) bool {
			d, there := testnet.Find(ds, "third")
			return want && d.Score > 0 || !want && !there
		})
	}
	faults := t.faults(&t.third)
	var noticed, rejoined []*timed
	for _, f := range faults {
		noticed = append(noticed, &timed{name: "noticed, " + f.name})
		rejoined = append(rejoined, &timed{name: "rejoined, " + f.name})
	}
	for b.Loop() {
		for i, f := range faults {
			able(true)
			begun := time.Now()
			f.bring()
			able(false)
			noticed[i].add(time.Since(begun))
			begun = time.Now()
			f.end()
			able(true)
			rejoined[i].add(time.Since(begun))
		}
	}
	for _, f := range noticed {
		f.record(b, "")
	}
	for _, f := range rejoined {
		f.record(b, "")
	}
}
