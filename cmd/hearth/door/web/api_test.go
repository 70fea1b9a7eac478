package web

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/cmd/hearth/door"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/protocol/api"
)

// lines reads lines of JSON.
type lines struct {
	t *testing.T
	*bufio.Scanner
}

func (r *rig) stream(path string) (lines, func()) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	resp := r.open(http.MethodGet, path, nil, func(q *http.Request) { *q = *q.WithContext(ctx) })
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/x-ndjson" {
		text, _ := io.ReadAll(resp.Body)
		r.t.Fatalf("%s: %d, %s: %s", path, resp.StatusCode, resp.Header.Get("Content-Type"), text)
	}
	return lines{r.t, bufio.NewScanner(resp.Body)}, func() { cancel(); resp.Body.Close() }
}

// next decodes the next line.
func (l lines) next() map[string]any {
	l.t.Helper()
	if !l.Scan() {
		l.t.Fatalf("the stream ended: %v", l.Err())
	}
	theSpec().line(l.t, l.Bytes())
	line := map[string]any{}
	if err := json.Unmarshal(l.Bytes(), &line); err != nil {
		l.t.Fatalf("%v: %s", err, l.Text())
	}
	return line
}

// TestDevicesWatched: a line for each device, one that says that was all, and then
// one for each that changed or is gone; what says nothing new is none.
func TestDevicesWatched(t *testing.T) {
	r := start(t)
	porch, attic := deviceNamed("porch", true), deviceNamed("attic", false)
	r.app.setDevices(porch, attic)
	var list []api.Device
	r.ask("GET", "/v1/devices", "").into(t, 200, &list)
	if len(list) != 2 || list[0].Name != "porch" || !list[0].Self || list[1].MemoryTotal != 4<<30 {
		t.Errorf("listed %+v", list)
	}
	watched, stop := r.stream("/v1/devices?watch")
	defer stop()
	if a, b, c := watched.next(), watched.next(), watched.next(); a["name"] != "porch" || b["name"] != "attic" || c["begun"] != true {
		t.Errorf("first told %v, %v, %v", a, b, c)
	}
	older := attic
	older.Age, older.Status.MemoryFree, older.Status.Sequence = time.Minute, attic.Status.MemoryFree-1, 7
	r.app.setDevices(porch, older) // no news
	busy := older
	busy.Status.Running = 3
	r.app.setDevices(porch, busy)
	if got := watched.next(); got["name"] != "attic" || got["running"] != 3.0 {
		t.Errorf("then told %v", got)
	}
	r.app.setDevices(porch)
	if got := watched.next(); got["peer_id"] != "12D3KooWattic" || got["gone"] != true {
		t.Errorf("at last told %v", got)
	}
}

