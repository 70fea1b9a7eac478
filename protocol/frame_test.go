package protocol

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/hearth-edge/hearth/protocol/pb"
	"github.com/hearth-edge/hearth/protocol/protocoltest"
)

// frame returns m as it is sent.
func frame(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := marshal(binary.AppendUvarint(nil, uint64(proto.Size(m))), m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestFrameIsTheDocumentedBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := protocoltest.Pipe()
		go func() {
			w := newWire(a)
			_ = w.send(&pb.Wish{Wish: &pb.Wish_Input{Input: &pb.Data{Length: 2}}}, []byte("hi"), 0)
			_ = w.send(&pb.Wish{Wish: &pb.Wish_CloseInput{CloseInput: &pb.CloseInput{}}}, nil, 0)
			_ = a.Close()
		}()
		got, err := io.ReadAll(b)
		if want := []byte{4, 0x0a, 2, 0x10, 2, 'h', 'i', 2, 0x12, 0}; err != nil || !bytes.Equal(got, want) {
			t.Errorf("sent % x, %v, want % x", got, err, want)
		}
	})
}

// Frames arrive whole however the stream cuts them.
func TestFramesInSmallPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := protocoltest.Pipe()
		raw := bytes.Repeat([]byte("x"), MaxData)
		go func() {
			all := frame(t, &pb.Data{Length: MaxData})
			for _, c := range append(all, raw...) {
				_, _ = a.Write([]byte{c})
			}
			_ = a.CloseWrite()
		}()
		w := newWire(b)
		m := new(pb.Data)
		if err := w.receive(m); err != nil || m.Length != MaxData {
			t.Fatalf("%v, %v", m, err)
		}
		if got, err := w.receiveRaw(m.Length); err != nil || !bytes.Equal(got, raw) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if err := w.receive(m); !errors.Is(err, io.EOF) {
			t.Errorf("at the end: %v", err)
		}
	})
}

// Both servers answer what they can, and wait for no one longer than 10 s.
func TestBadFirstFrames(t *testing.T) {
	ok := frame(t, &pb.ExecuteRequest{Verb: &pb.ExecuteRequest_Attach{Attach: &pb.Attach{Request: "r"}}})
	for _, tc := range []struct {
		name  string
		send  []byte
		close bool
		code  Code // what is answered; CodeNone: nothing
		err   error
	}{
		{"too large", binary.AppendUvarint(nil, MaxFrame+1), false, CodeInvalid, nil},
		{"absurd", binary.AppendUvarint(nil, 1<<62), false, CodeInvalid, nil},
		{"no varint", bytes.Repeat([]byte{0xff}, 11), false, CodeInvalid, nil},
		{"no protobuf", []byte{2, 0xff, 0xff}, false, CodeInvalid, nil},
		{"no verb", []byte{0}, false, CodeInvalid, nil},
		{"a later verb", []byte{3, 0xfa, 0x3f, 0}, false, CodeInvalid, nil},
		{"no verb about requests", []byte{2, 0x1a, 0}, false, CodeInvalid, nil},
		{"cut short", ok[:len(ok)-1], true, CodeNone, io.ErrUnexpectedEOF},
		{"nothing", nil, true, CodeNone, io.EOF},
		{"slow", ok[:len(ok)-1], false, CodeNone, os.ErrDeadlineExceeded},
		{"silent", nil, false, CodeNone, os.ErrDeadlineExceeded},
	} {
		for name, serve := range map[string]func(context.Context, Stream) error{
			"execute": func(ctx context.Context, s Stream) error {
				return ServeExecute(ctx, s, &device{}, &device{}, &device{}, nodeA)
			},
			"app": func(ctx context.Context, s Stream) error { return ServeApp(ctx, s, testRights, &device{}) },
		} {
			synctest.Test(t, func(t *testing.T) {
				a, b := protocoltest.Pipe()
				served := make(chan error, 1)
				begun := time.Now()
				go func() { served <- serve(t.Context(), b) }()
				_, _ = a.Write(tc.send)
				if tc.close {
					_ = a.CloseWrite()
				}
				answer := new(pb.Answer)
				err := newWire(a).receive(answer)
				if tc.code == CodeNone && err == nil {
					t.Errorf("%s, %s: answered %v", name, tc.name, answer)
				}
				if got := CodeOf(answerFromPB(answer)); tc.code != CodeNone && (err != nil || got != tc.code && got != CodeUnauthorized) {
					t.Errorf("%s, %s: answered %v, %v", name, tc.name, got, err)
				}
				err = <-served
				if err == nil || tc.err != nil && !errors.Is(err, tc.err) {
					t.Errorf("%s, %s: served with %v", name, tc.name, err)
				}
				if took := time.Since(begun); took > frameTimeout {
					t.Errorf("%s, %s: took %v", name, tc.name, took)
				}
			})
		}
	}
}

