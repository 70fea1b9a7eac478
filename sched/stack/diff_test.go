package stack

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/hearth-edge/hearth/protocol"
)

// drawn makes a stack of some of ten services, of one of two images each.
func drawn(t *rapid.T, label string) protocol.Stack {
	s := protocol.Stack{Name: "s"}
	for _, i := range rapid.SliceOfNDistinct(rapid.IntRange(0, 9), 1, 10, func(i int) int { return i }).Draw(t, label) {
		s.Services = append(s.Services, protocol.StackService{Name: fmt.Sprint("n", i), Image: fmt.Sprint("a:", rapid.IntRange(1, 2).Draw(t, "image")), Restart: protocol.RestartNo})
	}
	return s
}

// A diff names each service once, and nothing else; one that is in both is touched
// if and only if it differs.
func TestDiffIsTheDifference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawn(t, "old"), drawn(t, "new")
		before, after := byName(&a), byName(&b)
		seen := make(map[string]bool)
		for _, c := range Diff(&a, &b) {
			if seen[c.Service] {
				t.Fatalf("%s comes twice", c.Service)
			}
			seen[c.Service] = true
			was, is := before[c.Service], after[c.Service]
			want := protocol.ActionKeep
			switch {
			case was == nil && is == nil:
				t.Fatalf("%s is in neither", c.Service)
			case was == nil:
				want = protocol.ActionCreate
			case is == nil:
				want = protocol.ActionRemove
			case was.Image != is.Image:
				want = protocol.ActionRecreate
			}
			if c.Action != want || (want == protocol.ActionRecreate) != slices.Equal(c.Why, []string{"image"}) {
				t.Fatalf("%+v, want %s", c, want)
			}
		}
		for name := range before {
			if !seen[name] {
				t.Fatalf("%s is left out", name)
			}
		}
		if same(&a, &b) != !slices.ContainsFunc(Diff(&a, &b), func(c protocol.ServiceChange) bool { return c.Action != protocol.ActionKeep }) {
			t.Fatal("same and Diff disagree")
		}
	})
}

// A service keeps its number for as long as a version with it is kept, and no two
// services of a version share one.
func TestNumbersStay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var history []protocol.StackRecord // the latest first
		for range rapid.IntRange(1, 20).Draw(t, "versions") {
			s := drawn(t, "version")
			assignNumbers(&s, history)
			taken := make(map[uint8]bool)
			for _, svc := range s.Services {
				if svc.Number == 0 || svc.Number > maxNumber || taken[svc.Number] {
					t.Fatalf("%s has the number %d", svc.Name, svc.Number)
				}
				taken[svc.Number] = true
				for i := range history {
					if old := byName(&history[i].Stack)[svc.Name]; old != nil && old.Number != svc.Number {
						t.Fatalf("%s had the number %d and has %d", svc.Name, old.Number, svc.Number)
					}
				}
			}
			history = append([]protocol.StackRecord{{Stack: s}}, history...)
			history = history[:min(len(history), KeptVersions)]
		}
	})
}

// What a service refers to counts as its own.
func TestDiffSeesParts(t *testing.T) {
	base := func() protocol.Stack {
		s := stackOf("s", "web=a", "db=b").Record.Stack
		s.Files = []protocol.StackFile{{Name: "conf", Data: []byte("1"), Size: 1}}
		s.Volumes = []protocol.StackVolume{{Name: "data"}}
		s.Networks = []protocol.StackNetwork{{Name: "front"}}
		s.Services[0].Mounts = []protocol.StackMount{{Kind: protocol.MountFile, Source: "conf", Target: "/c"}, {Kind: protocol.MountVolume, Source: "data", Target: "/d"}}
		s.Services[0].Networks = []protocol.NetworkAttachment{{Network: "front"}}
		return s
	}
	for why, change := range map[string]func(*protocol.Stack){
		"file conf":     func(s *protocol.Stack) { s.Files[0].Data = []byte("2") },
		"volume data":   func(s *protocol.Stack) { s.Volumes[0].Path = "./data" },
		"network front": func(s *protocol.Stack) { s.Networks[0].Internal = true },
		"uses":          func(s *protocol.Stack) { s.Uses = []string{"a/b"} },
		"command":       func(s *protocol.Stack) { s.Services[0].Command = []string{} },
		"entrypoint":    func(s *protocol.Stack) { s.Services[0].Entrypoint = []string{} },
	} {
		a, b := base(), base()
		change(&b)
		if web := Diff(&a, &b)[0]; web.Action != protocol.ActionRecreate || !slices.Equal(web.Why, []string{why}) {
			t.Errorf("%s: %+v", why, web)
		}
	}
	a, b := base(), base()
	slices.Reverse(b.Services)
	b.Services[1].Env, b.Services[1].Number = []string{}, 7
	if !same(&a, &b) || !slices.Equal([]protocol.Action{Diff(&a, &b)[0].Action, Diff(&a, &b)[1].Action}, []protocol.Action{protocol.ActionKeep, protocol.ActionKeep}) {
		t.Errorf("order and numbers count: %+v", Diff(&a, &b))
	}
}
