package journal

import (
	"bytes"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// FuzzRecords: whatever is in a record, reading it ends; and what can be read can
// be written and read again.
func FuzzRecords(f *testing.F) {
	r := Record{Request: Request{ID: "r", Service: protocol.Service{Image: "busybox"}, At: time.Unix(1700000000, 0)}}
	request, err := encodeRequest(&r)
	if err != nil {
		f.Fatal(err)
	}
	offer, err := encodeOffer(Offer{Attempt: 1, Node: "n", Name: "attic"})
	if err != nil {
		f.Fatal(err)
	}
	end, err := encodeEnd(&End{Event: protocol.Event{State: protocol.StateSucceeded}, Attempts: 1, History: []protocol.Event{{State: protocol.StatePlacing}}}, 10)
	if err != nil {
		f.Fatal(err)
	}
	output := encodeOutput([]protocol.Output{{Channel: protocol.Stderr, At: time.UnixMilli(1790000000123), Data: []byte("x")}, {Channel: protocol.Stdout, Offset: 3, Cut: 3, Data: []byte("hello")}})
	for _, seed := range [][]byte{request, offer, end, output, (&totals{seq: 2}).commitFrame(nil, 0)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if f, ok := parseFrame(7, raw); ok {
			if again, _ := appendFrame(nil, 7, f.kind, f.number, f.content); !bytes.Equal(again, raw) {
				t.Errorf("the frame %x became %x", raw, again)
			}
		}
		for k := range kinds {
			_, _ = newStep(frame{kind: k, content: raw, extent: extent{size: uint32(len(raw))}})
		}
		if r, err := decodeRequest(raw); err == nil {
			if again, err := encodeRequest(&r); err == nil {
				if _, err := decodeRequest(again); err != nil {
					t.Errorf("request %+v: %v", r, err)
				}
			}
		}
		if e, err := decodeEnd(raw); err == nil {
			if again, err := encodeEnd(&e.End, 10); err != nil {
				t.Errorf("end %+v: %v", e, err)
			} else if _, err := decodeEnd(again); err != nil {
				t.Errorf("end %+v: %v", e, err)
			}
		}
		if pieces, err := decodeOutput(raw); err == nil {
			once := encodeOutput(pieces)
			again, err := decodeOutput(once)
			if err != nil || !bytes.Equal(encodeOutput(again), once) {
				t.Errorf("output %+v became %+v, %v", pieces, again, err)
			}
			markLoss(pieces, nil)
		}
	})
}
