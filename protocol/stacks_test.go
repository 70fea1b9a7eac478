package protocol

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/hearth-edge/hearth/protocol/pb"
)

// stackScript is a device's stacks for tests: it answers what it was told to, and
// records what it was asked.
type stackScript struct {
	up       []UpStack
	planned  []UpStack
	control  []ControlStack
	logs     []StackLogs
	rollback []RollbackStack
	updates  []StackUpdate
	list     []StackStatus
	lines    []LogLine
	records  []StackRecord
	err      error
}

func (s *stackScript) PlanStack(_ context.Context, u UpStack) (StackPlan, error) {
	s.planned = append(s.planned, u)
	return samplePlan(), s.err
}

func (s *stackScript) UpStack(_ context.Context, u UpStack, yield func(StackUpdate) error) error {
	s.up = append(s.up, u)
	return s.steps(yield)
}

func (s *stackScript) steps(yield func(StackUpdate) error) error {
	for _, u := range s.updates {
		if err := yield(u); err != nil {
			return err
		}
	}
	return s.err
}

func (s *stackScript) ListStacks(ctx context.Context, l ListStacks, yield func([]StackStatus) error) error {
	for n := range 2 {
		if err := yield(s.list[:min(n+1, len(s.list))]); err != nil || !l.Watch {
			return errors.Join(err, s.err)
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

func (s *stackScript) ControlStack(_ context.Context, c ControlStack) error {
	s.control = append(s.control, c)
	return s.err
}

func (s *stackScript) StackLogs(_ context.Context, l StackLogs, yield func(LogLine) error) error {
	s.logs = append(s.logs, l)
	for _, line := range s.lines {
		if err := yield(line); err != nil {
			return err
		}
	}
	return s.err
}

func (s *stackScript) StackHistory(_ context.Context, name StackName, yield func(StackRecord) error) error {
	for _, r := range s.records {
		if err := yield(r); err != nil {
			return err
		}
	}
	return s.err
}

func (s *stackScript) RollbackStack(_ context.Context, r RollbackStack, yield func(StackUpdate) error) error {
	s.rollback = append(s.rollback, r)
	return s.steps(yield)
}

func samplePlan() StackPlan {
	return StackPlan{
		Name: "photos", Version: 3, Holder: nodeA, HolderName: "nas", Why: "it holds the stack",
		Services: []ServiceChange{{Service: "db", Action: ActionKeep}, {Service: "web", Action: ActionRecreate, Why: []string{"image"}}},
		Refused: []NodeRefusal{{Node: nodeB, NodeName: "desk", Reasons: []StackRefusal{
			{Service: "web", Code: CodePolicy, Reason: "no", PolicyLine: `mounts = ["/srv"]`},
		}}},
		Warnings: []string{"careful"},
	}
}

func sampleStackStatus() StackStatus {
	return StackStatus{
		Name: "photos", Version: 3, Holder: nodeA, HolderName: "nas", State: StackDegraded, Reason: "web: exit code 1",
		Instances: []InstanceStatus{{
			Service: "web", State: InstanceBackoff, Health: "unhealthy", Reason: "exit code 1", Image: "nginx:1", Container: "c0ffee",
			Since: time.Unix(1700000000, 0).UTC(), Restarts: 3, ExitCode: 1, Exited: true, LastOutput: "boom\n",
			Ports: []StackPort{{Published: 8080, Target: 80}},
		}},
	}
}

// sampleStack has every field of a stack set.
func sampleStack() Stack {
	return Stack{
		Name: "photos",
		Services: []StackService{
			{Name: "db", Number: 1, Image: "postgres:15", Restart: RestartAlways},
			{
				Name: "web", Number: 2, Aliases: []string{"www"}, Image: "nginx:1", Pull: PullAlways,
				Entrypoint: []string{}, Command: []string{"nginx", "-g", "daemon off;"}, Env: []string{"A=1"}, WorkDir: "/srv", User: "33:33",
				GroupAdd: []string{"video"}, Hostname: "web", DomainName: "home.arpa", TTY: true, StdinOpen: true, Init: true,
				Restart: RestartOnFailure, DependsOn: []Dependency{{Service: "db", Condition: ConditionHealthy, Restart: true, Optional: true}},
				Health:     &HealthCheck{Test: []string{"CMD", "true"}, Interval: 1000, Timeout: 2000, StartPeriod: 3000, StartInterval: 4000, Retries: 5},
				StopSignal: "QUIT", StopGrace: 5000,
				Networks: []NetworkAttachment{{Network: "front", Aliases: []string{"w"}, Address: "172.30.0.9"}},
				Ports:    []StackPort{{HostIP: "127.0.0.1", Published: 8080, Target: 80}, {Published: 53, Target: 53, UDP: true}},
				Expose:   []uint16{80}, ExtraHosts: []string{"nas:192.168.1.2"}, DNS: []string{"9.9.9.9"}, DNSSearch: []string{"lan"}, DNSOptions: []string{"ndots:1"},
				Shared: true, Mounts: []StackMount{
					{Kind: MountVolume, Source: "data", Subpath: "a", Target: "/data", NoCopy: true},
					{Kind: MountBind, Source: "/srv/media", Target: "/media", ReadOnly: true, Propagation: "rslave"},
					{Kind: MountTmpfs, Target: "/tmp", Size: 1 << 20, Mode: 0o1777},
					{Kind: MountFile, Source: "conf", Target: "/etc/conf", UID: "33", GID: "33", Mode: 0o400},
				},
				ShmSize: 64 << 20, ReadOnlyRoot: true, CPUs: 1.5, CPUShares: 512, Memory: 1 << 30, ReservedCPUs: 0.5, ReservedMemory: 1 << 28, Pids: 100,
				Devices: []StackDevice{{Source: "/dev/ttyUSB0", Target: "/dev/tty", Permissions: "rw"}}, Accelerator: "gpu",
				CapAdd: []string{"NET_ADMIN"}, CapDrop: []string{"ALL"}, Privileged: true, PIDMode: "host", IPCMode: "host",
				Unconfined: []string{"seccomp"}, Sysctls: map[string]string{"net.core.somaxconn": "1024"},
				Ulimits: []Ulimit{{Name: "nofile", Soft: 1024, Hard: -1}}, OOMScore: -500, Labels: map[string]string{"a.b/c": "d"},
			},
			{Name: "cron", Number: 3, Image: "cron", Restart: RestartNo, NetworkMode: "service:web"},
		},
		Networks: []StackNetwork{{Name: "front", Internal: true, Subnet: "172.30.0.0/24"}},
		Volumes:  []StackVolume{{Name: "data", Path: "./data"}},
		Files: []StackFile{
			{Name: "conf", Data: []byte("x=1\n"), Size: 4},
			{Name: "password", Data: []byte("hunter2"), Size: 7, Secret: true},
			{Name: "site", Data: []byte("tar"), Size: 3, Folder: true},
		},
		Constraints: Constraints{Node: "nas", Labels: map[string]string{"disk": "ssd"}, NotHere: true},
		Uses:        []string{"auth/ldap"},
	}
}

func sampleRecord() StackRecord {
	return StackRecord{
		Stack: sampleStack(), Version: 3, Stopped: true, Changed: time.Unix(1700000000, 0).UTC(), By: nodeB, ByName: "desk",
		Signature: []byte("signature"), Salt: []byte("salt"), Note: "why",
	}
}

// Every field of a stack is set in the sample, so that the golden file has it.
func TestSampleStackIsWhole(t *testing.T) {
	set := make(map[string]bool)
	var look func(v reflect.Value)
	look = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				name := v.Type().Name() + "." + v.Type().Field(i).Name
				set[name] = set[name] || !v.Field(i).IsZero()
				look(v.Field(i))
			}
		case reflect.Slice:
			for i := range v.Len() {
				look(v.Index(i))
			}
		case reflect.Pointer:
			if !v.IsNil() {
				look(v.Elem())
			}
		}
	}
	r := sampleRecord()
	r.Changed = time.Time{} // its fields are the library's
	look(reflect.ValueOf(r))
	for name, ok := range set {
		if !ok && !strings.HasPrefix(name, "Time.") && name != "StackRecord.Changed" {
			t.Errorf("%s is not set", name)
		}
	}
	if err := r.validate(); err != nil {
		t.Error(err)
	}
}