// One byte a second does not keep a conversation open.
func TestTricklingFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := protocoltest.Pipe()
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			for _, c := range binary.AppendUvarint(nil, MaxFrame) {
				_, _ = a.Write([]byte{c})
			}
			for {
				if _, err := a.Write([]byte{1}); err != nil {
					return
				}
				<-time.After(time.Second)
			}
		}()
		begun := time.Now()
		err := newWire(b).receive(new(pb.Wish))
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begun) > frameTimeout {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		_ = b.Reset()
		<-stopped
	})
}

func TestBadWishes(t *testing.T) {
	data := func(d *pb.Data) *pb.Wish { return &pb.Wish{Wish: &pb.Wish_Input{Input: d}} }
	for name, m := range map[string]*pb.Wish{
		"data too large":  data(&pb.Data{Length: MaxData + 1}),
		"wrong channel":   data(&pb.Data{Channel: 1}),
		"no such channel": data(&pb.Data{Channel: 9}),
		"grace":           {Wish: &pb.Wish_Stop{Stop: &pb.Stop{Grace: 1 << 63}}},
		"signal":          {Wish: &pb.Wish_Signal{Signal: &pb.Signal{Name: "FOO"}}},
		"no signal":       {Wish: &pb.Wish_Signal{}},
		"rows":            {Wish: &pb.Wish_Resize{Resize: &pb.Resize{Rows: 1 << 16}}},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newScript()
			c, l := executeLink(t, running(s))
			mustOffer(t, c)
			_, _ = l.stream.Write(frame(t, m))
			if err := <-l.served; CodeOf(err) != CodeInvalid {
				t.Errorf("%s: served with %v", name, err)
			}
			<-s.closed
		})
	}
}

func TestInputBeyondTheCredit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		c, l := executeLink(t, running(s))
		mustOffer(t, c)
		w := newWire(l.stream)
		for range 2 {
			_ = w.send(&pb.Wish{Wish: &pb.Wish_Input{Input: &pb.Data{Length: MaxData}}}, make([]byte, MaxData), 0)
		}
		if err := <-l.served; CodeOf(err) != CodeInvalid || !strings.Contains(err.Error(), "credit") {
			t.Errorf("served with %v", err)
		}
	})
}

func TestUnknownWishesAndUpdatesAreIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := protocoltest.Pipe()
		sess := newRemoteSession(newWire(a), Attach{})
		defer sess.Close()
		w := newWire(b)
		_ = w.send(&pb.Update{}, nil, 0)
		_ = w.send(&pb.Update{Update: &pb.Update_Event{Event: &pb.Event{State: pb.State_STATE_LOST}}}, nil, 0)
		_ = b.CloseWrite()
		updates, err := readAll(sess)
		expect(t, updates, "event 11")
		if !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	})
}

func TestBadUpdates(t *testing.T) {
	output := func(d *pb.Data) *pb.Update { return &pb.Update{Update: &pb.Update_Output{Output: d}} }
	for name, m := range map[string]*pb.Update{
		"data too large": output(&pb.Data{Channel: 1, Length: MaxData + 1}),
		"on stdin":       output(&pb.Data{}),
		"untold gap":     output(&pb.Data{Channel: 1, Offset: 1}),
		"overflow":       output(&pb.Data{Channel: 1, Offset: 1 << 63, Cut: 1 << 63}),
		"state":          {Update: &pb.Update_Event{Event: &pb.Event{State: 99}}},
		"no state":       {Update: &pb.Update_Event{}},
		"credit":         {Update: &pb.Update_Credit{Credit: &pb.Credit{Bytes: 1}}},
		"complete":       {Update: &pb.Update_Complete{}},
		"decision":       {Update: &pb.Update_Decision{Decision: &pb.Decision{Level: 1 << 63}}},
		"unnamed":        {Update: &pb.Update_Decision{Decision: &pb.Decision{Unnamed: MaxDevices + 1}}},
	} {
		synctest.Test(t, func(t *testing.T) {
			a, b := protocoltest.Pipe()
			sess := newRemoteSession(newWire(a), Attach{})
			defer sess.Close()
			_, _ = b.Write(frame(t, m))
			if u, err := sess.Next(); CodeOf(err) != CodeInvalid {
				t.Errorf("%s: %v, %v", name, u, err)
			}
		})
	}
}

// A node that floods its orchestrator with events is cut off.
func TestTooManyEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := protocoltest.Pipe()
		sess := newRemoteSession(newWire(a), Attach{})
		defer sess.Close()
		go func() {
			w := newWire(b)
			for w.send(&pb.Update{Update: &pb.Update_Event{Event: &pb.Event{State: 1}}}, nil, 0) == nil {
			}
		}()
		updates, err := readAll(sess)
		if len(updates) != maxEvents || CodeOf(err) != CodeInvalid {
			t.Errorf("%d events, %v", len(updates), err)
		}
	})
}