// TestRequestLife: a request is taken, listed, inspected, followed, stopped, ended
// and forgotten.
func TestRequestLife(t *testing.T) {
	r := start(t)
	created := r.ask("POST", "/v1/requests", `{"id":"nightly","service":{"image":"work:1","args":["a","b"],"tags":{"name":"night"},"memory":1048576}}`)
	var info api.Request
	created.into(t, 201, &info)
	if created.Header.Get("Location") != "/v1/requests/nightly" || info.ID != "nightly" || info.State != "accepted" || !info.Detached {
		t.Errorf("created %+v at %s", info, created.Header.Get("Location"))
	}
	r.ask("POST", "/v1/requests", `{"id":"nightly","service":{"image":"other:1"}}`).wants(t, "another service", 409, "conflict")
	s := r.app.requests["nightly"]
	s.info.Accepted = time.Now().Add(-time.Minute)
	r.ask("POST", "/v1/requests", `{"id":"nightly","service":{"image":"work:1"}}`).wants(t, "again", 200, "nightly")

	followed, stop := r.stream("/v1/requests/nightly/output?follow")
	defer stop()
	s.event(protocol.Event{State: protocol.StateRunning, NodeName: "attic"})
	if err := s.Output(t.Context(), protocol.Stdout, []byte("caf\xc3")); err != nil {
		t.Fatal(err)
	}
	if err := s.Output(t.Context(), protocol.Stdout, []byte("\xa9\n")); err != nil {
		t.Fatal(err)
	}
	if err := s.Output(t.Context(), protocol.Stderr, []byte{0xff, 0xfe}); err != nil {
		t.Fatal(err)
	}
	text := ""
	for text != "café\n" {
		line := followed.next()
		if line["stream"] != "stdout" || line["text"] == nil {
			t.Fatalf("output %v", line)
		}
		text += line["text"].(string)
	}
	if line := followed.next(); line["stream"] != "stderr" || line["base64"] != "//4=" {
		t.Errorf("no text is told as %v", line)
	}

	r.ask("POST", "/v1/requests/nightly/stop", "").wants(t, "stop", 202, "{}")
	r.ask("POST", "/v1/requests/nightly/stop", `{"signal":"sigint","grace_ms":1500}`).wants(t, "stop with a signal", 202, "{}")
	r.ask("POST", "/v1/requests/nightly/signal", `{"signal":"HUP"}`).wants(t, "signal", 202, "{}")
	want := []protocol.Stop{
		{Request: "nightly", Grace: defaultGrace}, {Request: "nightly", Signal: "INT", Grace: 1500 * time.Millisecond},
		{Request: "nightly", Signal: "HUP", SignalOnly: true},
	}
	if fmt.Sprint(r.app.stopped) != fmt.Sprint(want) {
		t.Errorf("stopped with %v, want %v", r.app.stopped, want)
	}
	r.ask("DELETE", "/v1/requests/nightly", "").wants(t, "one that runs", 409, "has not ended")

	s.end(protocol.Event{State: protocol.StateFailed, NodeName: "attic", ExitCode: 3, Exited: true})
	if line := followed.next(); line["state"] != "failed" || line["exit_code"] != 3.0 {
		t.Errorf("the last line is %v", line)
	}
	if followed.Scan() {
		t.Errorf("more follows the end: %s", followed.Text())
	}
	r.ask("POST", "/v1/requests/nightly/stop", "{}").wants(t, "one that has ended", 202, "{}")
	var detail api.RequestDetail
	r.ask("GET", "/v1/requests/nightly", "").into(t, 200, &detail)
	if detail.State != "failed" || *detail.ExitCode != 3 || detail.Service.Memory != 1<<20 || len(detail.Events) != 3 || len(detail.Decisions) != 1 {
		t.Errorf("inspected %+v", detail)
	}
	raw := r.ask("GET", "/v1/requests/nightly/output?stream=stdout&stdout=3", "", func(q *http.Request) { q.Header.Set("Accept", "application/octet-stream") })
	if raw.body != "é\n" || raw.Header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("raw output from 3 on: %q", raw.body)
	}
	var list requestList
	r.ask("GET", "/v1/requests", "").into(t, 200, &list)
	if len(list.Requests) != 0 {
		t.Errorf("ended ones are listed: %v", list)
	}
	r.ask("DELETE", "/v1/requests/nightly", "").wants(t, "forget", 204, "")
	r.ask("GET", "/v1/requests/nightly", "").wants(t, "forgotten", 404, "not_found")
}

// TestRequestList: filtered by tag, bounded, and those that did not answer named.
func TestRequestList(t *testing.T) {
	r := start(t)
	r.app.silent = []string{"garage"}
	for i := range 5 {
		tag := "even"
		if i%2 == 1 {
			tag = "odd"
		}
		r.ask("POST", "/v1/requests", fmt.Sprintf(`{"id":"r%d","service":{"image":"work:1","tags":{"kind":%q}}}`, i, tag))
	}
	var list requestList
	r.ask("GET", "/v1/requests?tag=kind=even&limit=2", "").into(t, 200, &list)
	if len(list.Requests) != 2 || list.More != 1 || list.Silent[0] != "garage" || list.Requests[0].ID != "r4" {
		t.Errorf("listed %+v", list)
	}
	for query, text := range map[string]string{"limit=0": "limit", "limit=x": "limit", "limit=10001": "limit", "tag=even": "tag", "tag==x": "tag"} {
		r.ask("GET", "/v1/requests?"+query, "").wants(t, query, 400, text)
	}
}

// TestEvents: what happens after the first line is told, all of it.
func TestEvents(t *testing.T) {
	r := start(t)
	events, stop := r.stream("/v1/events")
	defer stop()
	if line := events.next(); line["begun"] != true {
		t.Errorf("the first line is %v", line)
	}
	r.ask("POST", "/v1/requests", `{"id":"one","service":{"image":"work:1"}}`)
	if line := events.next(); line["request"] != "one" || line["state"] != "accepted" {
		t.Errorf("told %v", line)
	}
}