// The documents stay what they were, since other versions read them.
func TestGoldenStackDocuments(t *testing.T) {
	record := sampleRecord()
	for name, v := range map[string]any{
		"stack": record.Stack.WithoutData(), "stack-record": record.Public(), "stack-plan": samplePlan(), "stack-status": sampleStackStatus(),
		"stack-line": LogLine{Service: "web", Channel: Stderr, At: time.Unix(1700000000, 0).UTC(), Text: "x", Cut: true},
	} {
		raw, err := json.MarshalIndent(v, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		wantGolden(t, name, raw)
	}
	signed, err := record.SignedBytes()
	if err != nil {
		t.Fatal(err)
	}
	wantGolden(t, "stack-signed", signed)
}

// stackVerbs is what can be asked of stacks, once each.
func stackVerbs(t testing.TB) (verbs []*pb.Stacks, body []byte) {
	up, body, err := upToPB(&UpStack{Record: sampleRecord(), New: true, Detach: true, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return []*pb.Stacks{
		{Verb: &pb.Stacks_Up{Up: up}},
		{Verb: &pb.Stacks_List{List: &pb.ListStacks{Name: "photos", All: true, Watch: true}}},
		{Verb: &pb.Stacks_Control{Control: controlToPB(&ControlStack{Name: "photos", Action: StackDown, Data: true})}},
		{Verb: &pb.Stacks_Control{Control: controlToPB(&ControlStack{Name: "photos@nas", Action: StackRestart, Services: []string{"web"}})}},
		{Verb: &pb.Stacks_Logs{Logs: logsToPB(&StackLogs{Name: "photos", Services: []string{"web"}, Follow: true, Since: time.Hour, Tail: 20})}},
		{Verb: &pb.Stacks_History{History: &pb.StackHistory{Name: "photos"}}},
		{Verb: &pb.Stacks_Rollback{Rollback: rollbackToPB(&RollbackStack{Name: "photos", Version: 2, Detach: true, Timeout: time.Second})}},
	}, body
}

// The frames about stacks, as they go over the stream.
func TestGoldenStackVerbs(t *testing.T) {
	verbs, body := stackVerbs(t)
	var asked []byte
	for i, verb := range verbs {
		asked = append(asked, frame(t, &pb.ExecuteRequest{Verb: &pb.ExecuteRequest_Stacks{Stacks: verb}})...)
		if i == 0 {
			asked = append(asked, body...)
		}
		asked = append(asked, frame(t, &pb.AppRequest{Token: "t", Verb: &pb.AppRequest_Stacks{Stacks: verb}})...)
	}
	wantGolden(t, "stacks", asked)
	var told []byte
	for _, m := range []proto.Message{
		itemOf(documentPlan, &pb.DocumentPart{Json: []byte("{}"), More: true}), itemOf(documentStatus, &pb.DocumentPart{Json: []byte("{}")}),
		itemOf(documentRecord, &pb.DocumentPart{Json: []byte("{}")}), itemOf(documentLine, &pb.DocumentPart{Json: []byte("{}")}),
		&pb.StacksItem{Item: &pb.StacksItem_Accepted{Accepted: 3}}, completeStacks, lastStacksItem(&pb.Error{Code: pb.Code_CODE_STACK_UNHEALTHY}),
	} {
		told = append(told, frame(t, m)...)
	}
	wantGolden(t, "stacks-items", told)
}

// stackLinks are the ways to ask for a device's stacks.
func stackLinks(t *testing.T, s *stackScript, test func(t *testing.T, c Stacks, l *link)) {
	d := running(nil)
	d.stacks = s
	t.Run("app", func(t *testing.T) {
		c, l := appLink(t, d)
		test(t, c, l)
	})
	*s = stackScript{updates: s.updates, list: s.list, lines: s.lines, records: s.records, err: s.err}
	t.Run("device", func(t *testing.T) {
		l := newLink(t, func(ctx context.Context, s Stream) error { return ServeExecute(ctx, s, d, d, d, nodeB) })
		test(t, NewStacksClient(l.open), l)
	})
}

func TestUpStackTravels(t *testing.T) {
	plan, status := samplePlan(), sampleStackStatus()
	steps := []StackUpdate{{Plan: &plan}, {Accepted: 3}, {Status: &status}}
	s := &stackScript{updates: steps}
	stackLinks(t, s, func(t *testing.T, c Stacks, l *link) {
		want := UpStack{Record: sampleRecord(), New: true, Detach: true, Timeout: time.Minute}
		var got []StackUpdate
		if err := c.UpStack(t.Context(), want, func(u StackUpdate) error { got = append(got, u); return nil }); err != nil {
			t.Fatal(err)
		}
		wantServed(t, l, nil)
		if !reflect.DeepEqual(got, steps) {
			t.Errorf("told %+v", got)
		}
		if _, app := c.(*AppClient); app {
			want.Record = StackRecord{Stack: want.Record.Stack} // the rest is the device's to say
		}
		if !reflect.DeepEqual(s.up, []UpStack{want}) {
			t.Errorf("asked for\n%+v\nwant\n%+v", s.up, want)
		}
		if p, err := c.PlanStack(t.Context(), want); err != nil || !reflect.DeepEqual(p, plan) || len(s.planned) != 1 {
			t.Errorf("plan %+v, %v", p, err)
		}
		<-l.served
	})
	s.updates, s.err = nil, Errorf(CodeStackUnhealthy, "web is not healthy")
	stackLinks(t, s, func(t *testing.T, c Stacks, l *link) {
		err := c.RollbackStack(t.Context(), RollbackStack{Name: "photos", Version: 2, Timeout: time.Minute}, nil)
		if CodeOf(err) != CodeStackUnhealthy || s.rollback[0] != (RollbackStack{Name: "photos", Version: 2, Timeout: time.Minute}) {
			t.Errorf("%v, %+v", err, s.rollback)
		}
		<-l.served
	})
}

// A stack as large as one may be reaches its holder; one byte more is told.
func TestLargeStackTravels(t *testing.T) {
	large := sampleStack()
	large.Files = nil
	large.Services[1].Mounts = nil
	for i := range 8 {
		large.Files = append(large.Files, StackFile{Name: fmt.Sprint(i), Data: bytes.Repeat([]byte{'x'}, MaxStackFiles/8)})
	}
	large.Normalize()
	text := &large.Services[1]
	for range 7 {
		text.Env = append(text.Env, "A="+strings.Repeat("x", maxText-2))
	}
	raw, _ := json.Marshal(large.WithoutData())
	text.Env = append(text.Env, "B="+strings.Repeat("x", MaxStack-len(raw)-len(`,"B="`)))
	s := &stackScript{}
	stackLinks(t, s, func(t *testing.T, c Stacks, l *link) {
		if err := c.UpStack(t.Context(), UpStack{Record: StackRecord{Stack: large, By: nodeB}}, nil); err != nil {
			t.Fatal(err)
		}
		<-l.served
		if !reflect.DeepEqual(s.up[0].Record.Stack, large) {
			t.Error("another stack came")
		}
		over := large
		over.Files = append([]StackFile{{Name: "one more", Data: []byte{1}, Size: 1}}, large.Files...)
		if err := c.UpStack(t.Context(), UpStack{Record: StackRecord{Stack: over}}, nil); CodeOf(err) != CodeInvalid || !strings.Contains(err.Error(), "4 MiB") {
			t.Errorf("files of a byte too much: %v", err)
		}
		longer := large
		longer.Uses = []string{"auth/ldap", "c/d"}
		if err := c.UpStack(t.Context(), UpStack{Record: StackRecord{Stack: longer, By: nodeB}}, nil); CodeOf(err) != CodeInvalid || !strings.Contains(err.Error(), "1048576") {
			t.Errorf("a document of some bytes too much: %v", err)
		}
	})
}

func TestListStacksTravels(t *testing.T) {
	a, b := sampleStackStatus(), sampleStackStatus()
	b.Name = "music"
	s := &stackScript{list: []StackStatus{a, b}}
	stackLinks(t, s, func(t *testing.T, c Stacks, l *link) {
		var got [][]StackStatus
		if err := c.ListStacks(t.Context(), ListStacks{}, func(list []StackStatus) error { got = append(got, list); return nil }); err != nil {
			t.Fatal(err)
		}
		wantServed(t, l, nil)
		if !reflect.DeepEqual(got, [][]StackStatus{{a}}) {
			t.Errorf("listed %+v", got)
		}
		enough := errors.New("enough")
		got = nil
		err := c.ListStacks(t.Context(), ListStacks{Watch: true}, func(list []StackStatus) error {
			if got = append(got, list); len(got) == 2 {
				return enough
			}
			return nil
		})
		if !errors.Is(err, enough) || !reflect.DeepEqual(got, [][]StackStatus{{a}, {a, b}}) {
			t.Errorf("watched %+v, %v", got, err)
		}
		<-l.served
	})
}

func TestStackLogsAndHistoryTravel(t *testing.T) {
	long := LogLine{Service: "web", Channel: Stdout, At: time.Unix(1700000000, 0).UTC(), Text: strings.Repeat("\x01", 2*maxLogLine)}
	s := &stackScript{lines: []LogLine{{Service: "db", Channel: Stderr, Text: "hello"}, long}, records: []StackRecord{sampleRecord()}}
	stackLinks(t, s, func(t *testing.T, c Stacks, l *link) {
		want := StackLogs{Name: "photos", Services: []string{"web", "db"}, Follow: true, Since: time.Minute, Tail: 9}
		var got []LogLine
		if err := c.StackLogs(t.Context(), want, func(line LogLine) error { got = append(got, line); return nil }); err != nil {
			t.Fatal(err)
		}
		<-l.served
		if !reflect.DeepEqual(s.logs[0], want) || len(got) != 2 || got[0] != s.lines[0] || !got[1].Cut || got[1].Text != long.Text[:maxLogLine] {
			t.Errorf("%+v: %d lines", s.logs, len(got))
		}
		var records []StackRecord
		if err := c.StackHistory(t.Context(), "photos", func(r StackRecord) error { records = append(records, r); return nil }); err != nil {
			t.Fatal(err)
		}
		<-l.served
		if !reflect.DeepEqual(records, []StackRecord{sampleRecord().Public()}) {
			t.Errorf("history %+v", records)
		}
		for _, f := range records[0].Stack.Files {
			if len(f.Data) > 0 || len(records[0].Salt) > 0 || len(records[0].Signature) > 0 {
				t.Errorf("what %s holds, or what it can be guessed by, is told", f.Name)
			}
		}
		if err := c.ControlStack(t.Context(), ControlStack{Name: "photos", Action: StackStop, Services: []string{"web"}}); err != nil {
			t.Error(err)
		}
		<-l.served
		if !reflect.DeepEqual(s.control, []ControlStack{{Name: "photos", Action: StackStop, Services: []string{"web"}}}) {
			t.Errorf("asked to %+v", s.control)
		}
	})
}

// A member cannot speak for another one.
func TestRecordMustBeTheAskers(t *testing.T) {
	s := &stackScript{}
	d := running(nil)
	d.stacks = s
	l := newLink(t, func(ctx context.Context, s Stream) error { return ServeExecute(ctx, s, d, d, d, nodeB) })
	err := NewStacksClient(l.open).UpStack(t.Context(), UpStack{Record: StackRecord{Stack: sampleStack(), By: nodeA}}, nil)
	if CodeOf(err) != CodeInvalid || len(s.up) > 0 {
		t.Errorf("%v, %d asked for", err, len(s.up))
	}
}

// Who may have no stacks on a device does nothing to those there, and reads nothing
// of them but that they are there.
func TestStacksAskWhoIsAdmitted(t *testing.T) {
	s := &stackScript{}
	d := running(nil)
	d.stacks = s
	d.admit = func(by PeerID) error { return Errorf(CodePolicy, "runs nothing for %s", by) }
	l := newLink(t, func(ctx context.Context, s Stream) error { return ServeExecute(ctx, s, d, d, d, nodeB) })
	c, ctx := NewStacksClient(l.open), t.Context()
	for verb, ask := range map[string]func() error{
		"control": func() error { return c.ControlStack(ctx, ControlStack{Name: "photos", Action: StackDown, Data: true}) },
		"logs":    func() error { return c.StackLogs(ctx, StackLogs{Name: "photos"}, func(LogLine) error { return nil }) },
		"history": func() error { return c.StackHistory(ctx, "photos", func(StackRecord) error { return nil }) },
		"rollback": func() error {
			return c.RollbackStack(ctx, RollbackStack{Name: "photos"}, func(StackUpdate) error { return nil })
		},
	} {
		if err := ask(); CodeOf(err) != CodePolicy || !strings.Contains(err.Error(), string(nodeB)) {
			t.Errorf("%s: %v", verb, err)
		}
		<-l.served
	}
	if err := c.ListStacks(ctx, ListStacks{}, func([]StackStatus) error { return nil }); err != nil {
		t.Error(err)
	}
	if len(s.control) > 0 {
		t.Errorf("asked to %+v", s.control)
	}
}

func TestStacksWatcherLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := running(nil)
		d.stacks = &stackScript{}
		c, l := appLink(t, d)
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		err := c.ListStacks(ctx, ListStacks{Watch: true}, func([]StackStatus) error {
			if n++; n == 2 {
				cancel()
			}
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		wantServed(t, l, nil)
	})
}

func TestBadStackVerbs(t *testing.T) {
	_, body := stackVerbs(t)
	doc := func(edit func(*pb.UpStack)) *pb.Stacks {
		up, _, _ := upToPB(&UpStack{Record: sampleRecord()})
		edit(up)
		return &pb.Stacks{Verb: &pb.Stacks_Up{Up: up}}
	}
	for name, verb := range map[string]*pb.Stacks{
		"no verb":       {},
		"no document":   doc(func(u *pb.UpStack) { u.DocumentLength = 0 }),
		"huge document": doc(func(u *pb.UpStack) { u.DocumentLength = maxRecord + 1 }),
		"huge file":     doc(func(u *pb.UpStack) { u.FileLengths[0] = 1 << 31 }),
		"many files":    doc(func(u *pb.UpStack) { u.FileLengths = make([]uint32, maxFiles+1) }),
		"fewer files":   doc(func(u *pb.UpStack) { u.FileLengths = u.FileLengths[:1] }),
		"cut file":      doc(func(u *pb.UpStack) { u.FileLengths[0]-- }),
		"timeout":       doc(func(u *pb.UpStack) { u.Timeout = 1 << 63 }),
		"long timeout":  doc(func(u *pb.UpStack) { u.Timeout = uint64(MaxUpTimeout) + 1 }),
		"list":          {Verb: &pb.Stacks_List{List: &pb.ListStacks{Name: "../x"}}},
		"action":        {Verb: &pb.Stacks_Control{Control: &pb.ControlStack{Name: "a", Action: "explode"}}},
		"down services": {Verb: &pb.Stacks_Control{Control: &pb.ControlStack{Name: "a", Action: "down", Services: []string{"x"}}}},
		"stop data":     {Verb: &pb.Stacks_Control{Control: &pb.ControlStack{Name: "a", Action: "stop", Data: true}}},
		"bad service":   {Verb: &pb.Stacks_Control{Control: &pb.ControlStack{Name: "a", Action: "stop", Services: []string{"\n"}}}},
		"logs":          {Verb: &pb.Stacks_Logs{Logs: &pb.StackLogs{Name: "a", Since: 1 << 63}}},
		"history":       {Verb: &pb.Stacks_History{History: &pb.StackHistory{}}},
		"rollback":      {Verb: &pb.Stacks_Rollback{Rollback: &pb.RollbackStack{Name: "a", Timeout: 1 << 62}}},
	} {
		d := running(nil)
		d.stacks = &stackScript{}
		l := newLink(t, func(ctx context.Context, s Stream) error { return ServeApp(ctx, s, testRights, d) })
		_, _, err := ask(t.Context(), l.open, opening{&pb.AppRequest{Token: testToken, Verb: &pb.AppRequest_Stacks{Stacks: verb}}, body})
		if CodeOf(err) != CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What a newer hearth has written is not run without what is not known here.
func TestUnknownFieldOfAStackIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		`{"stack":{"name":"a","services":[{"name":"a","image":"a","restart":"no","teleport":true}]}}`: "made by a newer hearth",
		`{"stack":{"name":"a"},"spin":1}`: "made by a newer hearth",
		`{"stack":{"name":1}}`:            "the field",
		`{"stack"`:                        "no JSON",
		`{} {}`:                           "follows",
		`nonsense`:                        "no JSON",
	} {
		if _, err := decodeRecord([]byte(text)); CodeOf(err) != CodeInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// A stack comes back as it was, whatever it is made of.
func TestStackRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawStack(t)
		if err := s.Validate(); err != nil {
			t.Fatalf("%+v: %v", s, err)
		}
		p, body, err := upToPB(&UpStack{Record: StackRecord{Stack: s}})
		if err != nil {
			t.Fatal(err)
		}
		back, err := upFromPB(p, body[:p.DocumentLength], body[p.DocumentLength:])
		if err != nil {
			t.Fatal(err)
		}
		if a, b := mustJSON(t, s), mustJSON(t, back.Record.Stack); !bytes.Equal(a, b) {
			t.Fatalf("it was\n%s\nand came back as\n%s", a, b)
		}
	})
}

func mustJSON(t interface{ Fatal(...any) }, v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// drawStack makes a valid stack.
func drawStack(t *rapid.T) Stack {
	name := rapid.StringMatching(`[a-z0-9][a-z0-9_-]{0,20}`)
	part := rapid.StringMatching(`[a-zA-Z0-9][a-zA-Z0-9_.-]{0,20}`)
	text := rapid.StringN(0, 30, 60).Filter(func(s string) bool { return checkText("", s, 100) == nil })
	s := Stack{Name: StackName(name.Draw(t, "name"))}
	for _, n := range rapid.SliceOfNDistinct(part, 0, 3, func(s string) string { return s }).Draw(t, "volumes") {
		s.Volumes = append(s.Volumes, StackVolume{Name: n, Path: text.Draw(t, "path")})
	}
	for i, data := range rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 20), 0, 3).Draw(t, "files") {
		s.Files = append(s.Files, StackFile{Name: fmt.Sprint("f", i), Data: data, Size: Bytes(len(data)), Secret: i == 0})
	}
	lower := func(s string) string { return strings.ToLower(s) }
	for i, n := range rapid.SliceOfNDistinct(part, 1, 5, lower).Draw(t, "services") {
		svc := StackService{
			Name: n, Image: "busybox", Restart: rapid.SampledFrom([]RestartPolicy{RestartAlways, RestartNo, RestartOnFailure}).Draw(t, "restart"),
			Command: rapid.Custom(func(t *rapid.T) []string { return rapid.SliceOfN(text, 0, 3).Draw(t, "words") }).Draw(t, "command"),
			Env:     []string{"X=" + text.Draw(t, "env")}, ReservedMemory: Bytes(rapid.Uint64Range(0, maxMemory).Draw(t, "memory")),
			CPUs: Cores(rapid.Float64Range(0, 64).Draw(t, "cpus")),
		}
		if i > 0 && rapid.Bool().Draw(t, "depends") {
			svc.DependsOn = []Dependency{{Service: s.Services[i-1].Name, Condition: ConditionStarted}}
		}
		if rapid.Bool().Draw(t, "publishes") {
			svc.Ports = []StackPort{{Published: uint16(8000 + i), Target: rapid.Uint16Range(1, 65535).Draw(t, "port")}}
		}
		for j, v := range s.Volumes {
			svc.Mounts = append(svc.Mounts, StackMount{Kind: MountVolume, Source: v.Name, Target: fmt.Sprint("/v", j)})
		}
		s.Services = append(s.Services, svc)
	}
	return s
}

