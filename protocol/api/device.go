package api

import "github.com/hearth-edge/hearth/protocol"

// Device is one device in `hearth nodes --json`; the keys are stable.
type Device struct {
	Name          string          `json:"name"`
	PeerID        protocol.PeerID `json:"peer_id"`
	Self          bool            `json:"self"`
	Role          string          `json:"role"`
	Draining      bool            `json:"draining"`
	NotReady      bool            `json:"not_ready"`
	MissingLimits []string        `json:"missing_limits"`
	Arch          string          `json:"arch"`
	OS            string          `json:"os"`
	Drivers       []string        `json:"drivers"`
	Speed         float64         `json:"speed"`
	CPUs          protocol.Cores  `json:"cpus"`
	CPUFree       protocol.Cores  `json:"cpu_free"`
	CPUOthers     protocol.Cores  `json:"cpu_others"`
	MemoryTotal   protocol.Bytes  `json:"memory_total"`
	MemoryFree    protocol.Bytes  `json:"memory_free"`
	DiskFree      protocol.Bytes  `json:"disk_free"`
	Slots         uint32          `json:"slots"`
	Running       uint32          `json:"running"`
	Queued        uint32          `json:"queued"`
	Score         float64         `json:"score"`
	Address       string          `json:"address,omitempty"`
	Addresses     []string        `json:"addresses"`
	AgeMS         int64           `json:"age_ms"`
	RTTMS         float64         `json:"rtt_ms,omitempty"`
	Accelerators  []string        `json:"accelerators"`
	// What is not known is left out.
	TemperatureC uint32            `json:"temperature_c,omitempty"`
	Throttled    float64           `json:"throttled,omitempty"`
	PullRate     protocol.Bytes    `json:"pull_rate,omitempty"`
	LongRunning  LongRunning       `json:"long_running,omitzero"`
	YoungestMS   float64           `json:"youngest_ms,omitempty"`
	Version      string            `json:"version,omitempty"`
	ClaimedName  string            `json:"claimed_name,omitempty"`
	CopyAddress  string            `json:"copy_address,omitempty"`
	Labels       map[string]string `json:"labels"`
}

// LongRunning is what a node's long-running executions take.
type LongRunning struct {
	Count  uint32         `json:"count"`
	CPUs   protocol.Cores `json:"cpus"`
	Memory protocol.Bytes `json:"memory"`
	RanMS  float64        `json:"ran_ms"`
}

// NewDevices returns the objects of ds, in their order.
func NewDevices(ds []protocol.Device) []Device {
	out := make([]Device, 0, len(ds))
	for i := range ds {
		out = append(out, NewDevice(&ds[i]))
	}
	return out
}

// NewDevice returns the object of d.
func NewDevice(d *protocol.Device) Device {
	s := &d.Status
	labels := s.Labels
	if labels == nil {
		labels = map[string]string{}
	}
	return Device{
		Name: s.Name, PeerID: s.Node, Self: d.Self, Role: s.Role.String(), Draining: s.Draining, NotReady: s.NotReady, MissingLimits: listed(s.MissingLimits),
		Arch: s.Arch, OS: s.OS, Drivers: listed(s.Drivers), Speed: s.Speed,
		CPUs: s.CPUs, CPUFree: s.CPUFree, CPUOthers: s.CPUOthers,
		MemoryTotal: s.MemoryTotal, MemoryFree: s.MemoryFree, DiskFree: s.DiskFree,
		Slots: s.Slots, Running: s.Running, Queued: s.Queued, Score: s.Score,
		LongRunning: LongRunning{s.LongRunning.Count, s.LongRunning.CPUs, s.LongRunning.Memory, milliseconds(s.LongRunning.Ran)},
		YoungestMS:  milliseconds(s.Youngest), Version: s.Version,
		Address: d.Address, RTTMS: milliseconds(d.RTT),
		Accelerators: listed(s.Accelerators), TemperatureC: s.Temperature, Throttled: s.Throttled, PullRate: s.PullRate,
		Labels: labels, Addresses: listed(s.Addresses), AgeMS: d.Age.Milliseconds(),
		ClaimedName: s.ClaimedName, CopyAddress: s.CopyAddress,
	}
}

// DeviceInfo is `hearth status --json`; the keys are stable.
type DeviceInfo struct {
	Name     string          `json:"name"`
	PeerID   protocol.PeerID `json:"peer_id"`
	Mesh     string          `json:"mesh"`
	Version  string          `json:"version"`
	State    string          `json:"state"`
	UptimeMS int64           `json:"uptime_ms"`
	Peers    int             `json:"peers"`
	Engine   string          `json:"engine,omitempty"`
	NoEngine string          `json:"no_engine,omitempty"`
	Running  uint32          `json:"running"`
	Queued   uint32          `json:"queued"`
	Draining bool            `json:"draining"`
	// Worst is the gravest finding of doctor, if there is any.
	Worst *Check `json:"worst,omitempty"`
}

// NewDeviceInfo returns what the device tells of itself. state is its state
// folder, worst the gravest finding of its doctor, or nil.
func NewDeviceInfo(d *protocol.DeviceInfo, state string, worst *protocol.Check) DeviceInfo {
	out := DeviceInfo{
		Name: d.Name, PeerID: d.ID, Mesh: d.Fingerprint, Version: d.Version, State: state, UptimeMS: d.Uptime.Milliseconds(),
		Peers: d.Peers, Engine: d.Engine, NoEngine: d.NoEngine, Running: d.Running, Queued: d.Queued, Draining: d.Draining,
	}
	if worst != nil {
		out.Worst = &NewChecks([]protocol.Check{*worst})[0]
	}
	return out
}

// Check is one finding in `hearth doctor --json`; the keys are stable.
type Check struct {
	Name    string `json:"name"`
	Level   string `json:"level"`
	Finding string `json:"finding"`
	Advice  string `json:"advice,omitempty"`
}

// NewChecks returns the findings of a doctor, in their order.
func NewChecks(checks []protocol.Check) []Check {
	levels := map[protocol.Level]string{protocol.LevelOK: "ok", protocol.LevelWarning: "warning", protocol.LevelProblem: "problem"}
	out := make([]Check, 0, len(checks))
	for _, ch := range checks {
		out = append(out, Check{ch.Name, levels[ch.Level], ch.Finding, ch.Advice})
	}
	return out
}