// TestStatusPlanChecks: what the device knows of itself, where a service would go,
// what is wrong.
func TestStatusPlanChecks(t *testing.T) {
	r := start(t)
	r.app.checks = []protocol.Check{{Name: "engine", Level: protocol.LevelProblem, Finding: "none answers", Advice: "start it"}}
	r.app.decision = protocol.Decision{Candidates: []protocol.Candidate{
		{Node: "12D3KooWa", Name: "attic", Score: 3, Estimate: time.Second, Chance: 1},
		{Node: "12D3KooWb", Name: "barn", Code: protocol.CodePolicy, Excluded: "its owner says no"},
	}}
	var status statusLine
	r.ask("GET", "/v1/status", "").into(t, 200, &status)
	if status.Name != "porch" || status.May != protocol.RightAll || status.Engine != "fake 1" {
		t.Errorf("status %+v", status)
	}
	var plan api.Decision
	r.ask("POST", "/v1/plan", `{"service":{"image":"work:1"}}`).into(t, 200, &plan)
	if len(plan.Candidates) != 2 || plan.Candidates[0].EstimateMS != 1000 || plan.Candidates[1].Code != "policy" {
		t.Errorf("plan %+v", plan)
	}
	var checks []api.Check
	r.ask("GET", "/v1/checks", "").into(t, 200, &checks)
	if len(checks) != 1 || checks[0].Level != "problem" {
		t.Errorf("checks %+v", checks)
	}
	r.ask("POST", "/v1/drain", `{}`).wants(t, "drain", 204, "")
	r.ask("POST", "/v1/drain", `{"off":true}`).wants(t, "drain off", 204, "")
	if fmt.Sprint(r.app.drained) != "[true false]" {
		t.Errorf("drained %v", r.app.drained)
	}
}

// TestTokensOverHTTP: made, used, listed without its text, revoked.
func TestTokensOverHTTP(t *testing.T) {
	r := start(t)
	var made newToken
	r.ask("POST", "/v1/tokens", `{"name":"tv","may":"read","for_ms":3600000}`).into(t, 201, &made)
	as := func(token string) func(*http.Request) {
		return func(q *http.Request) { q.Header.Set("Authorization", "Bearer "+token) }
	}
	var status statusLine
	r.ask("GET", "/v1/status", "", as(made.Secret)).into(t, 200, &status)
	if status.May != protocol.RightRead || made.Expires.IsZero() {
		t.Errorf("made %+v, which may %v", made, status.May)
	}
	r.ask("GET", "/v1/tokens", "", as(made.Secret)).wants(t, "tokens, to one who may read", 403, "unauthorized")
	listed := r.ask("GET", "/v1/tokens", "")
	listed.wants(t, "list", 200, `"name":"tv","may":"read"`)
	if strings.Contains(listed.body, made.Secret) || strings.Contains(listed.body, "hash") {
		t.Errorf("the list tells more than it should: %s", listed.body)
	}
	r.ask("POST", "/v1/tokens", `{"name":"tv","may":"run"}`).wants(t, "again", 409, "conflict")
	r.ask("POST", "/v1/tokens", `{"name":"x","may":"write"}`).wants(t, "no right", 400, "invalid")
	r.ask("POST", "/v1/tokens", `{"name":"x"}`).wants(t, "no right", 400, "may")
	r.ask("POST", "/v1/tokens", `{"name":"x","may":"run","for_ms":-1}`).wants(t, "no time", 400, "for_ms")
	r.ask("DELETE", "/v1/tokens/tv", "").wants(t, "revoke", 204, "")
	r.ask("DELETE", "/v1/tokens/tv", "").wants(t, "again", 404, "not_found")
	r.ask("GET", "/v1/status", "", as(made.Secret)).wants(t, "with the revoked one", 401, "unauthorized")
}

// TestNeededRights: each route is closed to those who may less.
func TestNeededRights(t *testing.T) {
	r := start(t)
	tokens := map[protocol.Right]string{}
	for _, right := range []protocol.Right{protocol.RightRead, protocol.RightRun} {
		_, token, err := r.tokens.New(right.String(), right, 0)
		if err != nil {
			t.Fatal(err)
		}
		tokens[right] = token
	}
	for route, need := range map[string]protocol.Right{
		"GET /v1/status": protocol.RightRead, "GET /v1/devices": protocol.RightRead, "GET /v1/checks": protocol.RightRead,
		"GET /v1/requests": protocol.RightRead, "GET /v1/requests/x": protocol.RightRead, "GET /v1/requests/x/output": protocol.RightRead,
		"POST /v1/plan": protocol.RightRead, "POST /v1/requests": protocol.RightRun, "DELETE /v1/requests/x": protocol.RightRun,
		"POST /v1/requests/x/stop": protocol.RightRun, "POST /v1/requests/x/signal": protocol.RightRun, "POST /v1/run": protocol.RightRun,
		"POST /v1/drain": protocol.RightAll, "GET /v1/tokens": protocol.RightAll, "POST /v1/tokens": protocol.RightAll, "DELETE /v1/tokens/x": protocol.RightAll,
	} {
		method, path, _ := strings.Cut(route, " ")
		for right, token := range tokens {
			got := r.ask(method, path, "", func(q *http.Request) { q.Header.Set("Authorization", "Bearer "+token) })
			if refused := got.StatusCode == http.StatusForbidden; refused != (right < need) {
				t.Errorf("%s with the right %s: %d %s", route, right, got.StatusCode, got.body)
			}
		}
		r.ask(method, path, "", func(q *http.Request) { q.Header.Del("Authorization") }).wants(t, route+" without a token", 401, "unauthorized")
	}
}

