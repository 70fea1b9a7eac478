package sched

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/hearth-edge/hearth/protocol"
)

func TestMatch(t *testing.T) {
	labels := func(k, v string) protocol.Constraints {
		return protocol.Constraints{Labels: map[string]string{k: v}}
	}
	for _, c := range []struct {
		name    string
		service protocol.Service
		score   func(*protocol.Status)
		self    bool
		code    protocol.Code
		reason  string
	}{
		{name: "nothing asked"},
		{name: "by name", service: protocol.Service{Constraints: protocol.Constraints{Node: "name-tv"}}},
		{name: "by ID", service: protocol.Service{Constraints: protocol.Constraints{Node: "tv"}}},
		{name: "another node", service: protocol.Service{Constraints: protocol.Constraints{Node: "pi"}},
			code: protocol.CodeConstraint, reason: "is not pi, the only node allowed"},
		{name: "not here, elsewhere", service: protocol.Service{Constraints: protocol.Constraints{NotHere: true}}},
		{name: "not here", service: protocol.Service{Constraints: protocol.Constraints{NotHere: true}}, self: true,
			code: protocol.CodeConstraint, reason: "is the asking device, which was left out by wish"},
		{name: "runs no work", score: func(s *protocol.Status) { s.Role = protocol.RoleDevice },
			code: protocol.CodeConstraint, reason: "runs no work: no container engine is in use there"},
		{name: "draining", score: func(s *protocol.Status) { s.Draining = true },
			code: protocol.CodePolicy, reason: protocol.ReasonDraining},
		{name: "draining and no node", score: func(s *protocol.Status) { s.Role, s.Draining = protocol.RoleDevice, true },
			code: protocol.CodeConstraint, reason: "runs no work: no container engine is in use there"},
		{name: "no limits", score: func(s *protocol.Status) { s.MissingLimits = []string{"memory", "pids"} },
			code: protocol.CodePolicy, reason: "cannot limit a container's memory, pids, as its owner's policy asks: 'hearth doctor' there says what helps"},
		{name: "no driver", score: func(s *protocol.Status) { s.Drivers = nil },
			code: protocol.CodeEngineDown, reason: "has no container engine that answers"},
		{name: "arch", service: protocol.Service{Constraints: labels("arch", "amd64")}},
		{name: "other arch", service: protocol.Service{Constraints: labels("arch", "arm64")},
			code: protocol.CodeConstraint, reason: "has arch=amd64, arm64 asked"},
		{name: "other OS", service: protocol.Service{Constraints: labels("os", "plan9")},
			code: protocol.CodeConstraint, reason: "has os=linux, plan9 asked"},
		{name: "driver", service: protocol.Service{Constraints: labels("driver", "docker")}},
		{name: "other driver", service: protocol.Service{Constraints: labels("driver", "wasm")},
			code: protocol.CodeConstraint, reason: "has driver=docker, wasm asked"},
		{name: "name", service: protocol.Service{Constraints: labels("name", "name-tv")}},
		{name: "other name", service: protocol.Service{Constraints: labels("name", "pi")},
			code: protocol.CodeConstraint, reason: "is not named pi"},
		{name: "label", service: protocol.Service{Constraints: labels("room", "kitchen")}},
		{name: "other label", service: protocol.Service{Constraints: labels("room", "attic")},
			code: protocol.CodeConstraint, reason: "has room=kitchen, attic asked"},
		{name: "no label", service: protocol.Service{Constraints: labels("gpu", "yes")},
			code: protocol.CodeConstraint, reason: "has no label gpu, gpu=yes asked"},
		{name: "the first of two labels", service: protocol.Service{Constraints: protocol.Constraints{
			Labels: map[string]string{"z": "1", "b": "2", "arch": "amd64"}}},
			code: protocol.CodeConstraint, reason: "has no label b, b=2 asked"},
		{name: "all of it", service: protocol.Service{CPUs: 2, Memory: 4 * gib}},
		{name: "too many cores", service: protocol.Service{CPUs: 8},
			code: protocol.CodeResources, reason: "has 2 cores, 8 cores asked"},
		{name: "one core", service: protocol.Service{CPUs: 1.5}, score: func(s *protocol.Status) { s.CPUs = 1 },
			code: protocol.CodeResources, reason: "has 1 core, 1.5 cores asked"},
		{name: "too much memory", service: protocol.Service{Memory: 5 * gib},
			code: protocol.CodeResources, reason: "has 4 GiB of memory, 5 GiB asked"},
		{name: "accelerator", service: protocol.Service{Accelerator: "gpu"}, score: func(s *protocol.Status) { s.Accelerators = []string{"npu", "gpu"} }},
		{name: "no accelerator", service: protocol.Service{Accelerator: "gpu"},
			code: protocol.CodeConstraint, reason: "has no gpu that its owner lends"},
		{name: "another accelerator", service: protocol.Service{Accelerator: "gpu"}, score: func(s *protocol.Status) { s.Accelerators = []string{"npu"} },
			code: protocol.CodeConstraint, reason: "has no gpu that its owner lends; it lends: npu"},
		{name: "throttled beyond sense", score: func(s *protocol.Status) { s.Throttled = math.NaN() },
			code: protocol.CodeInvalid, reason: "gives out a score that makes no sense: look at its log"},
		{name: "not a speed", score: func(s *protocol.Status) { s.Speed = math.NaN() },
			code: protocol.CodeInvalid, reason: "gives out a score that makes no sense: look at its log"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := nodeStatus("tv", 1, 2)
			s.Labels = map[string]string{"room": "kitchen"}
			if c.score != nil {
				c.score(&s)
			}
			r := Match(&c.service, &s, c.self)
			switch {
			case r == nil && c.code != protocol.CodeNone:
				t.Errorf("admitted, want %q", c.reason)
			case r != nil && (r.Code != c.code || r.Reason != c.reason):
				t.Errorf("%v %q, want %v %q", r.Code, r.Reason, c.code, c.reason)
			}
		})
	}
}

