package web

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hearth-edge/hearth/cmd/hearth/door"
	"github.com/hearth-edge/hearth/protocol"
)

// Config is what a handler stands on.
type Config struct {
	App protocol.App
	// Tokens are those that the page and the API can list, make and revoke.
	Tokens *door.Tokens
	// Metrics are what the device's parts tell at /metrics, beside the mesh.
	Metrics []prometheus.Collector
}

// handler answers what is asked under /v1.
type handler struct {
	app    protocol.App
	tokens *door.Tokens
	// streams holds a place for each answer that goes on.
	streams chan struct{}
}

// New returns the handler of the API and the page.
func New(cfg Config) http.Handler {
	a := &handler{app: cfg.App, tokens: cfg.Tokens, streams: make(chan struct{}, maxStreams)}
	mux := http.NewServeMux()
	allowed := map[string][]string{}
	for _, r := range a.routes() {
		a.route(mux, r)
		allowed[r.path] = append(allowed[r.path], r.method)
	}
	for path, methods := range allowed {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if door.Require(w, r, protocol.RightRead) {
				w.Header().Set("Allow", strings.Join(methods, ", "))
				door.ProblemOf(&door.StatusError{Status: http.StatusMethodNotAllowed, Err: protocol.Errorf(protocol.CodeInvalid,
					"%s takes no %s: use %s", r.URL.Path, r.Method, strings.Join(methods, " or "))}).Write(w)
			}
		})
	}
	a.serveMetrics(mux, cfg.Metrics)
	servePage(mux)
	mux.HandleFunc("/v1/", func(w http.ResponseWriter, r *http.Request) {
		if door.Require(w, r, protocol.RightRead) {
			door.ProblemOf(protocol.Errorf(protocol.CodeNotFound, "there is no %s here: see /v1/openapi.yaml", r.URL.Path)).Write(w)
		}
	})
	return mux
}

// A route is who may ask what of whom.
type route struct {
	method, path string
	need         protocol.Right
	handle       func(http.ResponseWriter, *http.Request) error
}

// routes are all that is answered under /v1; openapi.yaml says the same.
func (a *handler) routes() []route {
	return []route{
		{"GET", "/v1/status", protocol.RightRead, a.status},
		{"GET", "/v1/devices", protocol.RightRead, a.devices},
		{"GET", "/v1/checks", protocol.RightRead, a.checks},
		{"GET", "/v1/events", protocol.RightRead, a.events},
		{"GET", "/v1/stacks", protocol.RightRead, a.stackList},
		{"GET", "/v1/output", protocol.RightRead, a.everything},
		{"GET", "/v1/requests", protocol.RightRead, a.list},
		{"POST", "/v1/requests", protocol.RightRun, a.create},
		{"GET", "/v1/requests/{id}", protocol.RightRead, a.inspect},
		{"DELETE", "/v1/requests/{id}", protocol.RightRun, a.remove},
		{"GET", "/v1/requests/{id}/output", protocol.RightRead, a.output},
		{"POST", "/v1/requests/{id}/stop", protocol.RightRun, a.stop},
		{"POST", "/v1/requests/{id}/signal", protocol.RightRun, a.signal},
		{"POST", "/v1/plan", protocol.RightRead, a.plan},
		{"POST", "/v1/run", protocol.RightRun, a.run},
		{"POST", "/v1/drain", protocol.RightAll, a.drain},
		{"GET", "/v1/tokens", protocol.RightAll, a.tokenList},
		{"POST", "/v1/tokens", protocol.RightAll, a.tokenNew},
		{"DELETE", "/v1/tokens/{name}", protocol.RightAll, a.tokenRevoke},
	}
}

// route has a route's handler answer those who have the right. The error that it
// returns is told as a problem.
func (a *handler) route(mux *http.ServeMux, to route) {
	mux.HandleFunc(to.method+" "+to.path, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if !door.Require(w, r, to.need) {
			return
		}
		switch err := to.handle(w, r); {
		case err == nil, r.Context().Err() != nil:
		case errors.Is(err, io.EOF):
			door.ProblemOf(protocol.Errorf(protocol.CodeInvalid, "the body is empty: send a JSON object, or {}")).Write(w)
		default:
			door.ProblemOf(err).Write(w)
		}
	})
}

// answer writes one JSON value.
func answer(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)+1))
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // who went does not hear it
	return nil
}

// bare ends the session or list of a client that went.
func bare(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