// TestBadInput: what is wrong is said, with its status, and nothing is run.
func TestBadInput(t *testing.T) {
	r := start(t)
	long := strings.Repeat("x", door.MaxBody)
	plain := func(q *http.Request) { q.Header.Set("Content-Type", "text/plain") }
	for name, c := range map[string]struct {
		method, path, body string
		change             func(*http.Request)
		status             int
		text               string
	}{
		"no such path":          {method: "GET", path: "/v1/nothing", status: 404, text: "openapi.yaml"},
		"a path out":            {method: "GET", path: "/v1/requests/..%2f", status: 400, text: "request ID"},
		"control characters":    {method: "GET", path: "/v1/requests/%1b%5bJ", status: 400, text: "request ID"},
		"an ID too long":        {method: "GET", path: "/v1/requests/" + strings.Repeat("a", 65), status: 400, text: "request ID"},
		"unknown request":       {method: "GET", path: "/v1/requests/nobody", status: 404, text: "not_found"},
		"output of none":        {method: "GET", path: "/v1/requests/nobody/output", status: 404, text: "not_found"},
		"stop none":             {method: "POST", path: "/v1/requests/nobody/stop", body: "{}", status: 404, text: "not_found"},
		"forget none":           {method: "DELETE", path: "/v1/requests/nobody", status: 404, text: "not_found"},
		"a method it has not":   {method: "PUT", path: "/v1/requests", status: 405, text: ""},
		"no body":               {method: "POST", path: "/v1/requests", status: 400, text: "empty"},
		"no JSON":               {method: "POST", path: "/v1/requests", body: "image: x", status: 400, text: "invalid"},
		"two objects":           {method: "POST", path: "/v1/requests", body: `{"service":{"image":"w"}}{}`, status: 400, text: "follows"},
		"an unknown key":        {method: "POST", path: "/v1/requests", body: `{"service":{"image":"w","privileged":true}}`, status: 400, text: "privileged"},
		"a wrong type":          {method: "POST", path: "/v1/requests", body: `{"service":{"image":7}}`, status: 400, text: "image"},
		"no image":              {method: "POST", path: "/v1/requests", body: `{"service":{}}`, status: 400, text: "image: it is missing"},
		"a form of a page":      {method: "POST", path: "/v1/requests", body: `{"service":{"image":"w"}}`, change: plain, status: 400, text: "application/json"},
		"an ID that is none":    {method: "POST", path: "/v1/requests", body: `{"id":"../x","service":{"image":"w"}}`, status: 400, text: "request ID"},
		"secrets":               {method: "POST", path: "/v1/requests", body: `{"service":{"image":"w","secrets":[{"name":"a","size":1}]}}`, status: 400, text: "secrets"},
		"input to nobody":       {method: "POST", path: "/v1/requests", body: `{"service":{"image":"w","stdin":true}}`, status: 400, text: "stdin"},
		"negative memory":       {method: "POST", path: "/v1/requests", body: `{"service":{"image":"w","memory":-1}}`, status: 400, text: "memory"},
		"a negative time":       {method: "POST", path: "/v1/plan", body: `{"service":{"image":"w","timeout_ms":-1}}`, status: 400, text: "timeout_ms"},
		"64 KiB and one":        {method: "POST", path: "/v1/tokens", body: `{"name":"` + long + `"}`, status: 413, text: "larger than 65536"},
		"2 MiB and one":         {method: "POST", path: "/v1/plan", body: `{"service":{"image":"` + strings.Repeat("x", maxServiceBody) + `"}}`, status: 413, text: "larger than 2097152"},
		"no signal":             {method: "POST", path: "/v1/requests/x/signal", body: `{}`, status: 400, text: "signal: it is missing"},
		"a signal that is none": {method: "POST", path: "/v1/requests/x/signal", body: `{"signal":"BOO"}`, status: 400, text: "BOO"},
		"grace for ages":        {method: "POST", path: "/v1/requests/x/stop", body: `{"grace_ms":99999999999}`, status: 400, text: "grace_ms"},
		"grace below zero":      {method: "POST", path: "/v1/requests/x/stop", body: `{"grace_ms":-1}`, status: 400, text: "grace_ms"},
		"no such stream":        {method: "GET", path: "/v1/requests/x/output?stream=stdin", status: 400, text: "stream"},
		"no position":           {method: "GET", path: "/v1/requests/x/output?stdout=-1", status: 400, text: "stdout"},
		"no time":               {method: "GET", path: "/v1/requests/x/output?since=yesterday", status: 400, text: "since"},
		"run: no image":         {method: "POST", path: "/v1/run", status: 400, text: "image"},
		"run: unknown word":     {method: "POST", path: "/v1/run?image=w&priviledged", status: 400, text: "priviledged"},
		"run: no cores":         {method: "POST", path: "/v1/run?image=w&cpus=many", status: 400, text: "cpus"},
		"run: NaN cores":        {method: "POST", path: "/v1/run?image=w&cpus=NaN", status: 400, text: "cpus"},
		"run: no size":          {method: "POST", path: "/v1/run?image=w&memory=big", status: 400, text: "memory"},
		"run: no time":          {method: "POST", path: "/v1/run?image=w&timeout=soon", status: 400, text: "timeout"},
		"run: no tag":           {method: "POST", path: "/v1/run?image=w&tag=x", status: 400, text: "tag"},
		"run: no constraint":    {method: "POST", path: "/v1/run?image=w&constraint=x", status: 400, text: "constraint"},
		"run: no ID":            {method: "POST", path: "/v1/run?image=w&id=%2e%2e", status: 400, text: "request ID"},
	} {
		var change []func(*http.Request)
		if c.change != nil {
			change = append(change, c.change)
		}
		r.ask(c.method, c.path, c.body, change...).wants(t, name, c.status, c.text)
	}
	if r.app.runs > 0 {
		t.Errorf("%d requests were run", r.app.runs)
	}
}

