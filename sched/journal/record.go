package journal

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// A Request is what is written down when it is accepted.
type Request struct {
	ID      protocol.RequestID
	Service protocol.Service
	// Detached says that the request goes on without an app.
	Detached bool
	// At is when it was accepted, for people only.
	At time.Time
	// Offer is the first offer where it was decided before the request was
	// accepted; else the zero value. In a Record it is the last one.
	Offer Offer `json:"-"`
}

// An Offer is to whom a request was offered. Attempt counts from 1; 0 is none.
type Offer struct {
	Attempt uint32
	Node    protocol.PeerID
	// Name is what the node is called.
	Name string
	// Started: a container of it was seen there.
	Started bool `json:"Begun,omitempty"`
	// Lost counts the attempts before it that were lost and may have run.
	Lost uint32 `json:",omitempty"`
	// Stdout and Stderr are how many bytes those before it wrote.
	Stdout, Stderr uint64 `json:",omitempty"`
}

// An End is how a request ended.
type End struct {
	// Event is the last one.
	Event protocol.Event
	// Attempts is how many executions there were.
	Attempts uint32
	// History holds the events up to the last one.
	History []protocol.Event
	// Decisions explain its placements. They are left out where they cannot be
	// written down.
	Decisions []protocol.Decision `json:",omitempty"`
	// Linger says that what waits for Ended has time: it may wait a little, to
	// share a commit with others. It is not kept.
	Linger bool `json:"-"`
	// Output holds what the container wrote, in order. Only Ended uses it;
	// Journal.Output returns what was kept.
	Output []protocol.Output `json:"-"`
}

// A Record is what the journal has of a request.
type Record struct {
	Request
	// Sequence orders requests by their acceptance; it is never used again.
	Sequence uint64
	// Hash is ServiceHash(Service), as it was when the request was accepted.
	Hash [sha256.Size]byte
	// End is nil while the request has not ended.
	End *End
	// InDoubt: the record was saved from a damaged file and has no end, but
	// may have had one, or further offers. It must not be offered anew; ask the
	// node of the last offer, if there is one, or end it as unknown.
	InDoubt bool
}

// Bounds on records, in bytes.
const (
	// maxRequest holds a service of protocol.MaxService, however JSON escapes it.
	maxRequest = maxContent - 1<<10
	maxText    = 1024 // of an event, like on the wire
	// pieceCost is what a piece of output counts besides its bytes.
	pieceCost = 16
)

var errMalformed = errors.New("malformed record")

// The flags of a request's record.
const flagInDoubt = 1

// encodeRequest returns flags, hash and JSON.
func encodeRequest(r *Record) ([]byte, error) {
	if _, err := protocol.ParseRequestID(string(r.ID)); err != nil {
		return nil, err
	}
	req := r.Request
	req.At = validTime(req.At)
	text, err := json.Marshal(&req)
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeInvalid, "request %s cannot be written down: %v", r.ID, err)
	}
	if len(text) > maxRequest {
		return nil, protocol.Errorf(protocol.CodeInvalid, "request %s takes %d bytes, the most is %d: shorten args or env", r.ID, len(text), maxRequest)
	}
	raw := make([]byte, 0, 1+len(r.Hash)+len(text))
	raw = append(raw, 0)
	raw = append(raw, r.Hash[:]...)
	return append(raw, text...), nil
}

func decodeRequest(raw []byte) (Record, error) {
	var r Record
	if len(raw) < 1+len(r.Hash) {
		return r, errMalformed
	}
	r.InDoubt = raw[0]&flagInDoubt != 0
	n := 1 + copy(r.Hash[:], raw[1:])
	return r, json.Unmarshal(raw[n:], &r.Request)
}

func encodeOffer(o Offer) ([]byte, error) {
	if o.Attempt == 0 {
		return nil, protocol.Errorf(protocol.CodeInvalid, "journal: attempts count from 1")
	}
	return json.Marshal(o)
}

func decodeOffer(raw []byte) (o Offer, err error) {
	return o, json.Unmarshal(raw, &o)
}

// endRecord is an End as it is written, with what retention needs.
type endRecord struct {
	End
	// Order counts ends; Age is the journal's age at this one.
	Order uint64
	Age   time.Duration
}

// endHead is how many bytes Order and Age take before the JSON: they are known
// only to the writer, which does not encode.
const endHead = 16

func encodeEnd(e *End, maxHistory int) ([]byte, error) {
	kept := End{Event: clip(e.Event), Attempts: e.Attempts, History: digest(e.History, maxHistory)}
	for i, event := range kept.History {
		kept.History[i] = clip(event)
	}
	kept.Decisions = e.Decisions
	text, err := json.Marshal(&kept)
	if err != nil || len(text) > maxContent-endHead {
		// Too many candidates, or a number in one that JSON has no word for.
		kept.Decisions = nil
		text, err = json.Marshal(&kept)
	}
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeInvalid, "the end of a request cannot be written down: %v", err)
	}
	return append(make([]byte, endHead, endHead+len(text)), text...), nil
}

func stampEnd(raw []byte, order uint64, age time.Duration) {
	binary.BigEndian.PutUint64(raw, order)
	binary.BigEndian.PutUint64(raw[8:], uint64(age))
}

func decodeEnd(raw []byte) (e endRecord, err error) {
	if len(raw) < endHead {
		return e, errMalformed
	}
	e.Order = binary.BigEndian.Uint64(raw)
	e.Age = max(0, time.Duration(binary.BigEndian.Uint64(raw[8:])))
	return e, json.Unmarshal(raw[endHead:], &e.End)
}

// digest returns at most n of the events: progress goes first, then the middle.
func digest(events []protocol.Event, n int) []protocol.Event {
	out := slices.Clone(events)
	if len(out) > n {
		out = slices.DeleteFunc(out, func(e protocol.Event) bool { return e.Progress != nil })
	}
	if excess := len(out) - n; excess > 0 {
		out = slices.Delete(out, n/2, n/2+excess)
	}
	return out
}

// clip bounds an event's text, and makes its time one that JSON can hold.
func clip(e protocol.Event) protocol.Event {
	if len(e.Reason) > maxText {
		e.Reason = strings.ToValidUTF8(e.Reason[:maxText], "") + "…"
	}
	e.At = validTime(e.At)
	return e
}

// validTime returns t without a zone; the zero time where the year is none that
// can be written: it comes from a clock that is wrong.
func validTime(t time.Time) time.Time {
	t = t.UTC().Round(0)
	if t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}

// readRecord puts a record together from what read returns of its parts.
func readRecord(e *entry, read func(extent, kind) ([]byte, error)) (Record, error) {
	raw, err := read(e.parts[kindRequest], kindRequest)
	if err != nil {
		return Record{}, err
	}
	r, err := decodeRequest(raw)
	if err != nil {
		return Record{}, err
	}
	r.Sequence = e.seq
	if x := e.parts[kindOffer]; x.size > 0 {
		if raw, err = read(x, kindOffer); err != nil {
			return Record{}, err
		}
		if r.Offer, err = decodeOffer(raw); err != nil {
			return Record{}, err
		}
	}
	if !e.ended {
		return r, nil
	}
	if raw, err = read(e.parts[kindEnd], kindEnd); err != nil {
		return Record{}, err
	}
	ended, err := decodeEnd(raw)
	r.End, r.InDoubt = &ended.End, false
	return r, err
}