func TestHasRoom(t *testing.T) {
	s := nodeStatus("tv", 1, 2)
	s.CPUFree, s.MemoryFree = 0.5, gib/2
	for _, c := range []struct {
		service protocol.Service
		want    bool
	}{
		{protocol.Service{CPUs: 0.5, Memory: gib / 2}, true},
		{protocol.Service{CPUs: 0.6}, false},
		{protocol.Service{Memory: gib}, false},
	} {
		if got := hasRoom(&c.service, &s); got != c.want {
			t.Errorf("%v cores and %d bytes fit: %v", c.service.CPUs, c.service.Memory, got)
		}
	}
}

// Each execution more makes the score fall, each one less makes it rise, and
// so do others' programs; it never reaches zero, and scales with the speed.
func TestScoreFallsAsLoadRises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := nodeStatus("tv", rapid.Float64Range(0.01, 10).Draw(t, "speed"), rapid.IntRange(1, 64).Draw(t, "slots"))
		s.Running = uint32(rapid.IntRange(0, 64).Draw(t, "running"))
		s.Queued = uint32(rapid.IntRange(0, 1000).Draw(t, "queued"))
		s.CPUOthers = protocol.Cores(rapid.Float64Range(0, 0.5).Draw(t, "others"))
		rate := DefaultParams().Rate
		before := rate(&s)
		for name, change := range map[string]func(*protocol.Status){
			"running": func(s *protocol.Status) { s.Running++ },
			"queued":  func(s *protocol.Status) { s.Queued++ },
			"others":  func(s *protocol.Status) { s.CPUOthers += 0.1 },
			"hotter":  func(s *protocol.Status) { s.Throttled = 0.2 },
			"slower":  func(s *protocol.Status) { s.Speed /= 2 },
		} {
			worse := s
			change(&worse)
			if after := rate(&worse); !(after < before) || !(after > 0) {
				t.Fatalf("%s: the rating went from %v to %v", name, before, after)
			}
		}
	})
	if got := DefaultParams().Rate(&protocol.Status{}); got != 0 {
		t.Errorf("no node is rated %v", got)
	}
	idle := nodeStatus("tv", 1.5, 4)
	if got := DefaultParams().Rate(&idle); got != 150 {
		t.Errorf("an idle node of speed 1.5 is rated %v", got)
	}
}
