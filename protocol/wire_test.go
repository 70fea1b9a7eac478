package protocol

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/hearth-edge/hearth/protocol/pb"
)

var update = flag.Bool("update", false, "write the golden files anew")

// codec is a message's way to the wire and back.
type codec struct {
	name   string
	sample any // what the golden file holds
	encode func(any) ([]byte, error)
	decode func([]byte) (any, error)
}

// codecOf makes a codec of the functions of one message.
func codecOf[T any, P interface {
	*M
	proto.Message
}, M any](name string, sample T, to func(*T) P, from func(P) (T, error)) codec {
	return codec{
		name: name, sample: sample,
		encode: func(v any) ([]byte, error) {
			value, _ := v.(T) // an answer without an error is none
			return marshal(nil, to(&value))
		},
		decode: func(b []byte) (any, error) {
			p := P(new(M))
			if err := unmarshal(b, p); err != nil {
				return nil, err
			}
			return from(p)
		},
	}
}

const (
	nodeA = PeerID("12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp")
	nodeB = PeerID("12D3KooWHHzSeKaY8xuZVzkLbKFfvNgPPeKhFBGrMbNzbm5akpqu")
)

func sampleService() Service {
	return Service{
		Image: "busybox:1.36", Args: []string{"sh", "-c", "echo hi"}, Entrypoint: "/bin/busybox",
		Env: []string{"A=1", "B="}, WorkDir: "/tmp", User: "1000:1000", CPUs: 0.5, Memory: 64 << 20,
		Stdin: true, Timeout: time.Minute,
		Network: "lan", Mounts: []Mount{{Source: "/srv/films", Target: "/films", Writable: true}, {Source: "/a", Target: "/b"}},
		Devices: []string{"/dev/ttyUSB0"}, Capabilities: []string{"NET_ADMIN"}, Accelerator: "gpu",
		Constraints: Constraints{Node: "attic", Labels: map[string]string{"arch": "arm64", "disk": "ssd"}, NotHere: true},
	}
}

// sampleRetried is a service that may be run again, which one that reads input
// may not.
func sampleRetried() Service {
	s := sampleService()
	s.Stdin, s.Retry = false, 3
	return s
}

// sampleStart says how a container is begun, and what it has in memory.
func sampleStart() Service {
	return Service{
		Image: "busybox", Args: []string{"top"}, NoEntrypoint: true, TTY: true, TTYRows: 24, TTYColumns: 80,
		Tmpfs:        []Tmpfs{{Target: "/run", Size: 64 << 20, Mode: 0o755, Exec: true}, {Target: "/tmp"}},
		ReadOnlyRoot: true, ShmSize: 128 << 20, Hostname: "web-1", Pull: PullAlways,
	}
}

func sampleStatus() Status {
	return Status{
		Node: nodeA, Name: "attic", Sequence: 77, Interval: time.Second, Role: RoleNode, Score: 12.5, Speed: 0.75,
		CPUs: 4, CPUOthers: 0.25, Slots: 4, Running: 2, Queued: 1, CPUFree: 1.75,
		MemoryTotal: 8 << 30, MemoryFree: 3 << 30, DiskFree: 100 << 30, Arch: "arm64", OS: "linux",
		Drivers: []string{"docker"}, Labels: map[string]string{"disk": "ssd", "room": "attic"},
		Images: []uint32{HashImage("busybox"), 1}, ImageSizes: []byte{SizeCode(4 << 20), 0},
		Accelerators: []string{"gpu"}, Temperature: 61, Throttled: 0.25, PullRate: 5 << 20,
		Addresses: []string{"/ip4/192.168.1.7/tcp/4001"},
	}
}

func versionedStatus() Status {
	return Status{Node: nodeA, Version: "1.2.3"}
}