// TestAppFails: what the device says no to is passed on with its code.
func TestAppFails(t *testing.T) {
	r := start(t)
	r.app.fails = protocol.Errorf(protocol.CodeOverloaded, "too many at once")
	for _, path := range []string{"/v1/status", "/v1/devices", "/v1/devices?watch", "/v1/requests", "/v1/requests/x", "/v1/requests/x/output", "/v1/events", "/v1/checks"} {
		got := r.ask("GET", path, "")
		got.wants(t, path, 503, "too many at once")
		if got.Header.Get("Retry-After") == "" || got.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: headers %v", path, got.Header)
		}
	}
	r.ask("POST", "/v1/requests", `{"service":{"image":"w"}}`).wants(t, "create", 503, "overloaded")
	r.ask("POST", "/v1/plan", `{"service":{"image":"w"}}`).wants(t, "plan", 503, "overloaded")
	r.ask("POST", "/v1/run?image=w", "").wants(t, "run", 503, "overloaded")
}

// TestTooManyStreams: beyond the bound the answer is 503; one that ends makes room.
func TestTooManyStreams(t *testing.T) {
	r := start(t)
	var stops []func()
	for range maxStreams {
		_, stop := r.stream("/v1/devices?watch")
		stops = append(stops, stop)
	}
	r.ask("GET", "/v1/events", "").wants(t, "one more", 503, "answers go on already")
	r.ask("GET", "/v1/devices", "").wants(t, "what ends by itself", 200, "[]")
	stops[0]()
	for deadline := time.Now().Add(10 * time.Second); ; {
		if got := r.ask("GET", "/v1/requests/none/output", ""); got.StatusCode == 404 {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("no room was made: %s", got.body)
		}
	}
	for _, stop := range stops {
		stop()
	}
}

// TestEndlessBody: a body that does not come to its end is not waited for beyond its
// time.
func TestEndlessBody(t *testing.T) {
	r := start(t)
	body, feed := io.Pipe()
	defer feed.Close()
	go func() { // ends with body
		for {
			if _, err := feed.Write([]byte(" ")); err != nil {
				return
			}
		}
	}()
	resp := r.open("POST", "/v1/tokens", body)
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("status %d: %s", resp.StatusCode, text)
	}
}
