package edge

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/cmd/hearth/door"
	"github.com/hearth-edge/hearth/protocol"
)

const hello = `{"ServiceName":"hello","ServiceInfo":[{"ExecutionType":"container","ExecCmd":["docker","run","hello-world"]}]}`

var attic = protocol.Device{Self: true, Status: protocol.Status{Node: "attic", Addresses: []string{
	"/ip4/127.0.0.1/tcp/1", "/ip6/fe80::1/tcp/1", "/ip4/192.168.1.7/tcp/7117"}}}

func TestAnswersWhenANodeHasTakenIt(t *testing.T) {
	r := start(t, func(h *handler, _ *door.Config) { h.grace = 0 })
	r.app.devices = []protocol.Device{attic, {Address: "/ip4/192.168.1.9/tcp/7117", Status: protocol.Status{Node: "cellar"}}}
	for name, c := range map[string]struct {
		updates []protocol.Update
		target  string
	}{
		"runs":    {[]protocol.Update{event(protocol.Event{State: protocol.StatePlacing}), event(protocol.Event{State: protocol.StateRunning, Node: "cellar"})}, "192.168.1.9"},
		"here":    {[]protocol.Update{event(protocol.Event{State: protocol.StateRunning, Node: "attic"})}, "192.168.1.7"},
		"ended":   {[]protocol.Update{event(protocol.Event{State: protocol.StateFailed, Exited: true, ExitCode: 3, Node: "cellar"})}, "192.168.1.9"},
		"queued":  {[]protocol.Update{event(protocol.Event{State: protocol.StatePlacing, QueuePlace: 2, Node: "cellar"})}, "192.168.1.9"},
		"pulling": {[]protocol.Update{event(protocol.Event{State: protocol.StatePulling, Node: "cellar"})}, "192.168.1.9"},
	} {
		r.app.updates = c.updates
		a, text := r.service(hello)
		if a.Message != msgNone || a.ServiceName != "hello" || *a.RemoteTargetInfo != (target{"container", c.target}) || a.RequestID == "" || a.Reason != "" {
			t.Errorf("%s: %s", name, text)
		}
		if run := r.app.runs[len(r.app.runs)-1]; !run.Detach || run.ID != a.RequestID || run.Service.Constraints.NotHere ||
			run.Service.Env[0] != "REQUEST=192.168.1.7" || run.Service.Tags[tagService] != "hello" {
			t.Errorf("%s: it asked for %+v", name, run)
		}
	}
}

func TestAnswersWithTheirWordsForRefusals(t *testing.T) {
	r := start(t)
	refused := func(codes ...protocol.Code) []protocol.Update {
		var d protocol.Decision
		for i, code := range codes {
			d.Candidates = append(d.Candidates, protocol.Candidate{Name: fmt.Sprint(i), Code: code, Excluded: "so it is"})
		}
		return []protocol.Update{{Decision: &d}, event(protocol.Event{State: protocol.StateRefused, Code: protocol.CodeNoNode, Reason: "no node can run it: so it is"})}
	}
	draining := refused(protocol.CodePolicy)
	draining[0].Decision.Candidates[0].Excluded = protocol.ReasonDraining
	for name, c := range map[string]struct {
		updates []protocol.Update
		message string
	}{
		"no node":   {refused(), msgNotFound},
		"resources": {refused(protocol.CodeResources, protocol.CodeConstraint), msgNotFound},
		"policy":    {refused(protocol.CodeResources, protocol.CodePolicy, protocol.CodePullFailed), msgNotAllowed},
		"draining":  {draining, msgNotFound},
		"no image":  {refused(protocol.CodeResources, protocol.CodeImageNotFound), msgInternal},
		"pull":      {[]protocol.Update{event(protocol.Event{State: protocol.StateFailed, Code: protocol.CodePullFailed, Reason: "no node can run it: so it is"})}, msgInternal},
		"start":     {[]protocol.Update{event(protocol.Event{State: protocol.StateFailed, Code: protocol.CodeStartFailed, Reason: "no node can run it: so it is"})}, msgInternal},
	} {
		r.app.updates = c.updates
		if a, text := r.service(hello); a.Message != c.message || *a.RemoteTargetInfo != (target{}) || !strings.Contains(a.Reason, "so it is") {
			t.Errorf("%s: %s, want %s", name, text, c.message)
		}
	}
	r.app.fails = protocol.Errorf(protocol.CodeDiskFull, "no room")
	if a, text := r.service(hello); a.Message != msgInternal || a.Reason != "no room" {
		t.Errorf("not accepted: %s", text)
	}
	r.app.fails = io.ErrUnexpectedEOF
	if a, text := r.service(hello); a.Message != msgInternal || strings.Contains(a.Reason, "EOF") {
		t.Errorf("an internal error: %s", text)
	}
}