func stacksStatus() Status {
	return Status{Node: "n", UnnamedStacks: 3, Stacks: []PublishedStack{
		{Name: "shop", Version: 4, Stopped: true, Ports: []PublishedPort{{Port: 53, UDP: true, HostIP: "127.0.0.1"}}}, {Name: "blog", Version: 1, Down: true},
	}}
}

func drainingStatus() Status {
	return Status{Node: nodeA, Role: RoleNode, Draining: true}
}

// secondHolder is a device as another one lists it: its name is another's, and it
// was copied.
func secondHolder() Status {
	return Status{Node: nodeA, Name: "attic-iDEp", ClaimedName: "attic", CopyAddress: "192.168.1.9:7117"}
}

func sampleDeviceInfo() DeviceInfo {
	return DeviceInfo{
		ID: nodeA, Name: "attic", Fingerprint: "hxb25o2sbgq6", Version: "1.2.3", Uptime: time.Hour, Peers: 2,
		Engine: "docker 27.1", NoEngine: "none", Running: 3, Queued: 4, Draining: true,
	}
}

func sampleLongRunning() LongRunning {
	return LongRunning{Count: 1, CPUs: 1.5, Memory: 1 << 30, Ran: time.Hour}
}

func sampleBusyStatus() Status {
	s := sampleStatus()
	s.NotReady, s.LongRunning, s.Youngest = true, sampleLongRunning(), 3*time.Second
	return s
}

func sampleBusyLoad() Load {
	return Load{Running: 1, Queued: 2, Slots: 3, LongRunning: sampleLongRunning(), Youngest: time.Second}
}

func sampleDecision() Decision {
	return Decision{Level: 3 * time.Second, Places: 2.5, Candidates: []Candidate{
		{Node: nodeA, Name: "attic", Score: 12.5, Estimate: 3, Work: 1, Network: 1, Cold: 1, Chance: 0.75, Chosen: true},
		{Node: nodeB, Name: "desk", Self: true, Code: CodeConstraint, Excluded: "arch is amd64, not arm64"},
	}}
}

func sampleEvent() Event {
	return Event{
		Request: "req-1", Attempt: 2, State: StatePulling, Node: nodeA, NodeName: "attic", At: time.Unix(1700000000, 5),
		Code: CodeBusy, Reason: "why", ExitCode: -1, QueuePlace: 3,
		Progress: &Progress{Current: 1, Total: 2, LayersDone: 3, Layers: 4}, Container: "c0ffee",
	}
}

func sampleSecrets() Service {
	return Service{
		Image: "busybox", Tags: map[string]string{"name": "web", "com.example/x": ""},
		Secrets: []Secret{{Name: "db_password", Data: Confidential("hunter2"), Size: 7}, {Name: "empty"}},
	}
}

func taggedInfo() RequestInfo {
	i := sampleInfo()
	i.Tags = map[string]string{"name": "web"}
	return i
}

func sampleInfo() RequestInfo {
	return RequestInfo{
		ID: "req-1", Orchestrator: nodeA, OrchestratorName: "attic", Image: "busybox", Args: []string{"echo", "hi"},
		Detached: true, Last: sampleEvent(), Accepted: time.UnixMilli(1700000000001),
		Started: time.UnixMilli(1700000000002), Ended: time.UnixMilli(1700000000003),
	}
}

func sampleDetail() RequestDetail {
	return RequestDetail{
		RequestInfo: sampleInfo(), Service: sampleService(),
		Events: []Event{sampleEvent(), sampleEvent()}, Decisions: []Decision{sampleDecision()},
	}
}

