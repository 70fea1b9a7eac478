package protocol

import (
	"time"

	"github.com/hearth-edge/hearth/protocol/pb"
)

func eventToPB(e *Event) *pb.Event {
	p := &pb.Event{
		Request: string(e.Request), Attempt: e.Attempt, State: pb.State(e.State),
		Node: string(e.Node), NodeName: clip(e.NodeName, maxName), At: nanoToPB(e.At),
		Code: codeToPB(e.Code), Reason: clip(e.Reason, maxReason),
		ExitCode: int32(e.ExitCode), QueuePlace: e.QueuePlace, Container: clip(e.Container, maxContainer),
		Exited: e.Exited,
	}
	if g := e.Progress; g != nil {
		p.Progress = &pb.Progress{
			Current: uint64(g.Current), Total: uint64(g.Total), LayersDone: g.LayersDone, Layers: g.Layers,
		}
	}
	return p
}

func eventFromPB(p *pb.Event) (Event, error) {
	e := Event{
		Attempt: p.GetAttempt(), NodeName: clip(p.GetNodeName(), maxName), At: nanoFromPB(p.GetAt()),
		Code: codeFromPB(p.GetCode()), Reason: clip(p.GetReason(), maxReason),
		ExitCode: int(p.GetExitCode()), QueuePlace: p.GetQueuePlace(),
		Container: clip(p.GetContainer(), maxContainer), Exited: p.GetExited(),
	}
	var err error
	if e.Request, err = optionalRequest(p.GetRequest()); err != nil {
		return Event{}, err
	}
	if e.Node, err = optionalNode(p.GetNode()); err != nil {
		return Event{}, err
	}
	if e.State, err = stateFromPB(p.GetState()); err != nil {
		return Event{}, err
	}
	if g := p.GetProgress(); g != nil {
		e.Progress = &Progress{
			Current: Bytes(g.Current), Total: Bytes(g.Total), LayersDone: g.LayersDone, Layers: g.Layers,
		}
	}
	return e, nil
}

// A decision of many candidates takes several frames.
const (
	// MaxDevices is the most devices that a decision or a list of devices names.
	MaxDevices = 10_000
	// candidatesPerFrame of at most some 1.5 KiB each fit into a frame.
	candidatesPerFrame = 40
)

// decisionToPB returns d in parts that fit into a frame each.
func decisionToPB(d *Decision) []*pb.Decision {
	rest := d.Candidates[:min(len(d.Candidates), MaxDevices)]
	parts := make([]*pb.Decision, 0, 1+len(rest)/candidatesPerFrame)
	for first := true; first || len(rest) > 0; first = false {
		part := &pb.Decision{}
		if first {
			part.Level, part.Places = durationToPB(d.Level), finite(d.Places)
			part.Unnamed = uint32(min(max(d.Unnamed, 0), MaxDevices))
		}
		n := min(len(rest), candidatesPerFrame)
		for i := range rest[:n] {
			part.Candidates = append(part.Candidates, candidateToPB(&rest[i]))
		}
		rest = rest[n:]
		part.More = len(rest) > 0
		parts = append(parts, part)
	}
	return parts
}

func candidateToPB(c *Candidate) *pb.Candidate {
	return &pb.Candidate{
		Node: string(c.Node), Name: clip(c.Name, maxName), Self: c.Self, Rating: finite(c.Score),
		Estimate: durationToPB(c.Estimate), Work: durationToPB(c.Work),
		Network: durationToPB(c.Network), Cold: durationToPB(c.Cold),
		Chance: min(max(finite(c.Chance), 0), 1), Chosen: c.Chosen, Guess: c.Guess,
		Code: codeToPB(c.Code), Excluded: clip(c.Excluded, maxReason),
	}
}

// decisionParts puts a decision together again.
type decisionParts struct{ decision *Decision }

