package protocol

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

func TestRequestIDs(t *testing.T) {
	seen := map[RequestID]bool{}
	for range 1000 {
		id := NewRequestID()
		if got, err := ParseRequestID(string(id)); err != nil || got != id || len(id) < 16 || strings.ToLower(string(id)) != string(id) {
			t.Fatalf("%q: %v", id, err)
		}
		if seen[id] {
			t.Fatalf("%q came twice", id)
		}
		seen[id] = true
	}
	for _, good := range []string{"a", "9", "A-b_c.d", strings.Repeat("x", 64)} {
		if _, err := ParseRequestID(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "-a", ".", "a b", "a/b", "ä", "a\x00", strings.Repeat("x", 65)} {
		if _, err := ParseRequestID(bad); CodeOf(err) != CodeInvalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestRequestRefs(t *testing.T) {
	for ref, want := range map[string][2]string{
		"nightly": {"nightly", ""}, "n@nas": {"n", "nas"}, "n@living room": {"n", "living room"}, "n@a@b": {"n", "a@b"},
	} {
		id, device, err := ParseRequestRef(ref)
		if err != nil || string(id) != want[0] || device != want[1] {
			t.Errorf("%q: %q, %q, %v", ref, id, device, err)
		}
	}
	for _, bad := range []string{"", "@", "@nas", "n@", "n@\x1b[2J", "a b@nas", "n@" + strings.Repeat("x", 129)} {
		if _, _, err := ParseRequestRef(bad); CodeOf(err) != CodeInvalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestParsePeerID(t *testing.T) {
	if got, err := ParsePeerID(string(nodeA)); got != nodeA || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []string{"", "a b", "a-b", strings.Repeat("x", 129)} {
		if _, err := ParsePeerID(bad); CodeOf(err) != CodeInvalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestHashImage(t *testing.T) {
	same := []string{"busybox", "busybox:latest", "docker.io/busybox", "library/busybox", "docker.io/library/busybox:latest"}
	for _, ref := range same {
		if HashImage(ref) != HashImage("busybox") {
			t.Errorf("%s differs", ref)
		}
	}
	for _, ref := range []string{"busybox:1.36", "ghcr.io/library/busybox", "", "BusyBox", strings.Repeat("a", 64)} {
		if HashImage(ref) == HashImage("busybox") {
			t.Errorf("%s is the same", ref)
		}
	}
	// Other devices compute the same.
	for ref, want := range map[string]uint32{"BusyBox": 0x337d7c09, "busybox": 0x34c6615d} {
		if got := HashImage(ref); got != want {
			t.Errorf("%s: %#x, want %#x", ref, got, want)
		}
	}
}

func TestValidateService(t *testing.T) {
	good := []func(*Service){
		func(*Service) {},
		func(s *Service) { *s = Service{Image: "a"} },
		func(s *Service) { s.Image = "localhost:5000/a/b@sha256:" + strings.Repeat("0", 64) },
		func(s *Service) { s.Image = strings.Repeat("0", 64) },
		func(s *Service) { *s = sampleStart() },
		func(s *Service) { s.Hostname = strings.Repeat("a", 64) },
		func(s *Service) { s.Pull = PullNever },
	}
	for i, change := range good {
		s := sampleService()
		change(&s)
		if err := s.Validate(); err != nil {
			t.Errorf("good %d: %v", i, err)
		}
	}
	many := func(n int, v string) []string { return strings.Split(strings.Repeat(v+"\n", n-1)+v, "\n") }
	for _, bad := range []struct {
		field  string
		change func(*Service)
	}{
		{"image", func(s *Service) { s.Image = "" }},
		{"image", func(s *Service) { s.Image = "Upper" }},
		{"image", func(s *Service) { s.Image = "a:\x00" }},
		{"image", func(s *Service) { s.Image = strings.Repeat("a", 513) }},
		{"args", func(s *Service) { s.Args = many(1025, "a") }},
		{"args", func(s *Service) { s.Args = []string{"a\x00b"} }},
		{"args", func(s *Service) { s.Args = []string{"\xff"} }},
		{"args", func(s *Service) { s.Args = []string{strings.Repeat("a", maxText+1)} }},
		{"entrypoint", func(s *Service) { s.Entrypoint = "\x00" }},
		{"env", func(s *Service) { s.Env = []string{"A"} }},
		{"env", func(s *Service) { s.Env = []string{"=a"} }},
		{"env", func(s *Service) { s.Env = many(1025, "A=1") }},
		{"env", func(s *Service) { s.Env = []string{strings.Repeat("long", 100)} }},
		{"workdir", func(s *Service) { s.WorkDir = "tmp" }},
		{"user", func(s *Service) { s.User = strings.Repeat("a", 257) }},
		{"cpus", func(s *Service) { s.CPUs = -1 }},
		{"cpus", func(s *Service) { s.CPUs = Cores(math.NaN()) }},
		{"cpus", func(s *Service) { s.CPUs = Cores(math.Inf(1)) }},
		{"memory", func(s *Service) { s.Memory = math.MaxUint64 }},
		{"timeout", func(s *Service) { s.Timeout = -1 }},
		{"timeout", func(s *Service) { s.Timeout = math.MaxInt64 * time.Nanosecond }},
		{"entrypoint", func(s *Service) { s.NoEntrypoint = true }},
		{"entrypoint", func(s *Service) { s.NoEntrypoint, s.Entrypoint, s.Args = true, "", nil }},
		{"terminal", func(s *Service) { s.TTYRows = 24 }},
		{"pull", func(s *Service) { s.Pull = "sometimes" }},
		{"hostname", func(s *Service) { s.Hostname = "-a" }},
		{"hostname", func(s *Service) { s.Hostname = "a b" }},
		{"hostname", func(s *Service) { s.Hostname = strings.Repeat("a", 65) }},
		{"tmpfs", func(s *Service) { s.Tmpfs = []Tmpfs{{Target: "tmp"}} }},
		{"tmpfs", func(s *Service) { s.Tmpfs = []Tmpfs{{Target: "/tmp/"}} }},
		{"tmpfs", func(s *Service) { s.Tmpfs = []Tmpfs{{Target: "/tmp"}, {Target: "/tmp"}} }},
		{"tmpfs", func(s *Service) { s.Tmpfs = []Tmpfs{{Target: "/films"}} }},
		{"tmpfs", func(s *Service) { s.Tmpfs = []Tmpfs{{Target: "/tmp", Mode: 0o10000}} }},
		{"tmpfs", func(s *Service) { s.Tmpfs = []Tmpfs{{Target: "/tmp", Size: math.MaxUint64}} }},
		{"tmpfs", func(s *Service) { s.Tmpfs = make([]Tmpfs, 65) }},
		{"shm_size", func(s *Service) { s.ShmSize = math.MaxUint64 }},
		{"node", func(s *Service) { s.Constraints.Node = strings.Repeat("a", 129) }},
		{"label", func(s *Service) { s.Constraints.Labels = map[string]string{"": "a"} }},
		{"label", func(s *Service) { s.Constraints.Labels = map[string]string{"a b": "a"} }},
		{"label", func(s *Service) { s.Constraints.Labels = map[string]string{"a": "\n"} }},
		{"label", func(s *Service) { s.Constraints.Labels = map[string]string{"a": strings.Repeat("a", 256)} }},
		{"service", func(s *Service) { s.Args = many(9, strings.Repeat("a", 120<<10)) }},
	} {
		s := sampleService()
		bad.change(&s)
		err := s.Validate()
		if CodeOf(err) != CodeInvalid || !strings.HasPrefix(err.Error(), bad.field) {
			t.Errorf("%s: %v", bad.field, err)
		}
	}
}

func TestBytesAreForPeople(t *testing.T) {
	for b, want := range map[Bytes]string{
		0: "0 B", 1023: "1023 B", 1024: "1 KiB", 512 << 20: "512 MiB", 3 << 29: "1.5 GiB", 1234567: "1.177 MiB", math.MaxUint64: "16 EiB",
	} {
		if got := b.String(); got != want {
			t.Errorf("%d is %q, want %q", uint64(b), got, want)
		}
	}
}

// TestSame: who comes back to a request may have a terminal of another size;
// everything else makes it another service.
func TestSame(t *testing.T) {
	a, b := sampleStart(), sampleStart()
	b.TTYRows, b.TTYColumns = 50, 132
	if !a.Same(&b) {
		t.Error("another size of the terminal makes another service")
	}
	b.Env = []string{}
	if !a.Same(&b) {
		t.Error("an empty list is another than none")
	}
	for i, change := range []func(*Service){
		func(s *Service) { s.Hostname = "web-2" }, func(s *Service) { s.Tmpfs[0].Exec = false }, func(s *Service) { s.Pull = PullNever },
		func(s *Service) { s.TTY, s.TTYRows, s.TTYColumns = false, 0, 0 },
	} {
		c := sampleStart()
		change(&c)
		if a.Same(&c) {
			t.Errorf("change %d makes no other service", i)
		}
	}
}

func TestStatusBounds(t *testing.T) {
	for _, bad := range []struct {
		field  string
		change func(*Status)
	}{
		{"a node ID", func(s *Status) { s.Node = "" }},
		{"name", func(s *Status) { s.Name = "a\x1bb" }},
		{"interval", func(s *Status) { s.Interval = 2 * time.Hour }},
		{"role", func(s *Status) { s.Role = 2 }},
		{"rating", func(s *Status) { s.Score = math.NaN() }},
		{"speed", func(s *Status) { s.Speed = -1 }},
		{"cpus", func(s *Status) { s.CPUs = 1 << 21 }},
		{"slots", func(s *Status) { s.Slots = 1 << 21 }},
		{"memory_free", func(s *Status) { s.MemoryFree = math.MaxUint64 }},
		{"version", func(s *Status) { s.Version = "1\x1b[2J" }},
		{"long_running.count", func(s *Status) { s.LongRunning.Count = 1 << 21 }},
		{"long_running.cpus", func(s *Status) { s.LongRunning.CPUs = 1 << 21 }},
		{"long_running.memory", func(s *Status) { s.LongRunning.Memory = math.MaxUint64 }},
		{"arch", func(s *Status) { s.Arch = strings.Repeat("a", 33) }},
		{"drivers", func(s *Status) { s.Drivers = make([]string, 9) }},
		{"label", func(s *Status) { s.Labels = map[string]string{"ä": ""} }},
		{"images", func(s *Status) { s.Images = make([]uint32, 257) }},
		{"address", func(s *Status) { s.Addresses = make([]string, 13) }},
		{"score", func(s *Status) {
			s.Labels = map[string]string{}
			for i := range 64 {
				s.Labels[fmt.Sprint("k", i)] = strings.Repeat("v", 255)
			}
		}},
	} {
		s := sampleStatus()
		bad.change(&s)
		if _, err := EncodeStatus(s); CodeOf(err) != CodeInvalid || !strings.HasPrefix(err.Error(), bad.field) {
			t.Errorf("%s: %v", bad.field, err)
		}
	}
	if _, err := DecodeStatus(make([]byte, MaxStatus+1)); CodeOf(err) != CodeInvalid {
		t.Errorf("too large: %v", err)
	}
	if b, err := EncodeStatus(sampleStatus()); err != nil || len(b) > 245 {
		t.Errorf("a usual score takes %d bytes, %v", len(b), err)
	}
}
