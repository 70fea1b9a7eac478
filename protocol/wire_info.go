package protocol

import (
	"math"
	"slices"
	"time"

	"github.com/hearth-edge/hearth/protocol/pb"
)

func stopToPB(s *Stop) *pb.StopRequest {
	return &pb.StopRequest{
		Request: string(s.Request), Signal: s.Signal, Grace: durationToPB(s.Grace), SignalOnly: s.SignalOnly,
	}
}

func stopFromPB(p *pb.StopRequest) (Stop, error) {
	request, err := requestRef(p.GetRequest())
	if err != nil {
		return Stop{}, err
	}
	if p.GetSignal() != "" {
		if err := checkSignal(p.GetSignal()); err != nil {
			return Stop{}, err
		}
	}
	grace, err := durationFromPB("grace", p.GetGrace())
	if err != nil {
		return Stop{}, err
	}
	return Stop{Request: request, Signal: p.GetSignal(), Grace: grace, SignalOnly: p.GetSignalOnly()}, nil
}

func sizeToPB(rows, columns uint16) *pb.Resize {
	return &pb.Resize{Rows: uint32(rows), Columns: uint32(columns)}
}

func sizeFromPB(p *pb.Resize) (rows, columns uint16, err error) {
	if p.GetRows() > math.MaxUint16 || p.GetColumns() > math.MaxUint16 {
		return 0, 0, Errorf(CodeInvalid, "resize: %d rows and %d columns are out of bounds", p.GetRows(), p.GetColumns())
	}
	return uint16(p.GetRows()), uint16(p.GetColumns()), nil
}

// lastMilli is the last moment of the year 9999: later ones cannot be written
// as text everywhere.
const lastMilli = 253402300799999

// milliToPB returns the milliseconds since 1970, 0 for what is no time.
func milliToPB(t time.Time) int64 {
	if ms := t.UnixMilli(); ms > 0 && ms <= lastMilli {
		return ms
	}
	return 0
}

