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
	output := encodeOutput([]protocol.Output{{Channel: protocol.Stdout, Offset: 3, Cut: 3, Data: []byte("hello")}})
	for _, seed := range [][]byte{request, offer, end, output, (&kept{next: 2}).encode(time.Hour)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, bucket := range []string{requests, offers, ends, outputs} {
			readable(bucket, raw)
			_, _ = unseal(bucket, keyOf(1), raw)
		}
		var k kept
		if k.decode(raw) == nil && k.base < 0 {
			t.Errorf("an age of %v", k.base)
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
