package door

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/hearth-edge/hearth/protocol"
)

// A Problem is how a door says no, by RFC 9457.
type Problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	// Code is the protocol's word for what is wrong, Detail says it to people.
	Code   string `json:"code"`
	Detail string `json:"detail"`
	// Request is the one that it is about, where it was accepted.
	Request protocol.RequestID `json:"request,omitempty"`
	// Reasons says why each device that was left out cannot run a service.
	Reasons []Reason `json:"reasons,omitempty"`
}

// A Reason is why a device cannot run a service.
type Reason struct {
	Node   protocol.PeerID `json:"node"`
	Name   string          `json:"name"`
	Code   string          `json:"code"`
	Reason string          `json:"reason"`
}

// statuses are the HTTP statuses of the codes; of those left out it is 500.
var statuses = map[protocol.Code]int{
	protocol.CodeInvalid:       http.StatusBadRequest,
	protocol.CodeUnauthorized:  http.StatusUnauthorized,
	protocol.CodeNotFound:      http.StatusNotFound,
	protocol.CodeConflict:      http.StatusConflict,
	protocol.CodeNoNode:        http.StatusUnprocessableEntity,
	protocol.CodeUnknownNode:   http.StatusUnprocessableEntity,
	protocol.CodeConstraint:    http.StatusUnprocessableEntity,
	protocol.CodeResources:     http.StatusUnprocessableEntity,
	protocol.CodePolicy:        http.StatusUnprocessableEntity,
	protocol.CodeImageNotFound: http.StatusUnprocessableEntity,
	protocol.CodeImagePlatform: http.StatusUnprocessableEntity,
	protocol.CodeImageMismatch: http.StatusUnprocessableEntity,
	protocol.CodeStartFailed:   http.StatusUnprocessableEntity,
	protocol.CodePullFailed:    http.StatusBadGateway,
	protocol.CodeNodeLost:      http.StatusBadGateway,
	protocol.CodeEngineDown:    http.StatusBadGateway,
	protocol.CodeBusy:          http.StatusServiceUnavailable,
	protocol.CodeOverloaded:    http.StatusServiceUnavailable,
	protocol.CodeLeaving:       http.StatusServiceUnavailable,
	protocol.CodeNotReady:      http.StatusServiceUnavailable,
	protocol.CodeQueueTimeout:  http.StatusServiceUnavailable,
	protocol.CodeTimeout:       http.StatusGatewayTimeout,
	protocol.CodeDiskFull:      http.StatusInsufficientStorage,
	protocol.CodeCancelled:     http.StatusConflict,
}

// A StatusError is an error with a status that its code does not say.
type StatusError struct {
	Status int
	Err    error
}

func (e *StatusError) Error() string { return e.Err.Error() }
func (e *StatusError) Unwrap() error { return e.Err }

// retryAfter is when whoever was told 503 may ask again, in seconds.
const retryAfter = "1"

// StatusOf returns the HTTP status that a code stands for.
func StatusOf(code protocol.Code) int {
	if status, ok := statuses[code]; ok {
		return status
	}
	return http.StatusInternalServerError
}

// ProblemOf makes a problem of an error. What an error says that is not a
// *protocol.Error stays inside.
func ProblemOf(err error) Problem {
	code := protocol.CodeOf(err)
	p := Problem{Status: StatusOf(code), Code: code.String(), Detail: "an internal error; the device's log has the details"}
	if code != protocol.CodeInternal {
		p.Detail = err.Error()
	}
	if e, ok := errors.AsType[*StatusError](err); ok {
		p.Status = e.Status
	}
	p.Title = http.StatusText(p.Status)
	return p
}

// Write answers with the problem.
func (p Problem) Write(w http.ResponseWriter) {
	h := w.Header()
	switch p.Status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", "Bearer")
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", retryAfter)
	}
	body, err := json.Marshal(p)
	if err != nil { // there is nothing in it that cannot be written
		body = nil
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(body)+1))
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n'))
}