// milliFromPB takes what is out of bounds for no time, as times are for people
// only.
func milliFromPB(ms int64) time.Time {
	if ms <= 0 || ms > lastMilli {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

func infoToPB(i *RequestInfo) *pb.RequestInfo {
	return &pb.RequestInfo{
		Request: string(i.ID), Orchestrator: string(i.Orchestrator),
		OrchestratorName: clip(i.OrchestratorName, maxName),
		Image:            i.Image, Args: fewArgs(i.Args), Tags: i.Tags, Detached: i.Detached, Last: eventToPB(&i.Last),
		Accepted: milliToPB(i.Accepted), Started: milliToPB(i.Started), Ended: milliToPB(i.Ended),
	}
}

// maxInfoArgs is how many bytes of arguments a line of a list has.
const maxInfoArgs = 8 << 10

// fewArgs returns the arguments as far as they fit into a line of a list.
func fewArgs(args []string) []string {
	room := maxInfoArgs
	for i, a := range args {
		if room -= len(a) + 4; room < 0 { // 4: what each takes beside its bytes
			return append(slices.Clone(args[:i]), clip(a, max(0, room+len(a))))
		}
	}
	return args
}

func infoFromPB(p *pb.RequestInfo) (RequestInfo, error) {
	i := RequestInfo{
		OrchestratorName: clip(p.GetOrchestratorName(), maxName), Image: p.GetImage(), Args: p.GetArgs(), Tags: p.GetTags(),
		Detached: p.GetDetached(), Accepted: milliFromPB(p.GetAccepted()),
		Started: milliFromPB(p.GetStarted()), Ended: milliFromPB(p.GetEnded()),
	}
	var err error
	if i.ID, err = ParseRequestID(p.GetRequest()); err != nil {
		return RequestInfo{}, err
	}
	if i.Orchestrator, err = ParsePeerID(p.GetOrchestrator()); err != nil {
		return RequestInfo{}, err
	}
	if err := checkText("image", i.Image, maxImage); err != nil {
		return RequestInfo{}, err
	}
	if err := checkArgs(i.Args); err != nil {
		return RequestInfo{}, err
	}
	if err := checkTags(i.Tags); err != nil {
		return RequestInfo{}, err
	}
	if i.Last, err = eventFromPB(p.GetLast()); err != nil {
		return RequestInfo{}, err
	}
	return i, nil
}

// maxDecisions is the most decisions that a RequestDetail holds; all their
// candidates together are at most MaxDevices.
const maxDecisions = 100

// detailToPB returns d in items that each fit into a frame. Of too many
// decisions the latest are kept.
func detailToPB(d *RequestDetail) []*pb.RequestsItem {
	items := []*pb.RequestsItem{
		{Item: &pb.RequestsItem_Info{Info: infoToPB(&d.RequestInfo)}},
	}
	service := d.Service.WithoutSecrets()
	items = append(items, serviceItems(&service)...)
	for i := range d.Events {
		items = append(items, &pb.RequestsItem{Item: &pb.RequestsItem_Event{Event: eventToPB(&d.Events[i])}})
	}
	latest := latestDecisions(d.Decisions)
	for i := range latest {
		for _, part := range decisionToPB(&latest[i]) {
			items = append(items, &pb.RequestsItem{Item: &pb.RequestsItem_Decision{Decision: part}})
		}
	}
	return items
}

// latestDecisions returns those of all that a RequestDetail may hold.
func latestDecisions(all []Decision) []Decision {
	first, candidates := len(all), 0
	for first > 0 && len(all)-first < maxDecisions {
		candidates += len(all[first-1].Candidates)
		if candidates > MaxDevices && first < len(all) {
			break
		}
		first--
	}
	return all[first:]
}

// detailParts puts a RequestDetail together again.
type detailParts struct {
	detail     RequestDetail
	hasInfo    bool
	hasService bool
	service    []byte // the parts that have come
	decision   decisionParts
	candidates int
}

// add takes the next item; one that it does not know is none.
func (d *detailParts) add(m *pb.RequestsItem) (err error) {
	switch v := m.GetItem().(type) {
	case *pb.RequestsItem_Info:
		d.detail.RequestInfo, err = infoFromPB(v.Info)
		d.hasInfo = true
	case *pb.RequestsItem_Service:
		d.detail.Service, err = serviceFromPB(v.Service)
		d.hasService = true
	case *pb.RequestsItem_ServicePart:
		if len(d.service)+len(v.ServicePart.GetData()) > MaxService {
			return Errorf(CodeInvalid, "detail: a service of more than %d bytes", MaxService)
		}
		d.service = append(d.service, v.ServicePart.GetData()...)
	case *pb.RequestsItem_Event:
		err = d.addEvent(v.Event)
	case *pb.RequestsItem_Decision:
		err = d.addDecision(v.Decision)
	}
	return err
}

func (d *detailParts) addEvent(p *pb.Event) error {
	if len(d.detail.Events) == maxEvents {
		return Errorf(CodeInvalid, "detail: more than %d events", maxEvents)
	}
	e, err := eventFromPB(p)
	d.detail.Events = append(d.detail.Events, e)
	return err
}

func (d *detailParts) addDecision(p *pb.Decision) error {
	if d.candidates += len(p.GetCandidates()); d.candidates > MaxDevices {
		return Errorf(CodeInvalid, "detail: more than %d candidates", MaxDevices)
	}
	if len(d.detail.Decisions) == maxDecisions {
		return Errorf(CodeInvalid, "detail: more than %d decisions", maxDecisions)
	}
	whole, err := d.decision.add(p)
	if whole != nil {
		d.detail.Decisions = append(d.detail.Decisions, *whole)
	}
	return err
}

// joinService decodes a service that came in parts.
func (d *detailParts) joinService() error {
	if d.hasService || len(d.service) == 0 {
		return nil
	}
	p := new(pb.Service)
	if err := unmarshal(d.service, p); err != nil {
		return err
	}
	var err error
	d.detail.Service, err = serviceFromPB(p)
	d.hasService = true
	return err
}

// whole returns the detail; everything has come.
func (d *detailParts) whole() (RequestDetail, error) {
	if err := d.joinService(); err != nil {
		return RequestDetail{}, broken(err)
	}
	switch {
	case !d.hasInfo:
		return RequestDetail{}, broken(missing("info"))
	case !d.hasService:
		return RequestDetail{}, broken(missing("service"))
	case d.decision.decision != nil:
		return RequestDetail{}, broken(missing("the rest of a decision"))
	}
	return d.detail, nil
}
