package protocol

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/hearth-edge/hearth/protocol/pb"
)

// Bounds on text that the wire carries, in bytes. Longer text is cut, by the
// sender and by the receiver, since a long reason must not break a conversation.
const (
	maxReason    = 1024
	maxContainer = 128
	maxAddress   = 256
)

// marshal encodes m, the same bytes for the same content.
func marshal(buf []byte, m proto.Message) ([]byte, error) {
	buf, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(buf, m)
	if err != nil {
		return nil, Errorf(CodeInvalid, "message cannot be encoded: %v", err)
	}
	return buf, nil
}

// unmarshal decodes b into m, ignoring fields that it does not know.
func unmarshal(b []byte, m proto.Message) error {
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(b, m); err != nil {
		return Errorf(CodeInvalid, "malformed message")
	}
	return nil
}

// clip returns s cut to limit bytes, as valid UTF-8.
func clip(s string, limit int) string {
	if utf8.ValidString(s) && len(s) <= limit {
		return s
	}
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

func codeToPB(c Code) pb.Code {
	if !c.known() {
		c = CodeInternal
	}
	return pb.Code(c)
}

func codeFromPB(c pb.Code) Code {
	if c < 0 || c >= pb.Code(codeEnd) || !Code(c).known() {
		return CodeInternal
	}
	return Code(c)
}

// whyFromPB is codeFromPB for what must have a code.
func whyFromPB(c pb.Code) Code {
	if c == pb.Code_CODE_NONE {
		return CodeInternal
	}
	return codeFromPB(c)
}

// errorToPB returns what of err may cross the wire, and whether that is all of
// it: anything but an *Error is told as an internal one, without its text.
func errorToPB(err error) (e *pb.Error, whole bool) {
	known, ok := errors.AsType[*Error](err)
	if !ok {
		known = Errorf(CodeInternal, "internal error")
	}
	return &pb.Error{Code: codeToPB(known.Code), Message: clip(known.Message, maxReason)}, ok
}

func errorFromPB(e *pb.Error) *Error {
	return &Error{Code: whyFromPB(e.GetCode()), Message: clip(e.GetMessage(), maxReason)}
}

// answerToPB returns the answer to a first frame; see errorToPB for whole.
func answerToPB(err error) (a *pb.Answer, whole bool) {
	if err == nil {
		return &pb.Answer{Answer: &pb.Answer_Accepted{Accepted: &pb.Accepted{}}}, true
	}
	if r, ok := errors.AsType[*Refusal](err); ok {
		return &pb.Answer{Answer: &pb.Answer_Refusal{Refusal: &pb.Refusal{
			Code: codeToPB(r.Code), Reason: clip(r.Reason, maxReason),
			Running: r.Load.Running, Queued: r.Load.Queued, Slots: r.Load.Slots,
			LongRunning: longRunningToPB(&r.Load.LongRunning), Youngest: durationToPB(r.Load.Youngest),
		}}}, true
	}
	e, whole := errorToPB(err)
	return &pb.Answer{Answer: &pb.Answer_Error{Error: e}}, whole
}

// answerFromPB returns nil for Accepted, else what was answered instead: a
// *Refusal or an *Error.
func answerFromPB(a *pb.Answer) error {
	switch v := a.GetAnswer().(type) {
	case *pb.Answer_Accepted:
		return nil
	case *pb.Answer_Refusal:
		return refusalFromPB(v.Refusal)
	case *pb.Answer_Error:
		return errorFromPB(v.Error)
	}
	return broken(Errorf(CodeInvalid, "answer: neither accepted nor refused"))
}

// refusalFromPB returns a *Refusal; a load that is out of bounds makes the answer
// none at all.
func refusalFromPB(p *pb.Refusal) error {
	r := &Refusal{
		Code: whyFromPB(p.GetCode()), Reason: clip(p.GetReason(), maxReason),
		Load: Load{Running: p.GetRunning(), Queued: p.GetQueued(), Slots: p.GetSlots()},
	}
	var err error
	if r.Load.LongRunning, err = longRunningFromPB(p.GetLongRunning()); err != nil {
		return broken(err)
	}
	if r.Load.Youngest, err = durationFromPB("youngest", p.GetYoungest()); err != nil {
		return broken(err)
	}
	return r
}

// longRunningToPB returns nil where there is none, which costs no byte.
func longRunningToPB(l *LongRunning) *pb.LongRunning {
	if *l == (LongRunning{}) {
		return nil
	}
	return &pb.LongRunning{Count: l.Count, Cpus: toMilli(l.CPUs), Memory: uint64(l.Memory), Ran: durationToPB(l.Ran)}
}

func longRunningFromPB(p *pb.LongRunning) (LongRunning, error) {
	ran, err := durationFromPB("long_running.ran", p.GetRan())
	l := LongRunning{Count: p.GetCount(), CPUs: fromMilli(p.GetCpus()), Memory: Bytes(p.GetMemory()), Ran: ran}
	if err == nil {
		err = l.validate()
	}
	return l, err
}

func stateFromPB(s pb.State) (State, error) {
	if s < pb.State_STATE_ACCEPTED || s > pb.State_STATE_UNKNOWN {
		return 0, Errorf(CodeInvalid, "state: %d is not known here", s)
	}
	return State(s), nil
}

func durationToPB(d time.Duration) uint64 { return uint64(max(d, 0)) }

func durationFromPB(field string, d uint64) (time.Duration, error) {
	if d > math.MaxInt64 {
		return 0, Errorf(CodeInvalid, "%s: %d ns is out of bounds", field, d)
	}
	return time.Duration(d), nil
}

// nanoToPB returns the nanoseconds since 1970, 0 for no time.
func nanoToPB(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func nanoFromPB(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}

// finite keeps what is only for people from breaking a conversation.
func finite(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}

func checkFinite(field string, v float64) error {
	if v != finite(v) {
		return Errorf(CodeInvalid, "%s: %v is not a number", field, v)
	}
	return nil
}

// optionalRequest and optionalNode check an ID that may be absent.
func optionalRequest(s string) (RequestID, error) {
	if s == "" {
		return "", nil
	}
	return ParseRequestID(s)
}

func optionalNode(s string) (PeerID, error) {
	if s == "" {
		return "", nil
	}
	return ParsePeerID(s)
}

// missing is the error for a part that must be there.
func missing(what string) error {
	return Errorf(CodeInvalid, "%s: it is missing", what)
}

// broken says that a conversation ended before its time.
func broken(err error) error { return fmt.Errorf("conversation broke: %w", err) }