func codecs() []codec {
	event := sampleEvent()
	return []codec{
		codecOf("service-auto-remove", Service{Image: "busybox", AutoRemove: true}, serviceToPB, serviceFromPB),
		codecOf("service", sampleService(), serviceToPB, serviceFromPB),
		codecOf("offer-image", Offer{Request: "req-1", Attempt: 1, Service: sampleRetried(), ImageID: ImageID("sha256:" + strings.Repeat("0123456789abcdef", 4))}, offerToPB, offerFromPB),
		codecOf("offer", Offer{Request: "req-1", Attempt: 1, Service: sampleRetried(), Bound: time.Second, Forced: true, Lease: 7 * time.Second}, offerToPB, offerFromPB),
		codecOf("offer-max-wait", Offer{Request: "req-1", Attempt: 1, Service: Service{Image: "busybox"}, MaxWait: 9 * time.Second}, offerToPB, offerFromPB),
		codecOf("attach", Attach{Request: "req-1", Attempt: 2, Stdout: 3, Stderr: 4}, attachToPB, attachFromPB),
		codecOf("run", Run{ID: "req-1", Service: sampleService()}, runToPB, runFromPB),
		codecOf("run-start", Run{Service: sampleStart()}, runToPB, runFromPB),
		codecOf("attach-now", Attach{Request: "req", NoFollow: true, NoOutput: true}, attachToPB, attachFromPB),
		codecOf("attach-since", Attach{Request: "req", Since: 10 * time.Minute}, attachToPB, attachFromPB),
		codecOf("attach-forget", Attach{Request: "req", Attempt: 2, NoOutput: true, Forget: true}, attachToPB, attachFromPB),
		codecOf("run-detached", Run{Service: Service{Image: "busybox", TTY: true}, Detach: true}, runToPB, runFromPB),
		codecOf("stop", Stop{Request: "req", Signal: "HUP", Grace: time.Second, SignalOnly: true}, stopToPB, stopFromPB),
		codecOf("renew", Renewal{Request: "req-1", Attempt: 2}, renewToPB, renewFromPB),
		codecOf("resize", [2]uint16{24, math.MaxUint16}, encodeSize, decodeSize),
		codecOf("run-secrets", Run{Service: sampleSecrets()}, runToPB, runFromPB),
		codecOf("info-tags", taggedInfo(), infoToPB, infoFromPB),
		codecOf("info", sampleInfo(), infoToPB, infoFromPB),
		codecOf("event", event, eventToPB, eventFromPB),
		codecOf("decision", sampleDecision(), func(d *Decision) *pb.Decision { return decisionToPB(d)[0] }, decodeDecision),
		codecOf("decision-guess", Decision{Candidates: []Candidate{{Node: nodeA, Guess: true}}},
			func(d *Decision) *pb.Decision { return decisionToPB(d)[0] }, decodeDecision),
		codecOf("decision-unnamed", Decision{Candidates: []Candidate{{Node: nodeA}}, Unnamed: 7},
			func(d *Decision) *pb.Decision { return decisionToPB(d)[0] }, decodeDecision),
		codecOf("device-stacks", Device{Status: stacksStatus()}, deviceToPB, deviceFromPB),
		codecOf("device", Device{Status: sampleStatus(), Self: true, Age: time.Second, Address: "/ip4/10.0.0.1/tcp/1", RTT: 5}, deviceToPB, deviceFromPB),
		codecOf("device-info", sampleDeviceInfo(), deviceInfoToPB, deviceInfoFromPB),
		codecOf("device-version", Device{Status: versionedStatus()}, deviceToPB, deviceFromPB),
		codecOf("event-exited", Event{Request: "req-1", Attempt: 1, State: StateCancelled, Code: CodeCancelled, Reason: "stopped", ExitCode: 4, Exited: true}, eventToPB, eventFromPB),
		codecOf("device-draining", Device{Status: drainingStatus()}, deviceToPB, deviceFromPB),
		codecOf("device-limits", Device{Status: Status{Node: "n", MissingLimits: []string{"memory", "pids"}}}, deviceToPB, deviceFromPB),
		codecOf("device-second", Device{Status: secondHolder()}, deviceToPB, deviceFromPB),
		codecOf("check", Check{Name: "engine", Level: LevelWarning, Finding: "slow", Advice: "wait"}, checkToPB,
			func(p *pb.Check) (Check, error) { return checkFromPB(p), nil }),
		codecOf("refusal", error(&Refusal{Code: CodeBusy, Reason: "full", Load: Load{Running: 1, Queued: 2, Slots: 3}}), encodeAnswer, decodeAnswer),
		codecOf("refusal-long-running", error(&Refusal{Code: CodeBusy, Load: sampleBusyLoad()}), encodeAnswer, decodeAnswer),
		codecOf("exec", Exec{
			Target: Target{Request: "req-1", Attempt: 2}, Args: []string{"psql", "-U", "app"}, Env: []string{"A=1"},
			WorkDir: "/srv", User: "5:5", Stdin: true, TTY: true, TTYRows: 24, TTYColumns: math.MaxUint16,
		}, execToPB, execFromPB),
		codecOf("exec-detached", Exec{Target: Target{Stack: "media", Service: "db"}, Args: []string{"true"}, Detach: true}, execToPB, execFromPB),
		codecOf("dial", Dial{Target: Target{Request: "req@attic"}, Port: 5432}, dialToPB, dialFromPB),
		codecOf("dial-published", Dial{Target: Target{Stack: "media"}, Port: math.MaxUint16, UDP: true, Published: true}, dialToPB, dialFromPB),
		codecOf("copy-into", Copy{Target: Target{Stack: "media", Service: "db"}, Path: "/etc/app/", Into: true, Contents: true}, copyToPB, copyFromPB),
		codecOf("copy-out", Copy{Target: Target{Request: "r"}, Path: "/etc", FollowLink: true}, copyToPB, copyFromPB),
		codecOf("error", error(&Error{Code: CodeConflict, Message: "in use"}), encodeAnswer, decodeAnswer),
		{
			name: "score", sample: sampleStatus(),
			encode: func(v any) ([]byte, error) { return EncodeStatus(v.(Status)) },
			decode: func(b []byte) (any, error) { return DecodeStatus(b) },
		},
		{
			name: "score-busy", sample: sampleBusyStatus(),
			encode: func(v any) ([]byte, error) { return EncodeStatus(v.(Status)) },
			decode: func(b []byte) (any, error) { return DecodeStatus(b) },
		},
	}
}

