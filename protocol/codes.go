package protocol

import (
	"errors"
	"fmt"
)

// Code is why something was refused or went wrong: a closed set, the same on
// the wire, in JSON (as its String) and in Go.
type Code uint8

const (
	CodeNone Code = iota
	// CodeInvalid: the message or a field in it is malformed or out of bounds.
	CodeInvalid
	// CodeUnauthorized: the app's token is wrong or missing.
	CodeUnauthorized
	// CodeNoNode: no node can run the service; the decision says why for each.
	CodeNoNode
	// CodeUnknownNode: the node named by a constraint is not in the mesh.
	CodeUnknownNode
	// CodeConstraint: the node does not satisfy a constraint.
	CodeConstraint
	// CodeResources: the node never has as much CPU or memory as is asked for.
	CodeResources
	// CodeBusy: the node is too busy now; another one, or later, may do.
	CodeBusy
	// CodePolicy: the node's owner does not allow it.
	CodePolicy
	// CodeImageNotFound: no such image here, and the registry has none or
	// cannot be reached.
	CodeImageNotFound
	// CodeImagePlatform: the image is made for another architecture or OS.
	CodeImagePlatform
	// CodePullFailed: the image exists but could not be fetched.
	CodePullFailed
	// CodeEngineDown: the node's container engine does not answer.
	CodeEngineDown
	// CodeStartFailed: the engine could not start the container, as when the
	// command does not exist in the image.
	CodeStartFailed
	// CodeNodeLost: the node went away while it had the execution.
	CodeNodeLost
	// CodeLeaving: the device is shutting down.
	CodeLeaving
	// CodeConflict: the request ID is in use for a different service.
	CodeConflict
	// CodeNotFound: no such request or execution is known.
	CodeNotFound
	// CodeTimeout: it took longer than was allowed.
	CodeTimeout
	// CodeCancelled: the asker wanted it to end.
	CodeCancelled
	// CodeOverloaded: a bound on concurrent requests or streams was reached.
	CodeOverloaded
	// CodeDiskFull: the journal or the image store has no room.
	CodeDiskFull
	// CodeInternal: a defect or an unforeseen error; the log has the details.
	CodeInternal
	codeEnd
)

var codeNames = [codeEnd]string{
	CodeNone:          "none",
	CodeInvalid:       "invalid",
	CodeUnauthorized:  "unauthorized",
	CodeNoNode:        "no_node",
	CodeUnknownNode:   "unknown_node",
	CodeConstraint:    "constraint",
	CodeResources:     "resources",
	CodeBusy:          "busy",
	CodePolicy:        "policy",
	CodeImageNotFound: "image_not_found",
	CodeImagePlatform: "image_platform",
	CodePullFailed:    "pull_failed",
	CodeEngineDown:    "engine_down",
	CodeStartFailed:   "start_failed",
	CodeNodeLost:      "node_lost",
	CodeLeaving:       "leaving",
	CodeConflict:      "conflict",
	CodeNotFound:      "not_found",
	CodeTimeout:       "timeout",
	CodeCancelled:     "cancelled",
	CodeOverloaded:    "overloaded",
	CodeDiskFull:      "disk_full",
	CodeInternal:      "internal",
}

// String returns the code's stable name.
func (c Code) String() string {
	if c < codeEnd {
		return codeNames[c]
	}
	return fmt.Sprintf("code_%d", uint8(c))
}

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
