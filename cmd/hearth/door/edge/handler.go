package edge

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/hearth-edge/hearth/cmd/hearth/door"
	"github.com/hearth-edge/hearth/cmd/hearth/door/outbox"
	"github.com/hearth-edge/hearth/protocol"
)

// DefaultAddr is where that project's clients ask.
const DefaultAddr = "127.0.0.1:56001"

// The words of that project's answers.
const (
	msgNone       = "ERROR_NONE"
	msgInvalid    = "INVALID_PARAMETER"
	msgNotFound   = "SERVICE_NOT_FOUND"
	msgInternal   = "INTERNAL_SERVER_ERROR"
	msgNotAllowed = "NOT_ALLOWED_COMMAND"
)

// Config is what a handler stands on.
type Config struct {
	App protocol.App
	// Parse reads what follows 'docker run' on a command line. What it returns holds
	// nothing of this process: no variable and no file of it.
	Parse func(args []string) (protocol.Run, error)
	// Brokers are asked for cloudsyncmgr.
	Brokers *outbox.Brokers
	Log     *slog.Logger
}

type handler struct {
	Config
	mux *http.ServeMux
	// grace is takenGrace, but in tests.
	grace time.Duration
}

// New returns the handler of the API; it belongs behind a door.Server.
func New(cfg Config) http.Handler { return newHandler(cfg) }

const prefix = "/api/v1/orchestration/"

func newHandler(cfg Config) *handler {
	h := &handler{cfg, http.NewServeMux(), takenGrace}
	h.post("services", h.services)
	h.post("securemgr", h.securemgr)
	h.post("cloudsyncmgr/publish", h.publish)
	h.post("cloudsyncmgr/subscribe", h.subscribe)
	h.mux.HandleFunc("GET "+prefix+"cloudsyncmgr/getsubscribedata/{host}/{topic}/{app}", h.subscribed)
	h.mux.HandleFunc("GET "+prefix+"cloudsyncmgr/getsubscribedata/{topic}/{app}", h.subscribed)
	return h
}

// post has a path, with and without a slash at its end, be answered.
func (h *handler) post(path string, answer func(*http.Request, fields) any) {
	for _, end := range []string{"", "/{$}"} {
		h.mux.HandleFunc("POST "+prefix+path+end, func(w http.ResponseWriter, r *http.Request) {
			if f, ok := readFields(w, r); ok {
				reply(w, answer(r, f))
			}
		})
	}
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if door.Require(w, r, protocol.RightRun) {
		h.mux.ServeHTTP(w, r)
	}
}

// fields are the keys of a body; nil where it is no JSON object.
type fields map[string]any

// text returns a key that has to be a string.
func (f fields) text(key string) (string, bool) {
	s, ok := f[key].(string)
	return s, ok
}

// readFields reads a body, whatever its content type says. It answers by itself one
// that is too large, or late.
func readFields(w http.ResponseWriter, r *http.Request) (fields, bool) {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(door.BodyTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, door.MaxBody))
	_ = control.SetReadDeadline(time.Time{})
	if err == nil {
		var f fields
		if json.Unmarshal(body, &f) != nil {
			f = nil
		}
		return f, true
	}
	status, code, text := http.StatusBadRequest, protocol.CodeInvalid, "the body broke off"
	switch large, _ := errors.AsType[*http.MaxBytesError](err); {
	case large != nil:
		status, text = http.StatusRequestEntityTooLarge, "the body is larger than "+strconv.FormatInt(large.Limit, 10)+" bytes"
	case errors.Is(err, os.ErrDeadlineExceeded):
		status, code, text = http.StatusRequestTimeout, protocol.CodeTimeout, "the body was not there within "+door.BodyTimeout.String()
	}
	door.ProblemOf(&door.StatusError{Status: status, Err: protocol.Errorf(code, "%s", text)}).Write(w)
	return nil, false
}

// reply writes an answer as that project does: 200, whatever it says.
func reply(w http.ResponseWriter, v any) {
	body, err := json.Marshal(v)
	if err != nil { // there is nothing in it that cannot be written
		body = nil
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body) // who went does not hear it
}
