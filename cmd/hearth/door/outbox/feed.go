package outbox

import (
	"encoding/json"
	"strings"
	"sync"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/protocol/api"
)

// A summary is what is told of a device, in steps coarse enough that an idle device
// has nothing new to tell.
type summary struct {
	Kind        string             `json:"kind"`
	Mesh        string             `json:"mesh"`
	ID          protocol.PeerID    `json:"id"`
	Name        string             `json:"name"`
	Online      bool               `json:"online"`
	Role        string             `json:"role,omitempty"`
	Running     uint32             `json:"running"`
	Queued      uint32             `json:"queued"`
	MemoryFree  protocol.Bytes     `json:"memory_free"`
	Temperature uint32             `json:"temperature,omitempty"`
	Problem     string             `json:"problem"`
	LastFailed  protocol.RequestID `json:"last_failed,omitempty"`
}

// Steps of the amounts in a summary.
const (
	memoryStep      = 256 << 20 // bytes
	temperatureStep = 5         // °C
)

// change is what is told of a request.
type change struct {
	Kind  string    `json:"kind"`
	Mesh  string    `json:"mesh"`
	Event api.Event `json:"event"`
}

// feed makes messages of what an app says. Its methods may be used concurrently.
type feed struct {
	mesh string

	mu     sync.Mutex // guards what follows
	known  map[protocol.PeerID]summary
	failed map[protocol.PeerID]protocol.RequestID
}

func newFeed(mesh string) *feed {
	return &feed{mesh: mesh, known: map[protocol.PeerID]summary{}, failed: map[protocol.PeerID]protocol.RequestID{}}
}

func (f *feed) topic(kind, name string) string {
	return "hearth/" + level(f.mesh) + "/" + kind + "/" + level(name)
}

// level is text as one level of a topic: what has a meaning there is replaced.
func level(s string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("+#/$", r) || r < ' ' || r == 0x7f {
			return '_'
		}
		return r
	}, s)
}

func (f *feed) event(e *protocol.Event, put func(message)) {
	if e.Progress != nil {
		return // how far a pull is has no end of messages
	}
	put(message{topic: f.topic("requests", string(e.Request)), payload: encode(change{"request", f.mesh, api.NewEvent(e)})})
	if bad := e.State.Ended() && e.State != protocol.StateSucceeded && e.State != protocol.StateCancelled; !bad || e.Node == "" {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed[e.Node] = e.Request
	if s, ok := f.known[e.Node]; ok && s.Online {
		s.LastFailed = e.Request
		f.tell(s, put)
	}
}

// devices tells of the devices that changed, and of those that are gone.
func (f *feed) devices(ds []protocol.Device, put func(message)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	here := map[protocol.PeerID]bool{}
	for i := range ds {
		s := f.summarise(&ds[i])
		here[s.ID] = true
		old, known := f.known[s.ID]
		if old == s {
			continue
		}
		if known && old.Name != s.Name {
			old.Online = false
			f.tell(old, put)
		}
		if !known || old.Name != s.Name {
			put(f.discovery(&ds[i]))
		}
		f.tell(s, put)
	}
	for id, s := range f.known {
		if !here[id] && s.Online {
			s.Online, s.Running, s.Queued = false, 0, 0
			f.tell(s, put)
		}
	}
}

func (f *feed) tell(s summary, put func(message)) {
	f.known[s.ID] = s
	put(message{topic: f.topic("devices", s.Name), payload: encode(s), retained: true, latest: true})
}

func (f *feed) summarise(d *protocol.Device) summary {
	s := &d.Status
	var problems []string
	if s.NotReady {
		problems = append(problems, "its container engine has not answered yet")
	}
	if len(s.MissingLimits) > 0 {
		problems = append(problems, "it cannot keep limits of "+strings.Join(s.MissingLimits, ", "))
	}
	if s.ClaimedName != "" {
		problems = append(problems, "another device has its name")
	}
	if s.CopyAddress != "" {
		problems = append(problems, "a copy of it runs elsewhere")
	}
	return summary{
		Kind: "device", Mesh: f.mesh, ID: s.Node, Name: s.Name, Online: true, Role: s.Role.String(), Running: s.Running, Queued: s.Queued,
		MemoryFree: s.MemoryFree / memoryStep * memoryStep, Temperature: (s.Temperature + temperatureStep/2) / temperatureStep * temperatureStep,
		Problem: strings.Join(problems, "; "), LastFailed: f.failed[s.Node],
	}
}

// will is what a broker says of a device whose connection broke.
func will(mesh, name string) *message {
	f := newFeed(mesh)
	return &message{topic: f.topic("devices", name), payload: encode(summary{Kind: "device", Mesh: mesh, Name: name}), retained: true}
}

func encode(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		return []byte("{}") // there is nothing in it that cannot be written
	}
	return raw
}