func TestMalformedRequests(t *testing.T) {
	r := start(t)
	info := func(cmd string) string {
		return `{"ServiceName":"x","ServiceInfo":[{"ExecutionType":"container","ExecCmd":` + cmd + `}]}`
	}
	for body, name := range map[string]string{
		``: "", `{`: "", `[]`: "", `null`: "", `{} {}`: "", "\xff": "",
		`{"ServiceInfo":[]}`:                                                "",
		`{"ServiceName":7,"ServiceInfo":[]}`:                                "",
		`{"ServiceName":"x"}`:                                               "x",
		`{"ServiceName":"x","ServiceInfo":{}}`:                              "x",
		`{"ServiceName":"x","ServiceInfo":[7]}`:                             "x",
		`{"ServiceName":"x","ServiceInfo":[{}]}`:                            "x",
		`{"ServiceName":"x","ServiceInfo":[null]}`:                          "x",
		`{"ServiceName":"x","ServiceInfo":[{"ExecutionType":"container"}]}`: "x",
		info(`"docker run x"`):                                              "x",
		info(`["docker"]`):                                                  "x",
		info(`["docker","run"]`):                                            "x",
		info(`["docker","run",7]`):                                          "x",
		info(`["docker","run",["x"]]`):                                      "x",
		info(`["docker","ps","x"]`):                                         "x",
		info(`["docker","run","--nosuch","x"]`):                             "x",
		`{"ServiceName":"\u0001","ServiceInfo":[{"ExecutionType":"container","ExecCmd":["docker","run","x"]}]}`:                            "\x01",
		`{"ServiceName":"x","ServiceRequester":"\u0007","ServiceInfo":[{"ExecutionType":"container","ExecCmd":["docker","run","x"]}]}`:     "x",
		`{"ServiceName":"` + strings.Repeat("x", 2000) + `","ServiceInfo":[{"ExecutionType":"container","ExecCmd":["docker","run","x"]}]}`: strings.Repeat("x", 2000),
	} {
		a, text := r.service(body)
		if a.Message != msgInvalid || a.ServiceName != name || a.Reason == "" || !strings.Contains(text, `"RemoteTargetInfo":null`) {
			t.Errorf("%s: %s", body, text)
		}
	}
	if a, text := r.service(`{"ServiceName":"x","ServiceInfo":[{"ExecutionType":"native","ExecCmd":["ls"]},{"ExecutionType":"android"}]}`); a.Message != msgNotFound {
		t.Errorf("what does not run here: %s", text)
	}
	if len(r.app.runs) > 0 {
		t.Errorf("%d of them ran", len(r.app.runs))
	}
}

func TestWhatIsSaidBesideTheCommand(t *testing.T) {
	r := start(t)
	r.app.updates = []protocol.Update{event(protocol.Event{State: protocol.StateRunning, Node: "attic"})}
	with := func(more string) protocol.Service {
		a, text := r.service(`{"ServiceName":"x",` + more + `"ServiceInfo":[{"ExecutionType":"native"},
			{"ExecutionType":"container","ExecCmd":["docker","run","a"],"ExecOption":{"scoringType":"resource"}},{"ExecutionType":"container"}]}`)
		if a.Message != msgNone {
			t.Fatalf("%s: %s", more, text)
		}
		return r.app.runs[len(r.app.runs)-1].Service
	}
	for more, notHere := range map[string]bool{``: false, `"SelfSelection":"true",`: false, `"SelfSelection":true,`: false, `"SelfSelection":"false",`: true, `"SelfSelection":false,`: true} {
		if s := with(more); s.Constraints.NotHere != notHere || s.Image != "a" {
			t.Errorf("%s: %+v", more, s)
		}
	}
	if s := with(`"ServiceRequester":"camera",`); s.Tags[tagRequester] != "camera" {
		t.Errorf("tags: %v", s.Tags)
	}
}

