package web

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// A spec is openapi.yaml, against which every answer of these tests is held.
type spec struct {
	doc    *openapi3.T
	router routers.Router
	err    error
}

var theSpec = sync.OnceValue(func() (s spec) {
	text, err := files.ReadFile("openapi.yaml")
	if err != nil {
		return spec{err: err}
	}
	if s.doc, s.err = openapi3.NewLoader().LoadFromData(text); s.err != nil {
		return s
	}
	s.doc.Servers = nil // the tests' have other ports
	s.router, s.err = gorillamux.NewRouter(s.doc)
	return s
})

// holds checks an answer against the specification. What goes on is checked by its
// lines: see line.
func (s spec) holds(t *testing.T, a asked) {
	t.Helper()
	if s.err != nil {
		t.Fatalf("openapi.yaml: %v", s.err)
	}
	if !strings.HasPrefix(a.Request.URL.Path, "/v1/") || a.Request.URL.Path == "/v1/openapi.yaml" {
		return
	}
	route, params, err := s.router.FindRoute(a.Request)
	if err != nil {
		if a.StatusCode != http.StatusNotFound && a.StatusCode != http.StatusMethodNotAllowed && a.StatusCode != http.StatusUnauthorized && a.StatusCode != http.StatusBadRequest {
			t.Errorf("openapi.yaml has no %s %s: %v", a.Request.Method, a.Request.URL.Path, err)
		}
		return
	}
	kind, _, _ := strings.Cut(a.Header.Get("Content-Type"), ";")
	in := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: a.Request, PathParams: params, Route: route},
		Status:                 a.StatusCode, Header: a.Header, Body: io.NopCloser(strings.NewReader(a.body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true, ExcludeResponseBody: kind != "application/json" && kind != "application/problem+json"},
	}
	if err := openapi3filter.ValidateResponse(t.Context(), in); err != nil {
		t.Errorf("%s %s: the answer is not as openapi.yaml says: %v", a.Request.Method, a.Request.URL.Path, err)
	}
}

// line checks a line of a stream against the schema of what it is.
func (s spec) line(t *testing.T, text []byte) {
	t.Helper()
	if s.err != nil {
		t.Fatalf("openapi.yaml: %v", s.err)
	}
	var v map[string]any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	name := "Device"
	switch {
	case v["begun"] != nil, v["gone"] != nil:
		return
	case v["problem"] != nil:
		name, v = "Problem", v["problem"].(map[string]any)
	case v["stream"] != nil:
		name = "OutputLine"
	case v["instances"] != nil:
		name = "Stack"
	case v["state"] != nil:
		name = "Event"
	}
	if err := s.doc.Components.Schemas[name].Value.VisitJSON(v); err != nil {
		t.Errorf("a line is no %s of openapi.yaml: %v: %s", name, err, text)
	}
}

// TestSpec: openapi.yaml is valid, and says what routes there are, no more and no less.
func TestSpec(t *testing.T) {
	s := theSpec()
	if s.err != nil {
		t.Fatal(s.err)
	}
	if err := s.doc.Validate(t.Context()); err != nil {
		t.Errorf("openapi.yaml is not valid: %v", err)
	}
	var said, served []string
	for path, item := range s.doc.Paths.Map() {
		for method := range item.Operations() {
			said = append(said, method+" "+path)
		}
	}
	for _, r := range new(handler).routes() {
		served = append(served, r.method+" "+r.path)
	}
	slices.Sort(said)
	slices.Sort(served)
	if !slices.Equal(said, served) {
		t.Errorf("openapi.yaml says\n%s\nand there are\n%s", strings.Join(said, "\n"), strings.Join(served, "\n"))
	}
	run := s.doc.Paths.Find("/v1/run").Post
	var keys []string
	for _, p := range run.Parameters {
		keys = append(keys, p.Value.Name)
	}
	for key := range queryKeys {
		if !slices.Contains(keys, key) {
			t.Errorf("openapi.yaml lacks the parameter %s of /v1/run", key)
		}
	}
	if len(keys) != len(queryKeys) {
		t.Errorf("openapi.yaml says %d parameters of /v1/run, there are %d", len(keys), len(queryKeys))
	}
}

// TestSpecForbids: the specification can be violated.
func TestSpecForbids(t *testing.T) {
	var v any
	if err := json.NewDecoder(bytes.NewReader([]byte(`{"name":"a","level":"bad","finding":1}`))).Decode(&v); err != nil {
		t.Fatal(err)
	}
	if err := theSpec().doc.Components.Schemas["Check"].Value.VisitJSON(v); err == nil {
		t.Error("a finding that is none is taken for one")
	}
}