// add takes the next part and returns the decision when it is whole.
func (d *decisionParts) add(p *pb.Decision) (*Decision, error) {
	if d.decision == nil {
		level, err := durationFromPB("level", p.GetLevel())
		if err != nil {
			return nil, err
		}
		if err := checkFinite("places", p.GetPlaces()); err != nil {
			return nil, err
		}
		if p.GetUnnamed() > MaxDevices {
			return nil, Errorf(CodeInvalid, "decision: more than %d devices are not named", MaxDevices)
		}
		d.decision = &Decision{Level: level, Places: p.GetPlaces(), Unnamed: int(p.GetUnnamed())}
	}
	if len(d.decision.Candidates)+len(p.GetCandidates()) > MaxDevices {
		return nil, Errorf(CodeInvalid, "decision: more than %d candidates", MaxDevices)
	}
	for _, c := range p.GetCandidates() {
		candidate, err := candidateFromPB(c)
		if err != nil {
			return nil, err
		}
		d.decision.Candidates = append(d.decision.Candidates, candidate)
	}
	if p.GetMore() {
		return nil, nil
	}
	whole := d.decision
	d.decision = nil
	return whole, nil
}

func candidateFromPB(p *pb.Candidate) (Candidate, error) {
	c := Candidate{
		Name: clip(p.GetName(), maxName), Self: p.GetSelf(), Score: p.GetRating(),
		Chance: p.GetChance(), Chosen: p.GetChosen(), Guess: p.GetGuess(),
		Code: codeFromPB(p.GetCode()), Excluded: clip(p.GetExcluded(), maxReason),
	}
	var err error
	if c.Node, err = ParsePeerID(p.GetNode()); err != nil {
		return Candidate{}, err
	}
	if err := checkFinite("rating", c.Score); err != nil {
		return Candidate{}, err
	}
	if err := checkAmount("chance", c.Chance, 1); err != nil {
		return Candidate{}, err
	}
	for _, d := range []struct {
		to   *time.Duration
		from uint64
	}{{&c.Estimate, p.GetEstimate()}, {&c.Work, p.GetWork()}, {&c.Network, p.GetNetwork()}, {&c.Cold, p.GetCold()}} {
		if *d.to, err = durationFromPB("estimate", d.from); err != nil {
			return Candidate{}, err
		}
	}
	return c, nil
}

func deviceToPB(d *Device) *pb.Device {
	return &pb.Device{
		Score: statusToPB(&d.Status), Self: d.Self, Age: durationToPB(d.Age),
		Address: clip(d.Address, maxAddress), Rtt: durationToPB(d.RTT),
	}
}

func deviceFromPB(p *pb.Device) (Device, error) {
	d := Device{Self: p.GetSelf(), Address: clip(p.GetAddress(), maxAddress)}
	var err error
	if d.Status, err = statusFromPB(p.GetScore()); err != nil {
		return Device{}, err
	}
	if d.Age, err = durationFromPB("age", p.GetAge()); err != nil {
		return Device{}, err
	}
	if d.RTT, err = durationFromPB("rtt", p.GetRtt()); err != nil {
		return Device{}, err
	}
	return d, nil
}

func checkToPB(c *Check) *pb.Check {
	return &pb.Check{
		Name: clip(c.Name, maxName), Level: pb.Level(c.Level),
		Finding: clip(c.Finding, maxFinding), Advice: clip(c.Advice, maxFinding),
	}
}

// maxFinding leaves room for what a check quotes.
const maxFinding = 8 << 10

// checkFromPB takes a level that it does not know for the worst.
func checkFromPB(p *pb.Check) Check {
	level := LevelProblem
	if p.GetLevel() >= 0 && p.GetLevel() < pb.Level_LEVEL_PROBLEM {
		level = Level(p.GetLevel())
	}
	return Check{
		Name: clip(p.GetName(), maxName), Level: level,
		Finding: clip(p.GetFinding(), maxFinding), Advice: clip(p.GetAdvice(), maxFinding),
	}
}