func TestPublishIsBounded(t *testing.T) {
	var many []PublishedStack
	for i := range 40 {
		many = append(many, PublishedStack{Name: StackName(fmt.Sprint("stack", i)), Version: 1, Ports: []PublishedPort{{Port: uint16(8000 + i)}}})
	}
	told, unnamed := Publish(many)
	if len(told) != MaxPublishedStacks || unnamed != 8 {
		t.Errorf("%d told, %d not", len(told), unnamed)
	}
	for i := range many {
		many[i].Name = StackName(strings.Repeat("x", maxStackName-2) + fmt.Sprintf("%02d", i))
		many[i].Ports = append(many[i].Ports, PublishedPort{Port: 53, UDP: true, HostIP: "192.168.100.100"}, PublishedPort{Port: 54, UDP: true, HostIP: "192.168.100.100"})
	}
	told, unnamed = Publish(many)
	if len(told)+int(unnamed) != 40 || len(told) > 20 || publishedSize(told) > MaxPublishedBytes {
		t.Errorf("%d told, %d not, %d bytes", len(told), unnamed, publishedSize(told))
	}
	s := sampleStatus()
	s.Stacks, s.UnnamedStacks = told, unnamed
	raw, err := EncodeStatus(s)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := DecodeStatus(raw); err != nil || !reflect.DeepEqual(back, s) {
		t.Errorf("%+v, %v", back, err)
	}
	s.Stacks = append(told, told...)
	if _, err := EncodeStatus(s); CodeOf(err) != CodeInvalid {
		t.Errorf("too many stacks: %v", err)
	}
}