func encodeAnswer(err *error) *pb.Answer {
	a, _ := answerToPB(*err)
	return a
}

func decodeAnswer(p *pb.Answer) (error, error) { return answerFromPB(p), nil }

func encodeSize(s *[2]uint16) *pb.Resize { return sizeToPB(s[0], s[1]) }

func decodeSize(p *pb.Resize) ([2]uint16, error) {
	rows, columns, err := sizeFromPB(p)
	return [2]uint16{rows, columns}, err
}

func decodeDecision(p *pb.Decision) (Decision, error) {
	var parts decisionParts
	p.More = false
	d, err := parts.add(p)
	if err != nil {
		return Decision{}, err
	}
	d.Candidates = d.Candidates[:min(len(d.Candidates), candidatesPerFrame)]
	return *d, nil
}

// The bytes of each message stay what they were, since other versions read them.
func TestGolden(t *testing.T) {
	for _, c := range codecs() {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.encode(c.sample)
			if err != nil {
				t.Fatal(err)
			}
			wantGolden(t, c.name, got)
			back, err := c.decode(got)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(back, c.sample) {
				t.Errorf("decoded as\n%+v\nwant\n%+v", back, c.sample)
			}
		})
	}
}

// wantGolden compares got with the golden file of that name.
func wantGolden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", "golden", name+".v1.hex")
	if *update {
		if err := os.WriteFile(file, []byte(hex.Dump(got)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if hex.Dump(got) != string(want) {
		t.Errorf("encoded as\n%swant\n%s", hex.Dump(got), want)
	}
}

// A message of a later version may have more fields.
func TestUnknownFieldsAreIgnored(t *testing.T) {
	later := []byte{0xfa, 0x3f, 3, 'n', 'e', 'w'} // field 1023
	for _, c := range codecs() {
		b, err := c.encode(c.sample)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.decode(append(b, later...))
		if err != nil || !reflect.DeepEqual(got, c.sample) {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
}

// fuzzCodec begins with the samples of that name and its variants, name-*.
func fuzzCodec(f *testing.F, name string) {
	for _, c := range codecs() {
		if !strings.HasPrefix(c.name+"-", name+"-") {
			continue
		}
		seed, err := c.encode(c.sample)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(seed)
	}
	for _, c := range codecs() {
		if c.name != name {
			continue
		}
		f.Fuzz(func(t *testing.T, b []byte) {
			v, err := c.decode(b)
			if err != nil {
				return
			}
			once, err := c.encode(v)
			if err != nil {
				t.Fatalf("%+v was decoded but cannot be encoded: %v", v, err)
			}
			again, err := c.decode(once)
			if err != nil {
				t.Fatalf("%+v was encoded but cannot be decoded: %v", v, err)
			}
			twice, err := c.encode(again)
			if err != nil || !bytes.Equal(once, twice) {
				t.Fatalf("%+v became %+v, %v", v, again, err)
			}
		})
		return
	}
	f.Fatalf("no message %s", name)
}

func FuzzStatus(f *testing.F)     { fuzzCodec(f, "score") }
func FuzzOffer(f *testing.F)      { fuzzCodec(f, "offer") }
func FuzzAttach(f *testing.F)     { fuzzCodec(f, "attach") }
func FuzzRun(f *testing.F)        { fuzzCodec(f, "run") }
func FuzzStop(f *testing.F)       { fuzzCodec(f, "stop") }
func FuzzRenew(f *testing.F)      { fuzzCodec(f, "renew") }
func FuzzResize(f *testing.F)     { fuzzCodec(f, "resize") }
func FuzzInfo(f *testing.F)       { fuzzCodec(f, "info") }
func FuzzAnswer(f *testing.F)     { fuzzCodec(f, "refusal") }
func FuzzEvent(f *testing.F)      { fuzzCodec(f, "event") }
func FuzzDecision(f *testing.F)   { fuzzCodec(f, "decision") }
func FuzzDevice(f *testing.F)     { fuzzCodec(f, "device") }
func FuzzDeviceInfo(f *testing.F) { fuzzCodec(f, "device-info") }
func FuzzCheck(f *testing.F)      { fuzzCodec(f, "check") }

// What is not known here is never taken for something that is.
func TestUnknownNumbers(t *testing.T) {
	for _, n := range []pb.Code{-1, pb.Code(codeEnd), 1 << 30} {
		if got := errorFromPB(&pb.Error{Code: n}).Code; got != CodeInternal {
			t.Errorf("code %d became %v", n, got)
		}
	}
	if got := errorFromPB(&pb.Error{}).Code; got != CodeInternal {
		t.Errorf("an error without a code became %v", got)
	}
	for _, n := range []pb.State{-1, 0, 13} {
		if e, err := eventFromPB(&pb.Event{State: n}); err == nil {
			t.Errorf("state %d became %v", n, e.State)
		}
	}
	if got := checkFromPB(&pb.Check{Level: 9}).Level; got != LevelProblem {
		t.Errorf("level 9 became %d", got)
	}
	for n := range pb.Code(1 << 8) {
		if _, ok := pb.Code_name[int32(n)]; ok != Code(n).known() {
			t.Errorf("code %d: on the wire %v, in Go %v", n, ok, Code(n).known())
		}
	}
	for s := StateAccepted; s <= StateUnknown; s++ {
		if name := "STATE_" + strings.ToUpper(s.String()); pb.State_name[int32(s)] != name {
			t.Errorf("state %d is %s on the wire and %s here", s, pb.State_name[int32(s)], name)
		}
	}
	if got := State(99).String(); got != "state_99" {
		t.Errorf("a state that is none is called %q", got)
	}
}

func TestLongTextIsCut(t *testing.T) {
	long := strings.Repeat("ä", 1000) + "\xff"
	for _, text := range []string{long, long[1:], "\xff\xfe"} {
		e := eventToPB(&Event{State: StateFailed, Reason: text})
		if len(e.Reason) > maxReason {
			t.Errorf("a reason of %d bytes", len(e.Reason))
		}
		if _, err := marshal(nil, e); err != nil {
			t.Error(err)
		}
	}
	if got := clip("aä", 2); got != "a" {
		t.Errorf("clip left %q", got)
	}
}

func TestBadDurationsAndNumbers(t *testing.T) {
	for name, decode := range map[string]func() error{
		"bound":   func() error { _, err := offerFromPB(&pb.Offer{Request: "a", Attempt: 1, Bound: 1 << 63}); return err },
		"attempt": func() error { _, err := offerFromPB(&pb.Offer{Request: "a"}); return err },
		"service": func() error { _, err := offerFromPB(&pb.Offer{Request: "a", Attempt: 1}); return err },
		"offset":  func() error { _, err := attachFromPB(&pb.Attach{Request: "a", Stdout: 1 << 63}); return err },
		"since":   func() error { _, err := attachFromPB(&pb.Attach{Request: "a", Since: 1 << 63}); return err },
		"stop":    func() error { _, err := stopFromPB(&pb.StopRequest{}); return err },
		"signal":  func() error { _, err := stopFromPB(&pb.StopRequest{Request: "a", Signal: "SIGINT"}); return err },
		"grace":   func() error { _, err := stopFromPB(&pb.StopRequest{Request: "a", Grace: 1 << 63}); return err },
		"terminal": func() error {
			_, err := serviceFromPB(&pb.Service{Image: "a", Tty: true, TtyRows: 1 << 16})
			return err
		},
		"rows":    func() error { _, err := decodeSize(&pb.Resize{Rows: 1 << 16}); return err },
		"columns": func() error { _, err := decodeSize(&pb.Resize{Columns: 1 << 16}); return err },
		"chance":  func() error { _, err := candidateFromPB(&pb.Candidate{Node: "a", Chance: 1.5}); return err },
		"rating":  func() error { _, err := candidateFromPB(&pb.Candidate{Node: "a", Rating: math.Inf(1)}); return err },
		"places":  func() error { _, err := decodeDecision(&pb.Decision{Places: math.NaN()}); return err },
	} {
		if err := decode(); CodeOf(err) != CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A decision of any size crosses the wire, in frames that each are in bounds.
func TestBigDecision(t *testing.T) {
	d := Decision{Level: time.Second, Places: 3}
	for i := range 1000 {
		d.Candidates = append(d.Candidates, Candidate{
			Node: PeerID(fmt.Sprintf("node%d", i)), Name: strings.Repeat("n", 128), Excluded: strings.Repeat("ä", 600),
		})
	}
	var parts decisionParts
	for i, p := range decisionToPB(&d) {
		if n := proto.Size(p); n+16 > MaxFrame {
			t.Fatalf("part %d takes %d bytes", i, n)
		}
		whole, err := parts.add(p)
		if err != nil {
			t.Fatal(err)
		}
		if whole != nil && len(whole.Candidates) != len(d.Candidates) {
			t.Errorf("%d candidates", len(whole.Candidates))
		}
		if (whole != nil) == p.More {
			t.Errorf("part %d: more is %v", i, p.More)
		}
	}
	tooMany := &pb.Decision{More: true}
	for range MaxDevices/2 + 1 {
		tooMany.Candidates = append(tooMany.Candidates, &pb.Candidate{Node: "a"})
	}
	if _, err := parts.add(tooMany); err != nil {
		t.Fatal(err)
	}
	if _, err := parts.add(tooMany); CodeOf(err) != CodeInvalid {
		t.Errorf("too many candidates: %v", err)
	}
}
