package v1

import (
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// The JSON of a record.
type (
	request struct {
		ID       string
		Service  service
		Detached bool
		At       time.Time
	}

	service struct {
		Image        string
		Args         []string
		Entrypoint   string
		Env          []string
		WorkDir      string
		User         string
		CPUs         float64
		Memory       uint64
		Stdin, TTY   bool
		Timeout      int64 // nanoseconds
		Network      string
		Mounts       []mount
		Devices      []string
		Capabilities []string
		Accelerator  string
		Retry        uint32
		Constraints  constraints
	}

	mount struct {
		Source, Target string
		Writable       bool
	}

	constraints struct {
		Node    string
		Labels  map[string]string
		NotHere bool
	}

	end struct {
		Event     event
		Attempts  uint32
		History   []event
		Decisions []decision
	}

	event struct {
		Request    string
		Attempt    uint32
		State      uint8
		Node       string
		NodeName   string
		At         time.Time
		Code       uint8
		Reason     string
		ExitCode   int
		QueuePlace uint32
		Progress   *progress
		Container  string
	}

	progress struct {
		Current, Total     uint64
		LayersDone, Layers uint32
	}

	decision struct {
		Level      int64 // nanoseconds
		Places     float64
		Candidates []candidate
		Unnamed    int
	}

	candidate struct {
		Node, Name                    string
		Self                          bool
		Rating                        float64
		Estimate, Work, Network, Cold int64 // nanoseconds
		Chance                        float64
		Chosen                        bool
		Code                          uint8
		Excluded                      string
	}
)

func (s *service) now() protocol.Service {
	n := protocol.Service{
		Image: s.Image, Args: s.Args, Entrypoint: s.Entrypoint, Env: s.Env, WorkDir: s.WorkDir, User: s.User,
		CPUs: protocol.Cores(s.CPUs), Memory: protocol.Bytes(s.Memory), Stdin: s.Stdin, TTY: s.TTY,
		Timeout: time.Duration(s.Timeout), Network: s.Network, Devices: s.Devices, Capabilities: s.Capabilities,
		Accelerator: s.Accelerator, Retry: s.Retry,
		Constraints: protocol.Constraints{Node: s.Constraints.Node, Labels: s.Constraints.Labels, NotHere: s.Constraints.NotHere},
	}
	for _, m := range s.Mounts {
		n.Mounts = append(n.Mounts, protocol.Mount{Source: m.Source, Target: m.Target, Writable: m.Writable})
	}
	return n
}

func (e *event) now() protocol.Event {
	n := protocol.Event{
		Request: protocol.RequestID(e.Request), Attempt: e.Attempt, State: protocol.State(e.State),
		Node: protocol.PeerID(e.Node), NodeName: e.NodeName, At: e.At, Code: protocol.Code(e.Code), Reason: e.Reason,
		ExitCode: e.ExitCode, QueuePlace: e.QueuePlace, Container: e.Container,
	}
	if p := e.Progress; p != nil {
		n.Progress = &protocol.Progress{
			Current: protocol.Bytes(p.Current), Total: protocol.Bytes(p.Total), LayersDone: p.LayersDone, Layers: p.Layers,
		}
	}
	return n
}

func (d *decision) now() protocol.Decision {
	n := protocol.Decision{Level: time.Duration(d.Level), Places: d.Places, Unnamed: d.Unnamed}
	for _, c := range d.Candidates {
		n.Candidates = append(n.Candidates, protocol.Candidate{
			Node: protocol.PeerID(c.Node), Name: c.Name, Self: c.Self, Score: c.Rating,
			Estimate: time.Duration(c.Estimate), Work: time.Duration(c.Work), Network: time.Duration(c.Network), Cold: time.Duration(c.Cold),
			Chance: c.Chance, Chosen: c.Chosen, Code: protocol.Code(c.Code), Excluded: c.Excluded,
		})
	}
	return n
}