// Bodies are bounded, and only POST is answered; nothing of it runs.
func TestBodiesAndMethodsOutOfBounds(t *testing.T) {
	r := start(t)
	for name, c := range map[string]struct {
		method, path, body string
		status             int
	}{
		"large":   {"POST", prefix + "services", strings.Repeat(" ", door.MaxBody+1), http.StatusRequestEntityTooLarge},
		"get":     {"GET", prefix + "services", "", http.StatusMethodNotAllowed},
		"unknown": {"POST", prefix + "nosuch", hello, http.StatusNotFound},
		"inter":   {"POST", "/api/v1/servicemgr/services", hello, http.StatusNotFound},
	} {
		if status, text := r.ask(c.method, c.path, c.body); status != c.status {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	if len(r.app.runs) > 0 {
		t.Error("one ran")
	}
}

// A page in a browser on this device may ask for nothing, whatever its origin.
func TestPagesAreRefused(t *testing.T) {
	r := start(t)
	for name, header := range map[string][2]string{
		"another site":           {"Sec-Fetch-Site", "cross-site"},
		"another port":           {"Sec-Fetch-Site", "same-site"},
		"an old browser":         {"Origin", "http://evil.example"},
		"an old browser's frame": {"Origin", "null"},
	} {
		if status, text := r.ask("POST", prefix+"services", hello, func(q *http.Request) { q.Header.Set(header[0], header[1]) }); status != http.StatusForbidden {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	if status, text := r.ask("POST", prefix+"services", hello, func(q *http.Request) { q.Host = "evil.example:56001" }); status != http.StatusMisdirectedRequest {
		t.Errorf("a rebound name: %d %s", status, text)
	}
	if len(r.app.runs) > 0 {
		t.Error("one ran")
	}
}

// Who asks for longer than a client waits still gets its container: the request goes
// on without the client.
func TestClientThatGoesLeavesItsRequest(t *testing.T) {
	r := start(t)
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST %sservices HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n%s", prefix, len(hello), hello)
	for deadline := time.Now().Add(10 * time.Second); ; {
		r.app.mu.Lock()
		n := len(r.app.runs)
		r.app.mu.Unlock()
		if n == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it was not asked for")
		}
		time.Sleep(time.Millisecond)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	// goleak sees that its handler ends, and that the request is detached is seen above.
	if !r.app.runs[0].Detach {
		t.Error("it is cancelled with its client")
	}
}

func FuzzServices(f *testing.F) {
	f.Add(hello)
	f.Add(`{"ServiceName":"x","ServiceInfo":[{"ExecutionType":"container","ExecCmd":["docker","run",7]}]}`)
	f.Add(`{"CmdType":"addHashCWL","Desc":[{"ContainerHash":"00"}]}`)
	f.Fuzz(func(t *testing.T, body string) {
		app := &fakeApp{updates: []protocol.Update{event(protocol.Event{State: protocol.StateRunning, Node: "attic"})}}
		h := newTestHandler(app)
		var keys fields
		if json.Unmarshal([]byte(body), &keys) != nil {
			keys = nil
		}
		q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://127.0.0.1/", nil)
		if err != nil {
			t.Fatal(err)
		}
		a, ok := h.services(q, keys).(serviceAnswer)
		if ok && (a.Message == msgNone) != (len(app.runs) == 1) {
			t.Errorf("%+v, and %d runs", a, len(app.runs))
		}
		for _, run := range app.runs {
			if err := run.Service.Validate(); err != nil {
				t.Error(err)
			}
		}
		h.securemgr(q, keys)
	})
}
