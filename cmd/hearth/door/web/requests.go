package web

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/hearth-edge/hearth/cmd/hearth/door"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/protocol/api"
)

// requestList is the answer to a list.
type requestList struct {
	Requests []api.Request `json:"requests"`
	// Silent names the devices that did not answer: their requests are missing.
	Silent []string `json:"silent"`
	// More is how many there are beyond the limit.
	More int `json:"more"`
}

// list answers with the requests of the mesh, the newest first.
func (a *handler) list(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	limit, err := number(query, "limit", maxListed, maxListed)
	if err != nil {
		return err
	}
	tags, err := pairs("tag", query["tag"])
	if err != nil {
		return err
	}
	out := requestList{Requests: []api.Request{}, Silent: []string{}}
	silent, err := a.app.List(r.Context(), query.Has("all"), func(i protocol.RequestInfo) error {
		switch {
		case !tagged(i.Tags, tags):
		case len(out.Requests) >= limit:
			out.More++
		default:
			out.Requests = append(out.Requests, api.NewRequest(&i))
		}
		return nil
	})
	if err != nil {
		return err
	}
	out.Silent = append(out.Silent, silent...)
	return answer(w, http.StatusOK, out)
}

func tagged(has, wanted map[string]string) bool {
	for k, v := range wanted {
		if got, ok := has[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// inspect answers with all that is known of a request.
func (a *handler) inspect(w http.ResponseWriter, r *http.Request) error {
	id, err := requestOf(r)
	if err != nil {
		return err
	}
	d, err := a.app.Inspect(r.Context(), id)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, api.NewRequestDetail(&d))
}

// requestOf reads the request that a path names.
func requestOf(r *http.Request) (protocol.RequestID, error) {
	text := r.PathValue("id")
	_, _, err := protocol.ParseRequestRef(text)
	return protocol.RequestID(text), err
}

// create takes a request, which goes on by itself.
func (a *handler) create(w http.ResponseWriter, r *http.Request) error {
	var asked struct {
		ID      string      `json:"id"`
		Service api.Service `json:"service"`
	}
	if err := decode(w, r, maxServiceBody, &asked); err != nil {
		return err
	}
	run := protocol.Run{Detach: true, ID: protocol.RequestID(asked.ID)}
	var err error
	if run.Service, err = serviceOf(&asked.Service); err != nil {
		return err
	}
	if run.Service.Stdin {
		return protocol.Errorf(protocol.CodeInvalid, "stdin: nobody gives this request its input: use POST /v1/run")
	}
	if run.ID == "" {
		run.ID = protocol.NewRequestID()
	} else if _, err := protocol.ParseRequestID(asked.ID); err != nil {
		return err
	}
	// The clock is this device's own, as is that of its requests.
	before := time.Now().Truncate(time.Millisecond)
	session, err := a.app.Run(r.Context(), run)
	if err != nil {
		return err
	}
	_ = session.Close()
	d, err := a.app.Inspect(r.Context(), run.ID)
	if err != nil {
		return err
	}
	status := http.StatusCreated
	if !d.Accepted.IsZero() && d.Accepted.Before(before) {
		status = http.StatusOK
	}
	w.Header().Set("Location", "/v1/requests/"+url.PathEscape(string(run.ID)))
	return answer(w, status, api.NewRequest(&d.RequestInfo))
}

// remove has a request forgotten.
func (a *handler) remove(w http.ResponseWriter, r *http.Request) error {
	id, err := requestOf(r)
	if err != nil {
		return err
	}
	if err := a.app.Remove(r.Context(), protocol.Remove{Request: id, Force: r.URL.Query().Has("force")}); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// defaultGrace is how long a container has to end before it is killed.
const defaultGrace = 10 * time.Second

// stop asks a request to end.
func (a *handler) stop(w http.ResponseWriter, r *http.Request) error {
	asked := struct {
		Signal  string `json:"signal"`
		GraceMS *int64 `json:"grace_ms"`
	}{}
	id, err := requestOf(r)
	if err != nil {
		return err
	}
	if err := decode(w, r, door.MaxBody, &asked); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	stop := protocol.Stop{Request: id, Signal: asked.Signal, Grace: defaultGrace}
	if asked.GraceMS != nil {
		if *asked.GraceMS < 0 || *asked.GraceMS > maxGraceMS {
			return protocol.Errorf(protocol.CodeInvalid, "grace_ms: %d is out of bounds: 0 to %d", *asked.GraceMS, maxGraceMS)
		}
		stop.Grace = time.Duration(*asked.GraceMS) * time.Millisecond
	}
	return a.stopped(w, r, stop)
}

// signal sends a request a signal.
func (a *handler) signal(w http.ResponseWriter, r *http.Request) error {
	var asked struct {
		Signal string `json:"signal"`
	}
	id, err := requestOf(r)
	if err != nil {
		return err
	}
	if err := decode(w, r, door.MaxBody, &asked); err != nil {
		return err
	}
	if asked.Signal == "" {
		return protocol.Errorf(protocol.CodeInvalid, `signal: it is missing: write it like "HUP"`)
	}
	return a.stopped(w, r, protocol.Stop{Request: id, Signal: asked.Signal, SignalOnly: true})
}

func (a *handler) stopped(w http.ResponseWriter, r *http.Request, stop protocol.Stop) error {
	if stop.Signal != "" {
		name, err := protocol.ParseSignal(stop.Signal)
		if err != nil {
			return err
		}
		stop.Signal = name
	}
	if err := a.app.Stop(r.Context(), stop); err != nil {
		return err
	}
	return answer(w, http.StatusAccepted, struct{}{})
}

// decode reads a JSON object of at most so many bytes, with no key that is not known
// and nothing after it. An empty body is io.EOF.
func decode(w http.ResponseWriter, r *http.Request, most int64, into any) error {
	if t, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); strings.TrimSpace(t) != "application/json" && r.ContentLength != 0 {
		return protocol.Errorf(protocol.CodeInvalid, "the body must be JSON: send 'Content-Type: application/json'")
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(door.BodyTimeout))
	defer func() { _ = control.SetReadDeadline(time.Time{}) }() // it would end the waiting for the client's going, too
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, most))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		if _, more := d.Token(); more == nil {
			return protocol.Errorf(protocol.CodeInvalid, "the body: something follows the JSON object")
		} else if !errors.Is(more, io.EOF) {
			err = more
		}
	}
	switch large, _ := errors.AsType[*http.MaxBytesError](err); {
	case err == nil:
		return nil
	case large != nil:
		return &door.StatusError{Status: http.StatusRequestEntityTooLarge, Err: protocol.Errorf(protocol.CodeInvalid, "the body: it is larger than %d bytes", large.Limit)}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &door.StatusError{Status: http.StatusRequestTimeout, Err: protocol.Errorf(protocol.CodeTimeout, "the body: it was not there within %v", door.BodyTimeout)}
	case errors.Is(err, io.EOF):
		return io.EOF
	}
	return protocol.Errorf(protocol.CodeInvalid, "the body: %s", strings.TrimPrefix(err.Error(), "json: "))
}

// number reads a number of a query, from 1 to most.
func number(query url.Values, key string, otherwise, most int) (int, error) {
	text := query.Get(key)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, protocol.Errorf(protocol.CodeInvalid, "%s: %q is no number from 1 to %d", key, text, most)
	}
	return n, nil
}

// pairs reads what a query gives as key=value.
func pairs(what string, texts []string) (map[string]string, error) {
	var out map[string]string
	for _, text := range texts {
		k, v, ok := strings.Cut(text, "=")
		if !ok || k == "" {
			return nil, protocol.Errorf(protocol.CodeInvalid, "%s: %q is not of the form KEY=VALUE", what, text)
		}
		if out == nil {
			out = make(map[string]string)
		}
		out[k] = v
	}
	return out, nil
}
