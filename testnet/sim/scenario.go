package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Bounds of a scenario.
const (
	maxScenario = 1 << 20 // bytes of its file
	maxNodes    = 10_000
	maxRequests = 2_000_000 // in one replication
	maxRepeats  = 1000
	maxListed   = 1000 // kinds, nodes, services, bursts, churn
)

// A Scenario is a fleet and what comes over it: see the package comment.
type Scenario struct {
	Name         string     `json:"name"`
	About        string     `json:"about"`
	Fleet        Fleet      `json:"fleet"`
	Load         Load       `json:"load"`
	Services     []Service  `json:"services"`
	Network      Network    `json:"network"`
	Churn        []Churn    `json:"churn"`
	Liars        Liars      `json:"liars"`
	Boasters     Boasters   `json:"boasters"`
	Background   Background `json:"background"`
	WarmupS      float64    `json:"warmup_s"`
	DurationS    float64    `json:"duration_s"`
	Replications int        `json:"replications"`
	Seed         uint64     `json:"seed"`
}

// A Fleet says which nodes there are.
type Fleet struct {
	Count     int     `json:"count"`
	Kinds     []Kind  `json:"kinds"`
	Nodes     []Kind  `json:"nodes"`
	Speed     *Dist   `json:"speed"`
	Slots     *Dist   `json:"slots"`
	MemoryMiB float64 `json:"memory_mib"`
	PullMiBS  float64 `json:"pull_mib_s"`
}

// A Kind is a sort of node: a share of the fleet, or count nodes of it.
type Kind struct {
	Share     float64  `json:"share"`
	Count     int      `json:"count"`
	Speed     float64  `json:"speed"`
	Slots     int      `json:"slots"`
	MemoryMiB float64  `json:"memory_mib"`
	Images    []string `json:"images"`
}

// Load says when requests come, and from whom.
type Load struct {
	Utilisation   float64 `json:"utilisation"`
	Rate          float64 `json:"rate"`
	Bursts        []Burst `json:"bursts"`
	Orchestrators int     `json:"orchestrators"`
}

// A Burst is many requests at once.
type Burst struct {
	AtS      float64 `json:"at_s"`
	Requests int     `json:"requests"`
}

// A Service is a share of the requests.
type Service struct {
	Name      string   `json:"name"`
	Share     float64  `json:"share"`
	Work      Dist     `json:"work"`
	CPUs      float64  `json:"cpus"`
	MemoryMiB float64  `json:"memory_mib"`
	ImageMiB  float64  `json:"image_mib"`
	Present   *float64 `json:"present"`
	// Endless is the share of its requests that never end.
	Endless float64 `json:"endless"`
}

// Network says how long messages take, and how often statuses are gossiped.
type Network struct {
	BeatS    float64 `json:"beat_s"`
	QuietS   float64 `json:"quiet_beat_s"`
	DeviceS  float64 `json:"beat_per_device_s"`
	Changes  float64 `json:"changes_per_beat"`
	SettleMS float64 `json:"settle_ms"`
	DelayMS  float64 `json:"delay_ms"`
	RTTMS    float64 `json:"rtt_ms"`
	Loss     float64 `json:"loss"`
	DetectS  float64 `json:"detect_s"`
}

// Churn is nodes that come or go at one moment.
type Churn struct {
	AtS   float64 `json:"at_s"`
	Leave float64 `json:"leave"`
	Crash float64 `json:"crash"`
	Join  float64 `json:"join"`
}

// Boasters are nodes whose statuses tell so many times their speed: measured on a
// cool machine, or on an idle one.
type Boasters struct {
	Share float64 `json:"share"`
	Times float64 `json:"times"`
}

// Liars gossip that they are idle, whatever they do.
type Liars struct {
	Share float64 `json:"share"`
	// AcceptAll: they refuse nothing either.
	AcceptAll bool `json:"accept_all"`
}

// Background is other programs that use the CPU, on and off.
type Background struct {
	Share float64 `json:"share"`
	CPU   float64 `json:"cpu"`
	OnS   float64 `json:"on_s"`
	OffS  float64 `json:"off_s"`
}

// defaults is what a scenario is where its file says nothing.
func defaults() Scenario {
	return Scenario{
		Name:     "default",
		Fleet:    Fleet{Count: 50, MemoryMiB: 65536, PullMiBS: 10},
		Network:  Network{BeatS: 1, DelayMS: 5, RTTMS: 2, DetectS: 2.6},
		Boasters: Boasters{Times: 4},
		Background: Background{
			CPU: 0.5, OnS: 10, OffS: 10,
		},
		WarmupS: 10, DurationS: 40, Replications: 5, Seed: 1,
	}
}

// defaultKinds is the fleet that Hearth is measured with.
func defaultKinds() []Kind {
	return []Kind{
		{Share: 0.20, Speed: 0.1, Slots: 2}, {Share: 0.30, Speed: 0.25, Slots: 4}, {Share: 0.25, Speed: 1, Slots: 4},
		{Share: 0.15, Speed: 2, Slots: 8}, {Share: 0.10, Speed: 4, Slots: 8},
	}
}

// decode reads a scenario. What it does not know, and what is out of range, is
// an error that says where and what is allowed.
func decode(r io.Reader) (*Scenario, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxScenario+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxScenario {
		return nil, fmt.Errorf("the scenario is larger than %d bytes", maxScenario)
	}
	s := defaults()
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return nil, fmt.Errorf("after %d bytes: %w", d.InputOffset(), err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("after %d bytes: there must be one JSON object and nothing after it", d.InputOffset())
	}
	s.complete()
	return &s, s.check()
}

// complete fills in the lists that the file left out.
func (s *Scenario) complete() {
	f := &s.Fleet
	if len(f.Kinds) == 0 && len(f.Nodes) == 0 && f.Speed == nil && f.Slots == nil {
		f.Kinds = defaultKinds()
	}
	if len(s.Services) == 0 {
		s.Services = []Service{{Name: "job", Share: 1, Work: Dist{Kind: "exp", Mean: 1}}}
	}
	for i := range s.Services {
		v := &s.Services[i]
		if v.Name == "" {
			v.Name = fmt.Sprintf("service-%d", i+1)
		}
		if v.Work.Kind == "" {
			v.Work = Dist{Kind: "exp", Mean: 1}
		}
		if v.Share == 0 {
			v.Share = 1
		}
		if v.CPUs == 0 {
			v.CPUs = 1
		}
	}
	for i := range f.Nodes {
		f.Nodes[i].Count = max(f.Nodes[i].Count, 1)
	}
	if s.Load.Utilisation == 0 && s.Load.Rate == 0 && len(s.Load.Bursts) == 0 {
		s.Load.Utilisation = 0.8
	}
}
