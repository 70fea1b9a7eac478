package protocol

import (
	"errors"
	"fmt"
)

// Code is why something was refused or went wrong: a closed set, the same on
// the wire, in JSON (as its String) and in Go.
type Code uint8

const (
	// CodeNone means that nothing went wrong.
	CodeNone Code = iota
	// CodeInvalid means that the message or a field in it is malformed or out of bounds.
	CodeInvalid
	// CodeUnauthorized means that the app's token is wrong or missing.
	CodeUnauthorized
	// CodeNoNode means that no node can run the service; the decision says why for each.
	CodeNoNode
	// CodeUnknownNode means that the node named by a constraint is not in the mesh.
	CodeUnknownNode
	// CodeConstraint means that the node does not satisfy a constraint.
	CodeConstraint
	// CodeResources means that the node never has as much CPU or memory as is asked for.
	CodeResources
	// CodeBusy means that the node is too busy now; another one, or later, may do.
	CodeBusy
	// CodePolicy means that the node's owner does not allow it.
	CodePolicy
	// CodeImageNotFound means that there is no such image, neither here nor in
	// the registry.
	CodeImageNotFound
	// CodeImagePlatform means that the image is made for another architecture or OS.
	CodeImagePlatform
	// CodePullFailed means that the image could not be fetched, as from a registry
	// that this node does not reach.
	CodePullFailed
	// CodeEngineDown means that the node's container engine does not answer; with
	// StateLost that it went down while the container ran.
	CodeEngineDown
	// CodeStartFailed means that the engine could not start the container, as
	// when the command does not exist in the image.
	CodeStartFailed
	// CodeNodeLost means that the node went away, or its device went down, while it
	// had the execution, or that it could not be reached to be asked.
	CodeNodeLost
	// CodeLeaving means that the device is shutting down.
	CodeLeaving
	// CodeConflict means that the request ID is in use for a different service.
	CodeConflict
	// CodeNotFound means that no such request or execution is known.
	CodeNotFound
	// CodeTimeout means that it took longer than was allowed.
	CodeTimeout
	// CodeCancelled means that the asker wanted it to end.
	CodeCancelled
	// CodeOverloaded means that a bound on concurrent requests or streams was reached.
	CodeOverloaded
	// CodeDiskFull means that the journal or the image store has no room.
	CodeDiskFull
	// CodeInternal means a defect or an unforeseen error; the log has the details.
	CodeInternal
	// CodeLeaseExpired means that the orchestrator did not renew the execution's
	// lease: another attempt may take its place.
	CodeLeaseExpired
	// CodeImageMismatch means that the node has another image by that name than
	// the one that the asker's device built or loaded.
	CodeImageMismatch
	// CodeQueueTimeout means that a node gave an execution back that had waited in
	// its queue for longer than the orchestrator allowed: nothing was started.
	CodeQueueTimeout
	// CodeNotReady means that the device does not know yet whether it runs work, as
	// its container engine has not answered since it started.
	CodeNotReady
	// CodeStackUnhealthy means that a stack was not up in time.
	CodeStackUnhealthy
	// CodePortClosed means that nothing in the container listens on the port.
	CodePortClosed
	codeEnd
)

var codeNames = [codeEnd]string{
	CodeNone:           "none",
	CodeInvalid:        "invalid",
	CodeUnauthorized:   "unauthorized",
	CodeNoNode:         "no_node",
	CodeUnknownNode:    "unknown_node",
	CodeConstraint:     "constraint",
	CodeResources:      "resources",
	CodeBusy:           "busy",
	CodePolicy:         "policy",
	CodeImageNotFound:  "image_not_found",
	CodeImagePlatform:  "image_platform",
	CodePullFailed:     "pull_failed",
	CodeEngineDown:     "engine_down",
	CodeStartFailed:    "start_failed",
	CodeNodeLost:       "node_lost",
	CodeLeaving:        "leaving",
	CodeConflict:       "conflict",
	CodeNotFound:       "not_found",
	CodeTimeout:        "timeout",
	CodeCancelled:      "cancelled",
	CodeOverloaded:     "overloaded",
	CodeDiskFull:       "disk_full",
	CodeInternal:       "internal",
	CodeLeaseExpired:   "lease_expired",
	CodeQueueTimeout:   "queue_timeout",
	CodeNotReady:       "not_ready",
	CodeStackUnhealthy: "stack_unhealthy",
	CodeImageMismatch:  "image_mismatch",
	CodePortClosed:     "port_closed",
}

// String returns the code's stable name.
func (c Code) String() string {
	if c.known() {
		return codeNames[c]
	}
	return fmt.Sprintf("code_%d", uint8(c))
}

// known reports whether this version has the code.
func (c Code) known() bool { return c < codeEnd && codeNames[c] != "" }

// Error is a failure as it crosses the wire: a code for programs and a text
// for people. The text holds nothing internal.
type Error struct {
	Code    Code
	Message string
}

func (e *Error) Error() string { return e.Message }

// Errorf makes an *Error.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// CodeOf returns the code that err carries: that of an *Error or a *Refusal in
// its chain, CodeNone for nil, else CodeInternal.
func CodeOf(err error) Code {
	if err == nil {
		return CodeNone
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r.Code
	}
	return CodeInternal
}
