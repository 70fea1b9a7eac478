package protocol

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/hearth-edge/hearth/protocol/pb"
)

func TestBadInfos(t *testing.T) {
	for name, spoil := range map[string]func(*pb.RequestInfo){
		"request":      func(p *pb.RequestInfo) { p.Request = "a b" },
		"no request":   func(p *pb.RequestInfo) { p.Request = "" },
		"orchestrator": func(p *pb.RequestInfo) { p.Orchestrator = "a b" },
		"nobody":       func(p *pb.RequestInfo) { p.Orchestrator = "" },
		"image":        func(p *pb.RequestInfo) { p.Image = strings.Repeat("x", maxImage+1) },
		"args":         func(p *pb.RequestInfo) { p.Args = make([]string, maxArgs+1) },
		"arg":          func(p *pb.RequestInfo) { p.Args = []string{"\x00"} },
		"state":        func(p *pb.RequestInfo) { p.Last.State = 99 },
		"no event":     func(p *pb.RequestInfo) { p.Last = nil },
	} {
		info := sampleInfo()
		p := infoToPB(&info)
		spoil(p)
		if got, err := infoFromPB(p); CodeOf(err) != CodeInvalid {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// Times are for people: they never break a conversation, and can be written.
func TestTimesOutOfBounds(t *testing.T) {
	for _, ms := range []int64{math.MinInt64, -1, 0, lastMilli + 1, math.MaxInt64} {
		if got := milliFromPB(ms); !got.IsZero() {
			t.Errorf("%d became %v", ms, got)
		}
		if got := milliToPB(time.UnixMilli(ms)); got != 0 {
			t.Errorf("%d was sent as %d", ms, got)
		}
	}
	if got := milliToPB(time.Time{}); got != 0 {
		t.Errorf("no time was sent as %d", got)
	}
	for _, ms := range []int64{1, lastMilli} {
		if _, err := milliFromPB(ms).UTC().MarshalJSON(); err != nil || milliToPB(milliFromPB(ms)) != ms {
			t.Errorf("%d: %v", ms, err)
		}
	}
}

func TestLongNameIsCut(t *testing.T) {
	long := strings.Repeat("ä", maxName)
	info := sampleInfo()
	info.OrchestratorName = long
	if p := infoToPB(&info); len(p.OrchestratorName) > maxName {
		t.Errorf("a name of %d bytes was sent", len(p.OrchestratorName))
	}
	p := infoToPB(new(sampleInfo()))
	p.OrchestratorName = long
	if got, err := infoFromPB(p); err != nil || len(got.OrchestratorName) > maxName {
		t.Errorf("a name of %d bytes was taken: %v", len(got.OrchestratorName), err)
	}
}

// The largest of everything fits into a frame.
func TestBigDetail(t *testing.T) {
	d := sampleDetail()
	d.Service = Service{Image: "a", Args: []string{strings.Repeat("x", 32<<10), strings.Repeat("y", 15<<10)}}
	d.Args = d.Service.Args
	d.OrchestratorName = strings.Repeat("ä", 1000)
	d.Last.Reason, d.Last.Container = strings.Repeat("r", 5000), strings.Repeat("c", 5000)
	d.Events = append(d.Events, d.Last)
	if err := d.Service.Validate(); err != nil {
		t.Fatal(err)
	}
	var parts detailParts
	for i, item := range detailToPB(&d) {
		if n := proto.Size(item); n > MaxFrame {
			t.Errorf("item %d takes %d bytes", i, n)
		}
		if err := parts.add(item); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := parts.whole(); err != nil {
		t.Error(err)
	}
}

// decisions returns one with so many candidates for each number.
func decisions(sizes ...int) []Decision {
	list := make([]Decision, len(sizes))
	for i, n := range sizes {
		list[i].Places = float64(i)
		for c := range n {
			list[i].Candidates = append(list[i].Candidates, Candidate{Node: PeerID(fmt.Sprint("node", c))})
		}
	}
	return list
}

// Of many decisions the latest are told, and whoever is told takes them.
func TestLatestDecisions(t *testing.T) {
	for _, tc := range []struct {
		sizes []int
		told  int
	}{
		{nil, 0},
		{[]int{0, 0, 0}, 3},
		{make([]int, maxDecisions), maxDecisions},
		{make([]int, maxDecisions+1), maxDecisions},
		{[]int{1, MaxDevices - 1, 1}, 2},
		{[]int{MaxDevices - 1, 1}, 2},
		{[]int{1, MaxDevices}, 1},
		{[]int{1, MaxDevices + 5}, 1},
	} {
		d := sampleDetail()
		d.Decisions = decisions(tc.sizes...)
		var parts detailParts
		for _, item := range detailToPB(&d) {
			if err := parts.add(item); err != nil {
				t.Fatalf("%v: %v", tc.sizes, err)
			}
		}
		got, err := parts.whole()
		if err != nil || len(got.Decisions) != tc.told {
			t.Errorf("%v: %d decisions were told, %v", tc.sizes, len(got.Decisions), err)
			continue
		}
		if n := len(got.Decisions); n > 0 && got.Decisions[n-1].Places != float64(len(tc.sizes)-1) {
			t.Errorf("%v: the latest is missing", tc.sizes)
		}
	}
}

func TestBadDetails(t *testing.T) {
	info := &pb.RequestsItem{Item: &pb.RequestsItem_Info{Info: infoToPB(new(sampleInfo()))}}
	service := &pb.RequestsItem{Item: &pb.RequestsItem_Service{Service: serviceToPB(new(sampleService()))}}
	event := &pb.RequestsItem{Item: &pb.RequestsItem_Event{Event: &pb.Event{State: 1}}}
	decision := func(p *pb.Decision) *pb.RequestsItem {
		return &pb.RequestsItem{Item: &pb.RequestsItem_Decision{Decision: p}}
	}
	many := &pb.Decision{More: true}
	for range MaxDevices/2 + 1 {
		many.Candidates = append(many.Candidates, &pb.Candidate{Node: "a"})
	}
	whole := &pb.Decision{Candidates: many.Candidates}
	repeat := func(m *pb.RequestsItem, n int) (list []*pb.RequestsItem) {
		for range n {
			list = append(list, m)
		}
		return list
	}
	for name, items := range map[string][]*pb.RequestsItem{
		"no info":             {service},
		"no service":          {info},
		"bad info":            {{Item: &pb.RequestsItem_Info{}}, service},
		"bad service":         {info, {Item: &pb.RequestsItem_Service{}}},
		"bad event":           {info, service, {Item: &pb.RequestsItem_Event{}}},
		"bad decision":        {info, service, decision(&pb.Decision{Level: 1 << 63})},
		"half a decision":     {info, service, decision(&pb.Decision{More: true})},
		"too many candidates": {info, service, decision(whole), decision(whole)},
		"too large":           {info, service, decision(many), decision(many)},
		"too many events":     append([]*pb.RequestsItem{info, service}, repeat(event, maxEvents+1)...),
		"too many decisions":  append([]*pb.RequestsItem{info, service}, repeat(decision(&pb.Decision{}), maxDecisions+1)...),
	} {
		var parts detailParts
		var err error
		for _, item := range items {
			if err = parts.add(item); err != nil {
				break
			}
		}
		if err == nil {
			_, err = parts.whole()
		}
		if CodeOf(err) != CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	var parts detailParts
	for _, item := range []*pb.RequestsItem{info, {}, service} {
		if err := parts.add(item); err != nil {
			t.Errorf("an item of a later version: %v", err)
		}
	}
	if _, err := parts.whole(); err != nil {
		t.Error(err)
	}
}
