package protocol

import (
	"context"
	"errors"
	"math"
	"reflect"
	"testing"
)

func TestPlan(t *testing.T) {
	d := running(ending())
	var asked Service
	d.plan = func(_ context.Context, s Service) (Decision, error) { asked = s; return sampleDecision(), nil }
	c, _ := appLink(t, d)
	got, err := c.Plan(context.Background(), sampleService())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, sampleDecision()) || !reflect.DeepEqual(asked, sampleService()) {
		t.Errorf("planned\n%+v\nas\n%+v", asked, got)
	}

	d.plan = func(context.Context, Service) (Decision, error) {
		return Decision{}, Errorf(CodeOverloaded, "not now")
	}
	if _, err := c.Plan(context.Background(), sampleService()); CodeOf(err) != CodeOverloaded {
		t.Errorf("error %v, want that of the device", err)
	}
	if _, err := c.Plan(context.Background(), Service{}); CodeOf(err) != CodeInvalid {
		t.Errorf("error %v for a service without an image", err)
	}
}

// The orchestrator learns from the connection, not from the message, which node
// asks.
func TestRenew(t *testing.T) {
	d := running(ending())
	_, l := executeLink(t, d)
	want := Renewal{Request: "r", Attempt: 2}
	d.renew = func(_ context.Context, node PeerID, r Renewal) error {
		if node != nodeB || r != want {
			return errors.New("asked for something else")
		}
		return nil
	}
	if err := Renew(context.Background(), l.open, want); err != nil {
		t.Error(err)
	}
	wantServed(t, l, nil)
	d.renew = func(context.Context, PeerID, Renewal) error { return Errorf(CodeLeaseExpired, "not wanted any more") }
	if err := Renew(context.Background(), l.open, want); CodeOf(err) != CodeLeaseExpired {
		t.Errorf("error %v, want that of the orchestrator", err)
	}
}

func TestGrantsAreChecked(t *testing.T) {
	for name, change := range map[string]func(*Service){
		"network":               func(s *Service) { s.Network = "a b" },
		"accelerator":           func(s *Service) { s.Accelerator = "gpu;rm" },
		"relative source":       func(s *Service) { s.Mounts = []Mount{{Source: "films", Target: "/films"}} },
		"source that goes up":   func(s *Service) { s.Mounts = []Mount{{Source: "/srv/../etc", Target: "/films"}} },
		"no target":             func(s *Service) { s.Mounts = []Mount{{Source: "/srv"}} },
		"device":                func(s *Service) { s.Devices = []string{"ttyS0"} },
		"device that goes up":   func(s *Service) { s.Devices = []string{"/dev/x/../mem"} },
		"capability":            func(s *Service) { s.Capabilities = []string{"net_admin"} },
		"no capability":         func(s *Service) { s.Capabilities = []string{""} },
		"too many capabilities": func(s *Service) { s.Capabilities = make([]string, maxGrants+1) },
		"retries":               func(s *Service) { s.Retry = maxRetry + 1 },
		"retries with input":    func(s *Service) { s.Retry, s.Stdin = 1, true },
	} {
		s := sampleService()
		change(&s)
		if err := s.Validate(); CodeOf(err) != CodeInvalid {
			t.Errorf("%s: %v, want that it is invalid", name, err)
		}
	}
}

func TestSizeCodes(t *testing.T) {
	if SizeCode(0) != 0 || CodedSize(0) != 0 {
		t.Error("0 does not stay unknown")
	}
	for _, b := range []Bytes{smallestSize, 1 << 20, 5e6, 777e6, 12e9, 1 << 46} {
		back := CodedSize(SizeCode(b))
		if off := math.Abs(float64(back)/float64(b) - 1); off > 0.05 {
			t.Errorf("%d comes back as %d", b, back)
		}
	}
	if SizeCode(1) != 1 || SizeCode(math.MaxUint64) != math.MaxUint8 {
		t.Error("what is out of bounds is not bounded")
	}
}