func FuzzStackDocument(f *testing.F) {
	raw, err := encodeRecord(sampleRecord())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := decodeRecord(raw)
		if err != nil {
			return
		}
		r.Stack.Normalize()
		if r.validate() != nil {
			return
		}
		if _, err := r.Stack.StartOrder(); err != nil {
			t.Fatalf("a valid stack has no order: %v", err)
		}
		once, err := encodeRecord(r)
		if err != nil {
			return // what it takes grew beyond its bound
		}
		again, err := decodeRecord(once)
		if err != nil {
			t.Fatalf("%s: %v", once, err)
		}
		if twice, _ := encodeRecord(again); !bytes.Equal(once, twice) {
			t.Fatalf("%s became %s", once, twice)
		}
	})
}

// Whatever a device tells of stacks, those who asked it come to an end.
func FuzzStacksAnswers(f *testing.F) {
	b := frame(f, encodeAnswer(new(error)))
	for kind, v := range map[documentKind]any{documentPlan: samplePlan(), documentStatus: sampleStackStatus(), documentRecord: sampleRecord().Public(), documentLine: LogLine{Service: "web", Channel: Stdout}} {
		items, err := documentItems(kind, v)
		if err != nil {
			f.Fatal(err)
		}
		for _, i := range items {
			b = append(b, frame(f, i)...)
		}
	}
	f.Add(append(b, frame(f, completeStacks)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		ctx := context.Background()
		c := NewStacksClient(func(context.Context) (Stream, error) { return received(b), nil })
		up := UpStack{Record: StackRecord{Stack: Stack{Name: "a", Services: []StackService{{Name: "a", Image: "a"}}}}}
		_, _ = c.PlanStack(ctx, up)
		_ = c.UpStack(ctx, up, func(StackUpdate) error { return nil })
		_ = c.ListStacks(ctx, ListStacks{}, func([]StackStatus) error { return nil })
		_ = c.StackLogs(ctx, StackLogs{Name: "a"}, func(LogLine) error { return nil })
		_ = c.StackHistory(ctx, "a", func(r StackRecord) error {
			if r.Stack.Validate() != nil {
				t.Fatalf("an invalid stack: %+v", r)
			}
			return nil
		})
		_ = c.ControlStack(ctx, ControlStack{Name: "a", Action: StackStop})
	})
}
