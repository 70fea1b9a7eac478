package protocol

import (
	"context"
	"fmt"
	"time"

	"github.com/hearth-edge/hearth/protocol/pb"
)

// Right is what the holder of a token may do with a device. A greater right
// includes the lesser ones.
type Right uint8

const (
	// RightNone is that of a token nobody knows.
	RightNone Right = iota
	// RightRead allows to look: devices, requests with their output, plans and
	// findings.
	RightRead
	// RightRun allows to run requests, to feed, stop and remove them.
	RightRun
	// RightAll allows to manage the device too: its work, its end, its tokens.
	RightAll
)

var rightNames = [...]string{RightNone: "none", RightRead: "read", RightRun: "run", RightAll: "all"}

// String returns the right's stable name: "read", "run" or "all".
func (r Right) String() string {
	if int(r) < len(rightNames) {
		return rightNames[r]
	}
	return fmt.Sprintf("right_%d", uint8(r))
}

// ParseRight reads a right's name; the error is an *Error with CodeInvalid.
func ParseRight(name string) (Right, error) {
	for r := RightRead; r <= RightAll; r++ {
		if rightNames[r] == name {
			return r, nil
		}
	}
	return RightNone, Errorf(CodeInvalid, "right: %q is none of read, run and all", shorten(name))
}

// MarshalText writes the right's name.
func (r Right) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads it; see ParseRight.
func (r *Right) UnmarshalText(text []byte) (err error) {
	*r, err = ParseRight(string(text))
	return err
}

// Check returns nil where r includes need, else an *Error with CodeUnauthorized
// that says what is missing.
func (r Right) Check(need Right) error {
	switch {
	case r >= need:
		return nil
	case r == RightNone:
		return Errorf(CodeUnauthorized, "the token is missing, wrong or expired: see 'hearth token'")
	}
	return Errorf(CodeUnauthorized, "this token may only %s, and that needs the right '%s': see 'hearth token new --may %s'", r, need, need)
}

// neededForStacks returns the right that a verb of Stacks needs.
func neededForStacks(s *pb.Stacks) Right {
	switch v := s.GetVerb().(type) {
	case *pb.Stacks_List, *pb.Stacks_Logs, *pb.Stacks_History:
		return RightRead
	case *pb.Stacks_Up:
		if v.Up.GetPlan() {
			return RightRead
		}
	}
	return RightRun
}

// needed returns the right that a verb of an app needs.
func needed(r *pb.AppRequest) Right {
	switch v := r.GetVerb().(type) {
	case *pb.AppRequest_Devices, *pb.AppRequest_Diagnose, *pb.AppRequest_Plan:
		return RightRead
	case *pb.AppRequest_Run, *pb.AppRequest_Exec, *pb.AppRequest_Dial, *pb.AppRequest_Copy:
		return RightRun
	case *pb.AppRequest_Stacks:
		return neededForStacks(v.Stacks)
	case *pb.AppRequest_Requests:
		switch v.Requests.GetVerb().(type) {
		case *pb.Requests_Attach, *pb.Requests_List, *pb.Requests_Inspect, *pb.Requests_Watch:
			return RightRead
		case *pb.Requests_Stop, *pb.Requests_Remove:
			return RightRun
		}
	case *pb.AppRequest_Manage:
		if _, ok := v.Manage.GetVerb().(*pb.Manage_Status); ok {
			return RightRead
		}
	}
	return RightAll
}

// limited returns requests as the holder of right may take part in them: who may
// only read does not touch what it is attached to.
func limited(requests Requests, right Right) Requests {
	if right >= RightRun {
		return requests
	}
	return readOnly{requests}
}

type readOnly struct{ Requests }

func (r readOnly) Attach(ctx context.Context, a Attach) (Session, error) {
	s, err := r.Requests.Attach(ctx, a)
	if err != nil {
		return nil, err
	}
	return readOnlySession{s}, nil
}

type readOnlySession struct{ Session }

var errReadOnly = RightRead.Check(RightRun)

func (readOnlySession) Write([]byte) (int, error)   { return 0, errReadOnly }
func (readOnlySession) CloseWrite() error           { return nil }
func (readOnlySession) Stop(time.Duration) error    { return errReadOnly }
func (readOnlySession) Signal(string) error         { return errReadOnly }
func (readOnlySession) Resize(uint16, uint16) error { return errReadOnly }
