package protocol

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/hearth-edge/hearth/protocol/pb"
	"github.com/hearth-edge/hearth/protocol/protocoltest"
)

// Whatever bytes come, every end of every conversation ends, without a panic
// and without a made-up end.
func FuzzConversation(f *testing.F) {
	offer := sampleOffer()
	join := func(frames ...proto.Message) (b []byte) {
		for _, m := range frames {
			b = append(b, frame(f, m)...)
		}
		return b
	}
	f.Add(join(&pb.ExecuteRequest{Verb: &pb.ExecuteRequest_Offer{Offer: offerToPB(&offer)}},
		&pb.Wish{Wish: &pb.Wish_Stop{Stop: &pb.Stop{Grace: 1}}}, &pb.Wish{Wish: &pb.Wish_CloseInput{CloseInput: &pb.CloseInput{}}}))
	f.Add(join(&pb.ExecuteRequest{Verb: &pb.ExecuteRequest_Renew{Renew: renewToPB(&Renewal{Request: "r", Attempt: 1})}}))
	f.Add(join(&pb.AppRequest{Token: testToken, Verb: &pb.AppRequest_Plan{Plan: &pb.Plan{Service: serviceToPB(&offer.Service)}}}))
	f.Add(join(&pb.AppRequest{Token: testToken, Verb: &pb.AppRequest_Devices{Devices: &pb.Devices{Watch: true}}}))
	f.Add(join(&pb.Update{Update: &pb.Update_Event{Event: &pb.Event{State: 6}}}, outputToPB(Stdout, 3, 3, 0, time.Time{})))
	f.Add(join(&pb.ExecuteRequest{Verb: &pb.ExecuteRequest_Requests{Requests: &pb.Requests{Verb: &pb.Requests_Attach{
		Attach: attachToPB(&Attach{Request: "r", NoFollow: true}),
	}}}}, &pb.Wish{Wish: &pb.Wish_Signal{Signal: &pb.Signal{Name: "INT"}}}, &pb.Wish{Wish: &pb.Wish_Resize{Resize: sizeToPB(1, 2)}}))
	f.Add(join(&pb.AppRequest{Token: testToken, Verb: &pb.AppRequest_Requests{Requests: &pb.Requests{Verb: &pb.Requests_Attach{
		Attach: attachToPB(&Attach{Request: "r", Since: time.Minute}),
	}}}}))
	secrets := sampleSecrets()
	service, length := serviceToPB(&secrets), uint32(0)
	raw, err := detach(&service, &length)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(join(&pb.AppRequest{Token: testToken, Verb: &pb.AppRequest_Run{Run: &pb.Run{ServiceLength: length}}}), raw...))
	f.Add(append(join(&pb.ExecuteRequest{Verb: &pb.ExecuteRequest_Offer{Offer: &pb.Offer{Request: "r", Attempt: 1, ServiceLength: length}}}), raw...))
	f.Add(join(&pb.AppRequest{Token: testToken, Verb: &pb.AppRequest_Requests{Requests: &pb.Requests{Verb: &pb.Requests_Remove{
		Remove: &pb.Remove{Request: "r", Force: true},
	}}}}))
	target := &pb.Target{Target: &pb.Target_Service{Service: &pb.ServiceTarget{Stack: "media", Service: "db"}}}
	f.Add(join(&pb.ExecuteRequest{Verb: &pb.ExecuteRequest_Exec{Exec: &pb.Exec{Target: target, Args: []string{"sh"}}}}))
	f.Add(append(join(&pb.ExecuteRequest{Verb: &pb.ExecuteRequest_Dial{Dial: &pb.Dial{Target: target, Port: 80}}}), "GET / HTTP/1.0\r\n"...))
	f.Add(join(&pb.AppRequest{Token: testToken, Verb: &pb.AppRequest_Copy{Copy: &pb.Copy{Target: target, Path: "/etc"}}}))
	stacks, document := stackVerbs(f)
	for _, verb := range stacks {
		f.Add(append(join(&pb.AppRequest{Token: testToken, Verb: &pb.AppRequest_Stacks{Stacks: verb}}), document...))
	}
	for _, verb := range requestVerbs() {
		f.Add(join(&pb.AppRequest{Token: testToken, Verb: &pb.AppRequest_Requests{Requests: verb}}))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		ctx := context.Background()
		for _, serve := range []func(Stream) error{
			func(s Stream) error {
				return ServeExecute(ctx, s, running(ending()), running(ending()), running(ending()), nodeA)
			},
			func(s Stream) error { return ServeApp(ctx, s, testRights, running(ending())) },
		} {
			_ = serve(received(b))
		}
		sess := newRemoteSession(newWire(received(b)), Attach{})
		defer sess.Close()
		var last State
		for {
			u, err := sess.Next()
			if errors.Is(err, io.EOF) && !last.Ended() {
				t.Fatalf("an end was made up after %v", last)
			}
			if err != nil {
				return
			}
			if u.Event != nil {
				last = u.Event.State
			}
		}
	})
}

// Whatever bytes a device answers, those who asked it come to an end.
func FuzzAnswers(f *testing.F) {
	answers := frame(f, encodeAnswer(new(error)))
	for _, last := range []proto.Message{
		&pb.RequestsItem{Item: &pb.RequestsItem_Complete{}},
		&pb.RequestsItem{Item: &pb.RequestsItem_Error{Error: &pb.Error{Code: pb.Code_CODE_OVERLOADED}}},
		&pb.Update{Update: &pb.Update_Complete{}},
	} {
		f.Add(append(append(answers[:len(answers):len(answers)], detailFrames(f)...), frame(f, last)...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		ctx := context.Background()
		c := NewRequestsClient(func(context.Context) (Stream, error) { return received(b), nil })
		_ = c.Stop(ctx, Stop{Request: "r"})
		reach := NewContainersClient(func(context.Context) (Stream, error) { return received(b), nil })
		if conn, err := reach.Dial(ctx, Dial{Target: Target{Request: "r"}, Port: 1, UDP: true}); err == nil {
			_, _ = io.Copy(io.Discard, UnframeDatagrams(conn))
			_ = conn.Close()
		}
		_, _ = c.List(ctx, true, func(RequestInfo) error { return nil })
		_ = c.Watch(ctx, func() {}, func(Event) error { return nil })
		if d, err := c.Inspect(ctx, "r"); err == nil && d.Service.Validate() != nil {
			t.Fatalf("a detail with an invalid service: %+v", d)
		}
		if s, err := c.Attach(ctx, Attach{Request: "r", Since: time.Minute, NoFollow: true}); err == nil {
			_, _ = readAll(s)
			_ = s.Close()
		}
	})
}

// Whatever stands for an ID or a signal, what is taken for one is short and
// harmless in a path, a label or a log.
func FuzzNames(f *testing.F) {
	for _, text := range []string{string(NewRequestID()), string(nodeA), "nightly.1", "TERM", "sigint", "9", "", "../x", "a\nb"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if id, err := ParseRequestID(text); err == nil && (string(id) != text || len(text) > 128 || strings.ContainsAny(text, "/\\\x00\n\x1b ") || text[0] == '.') {
			t.Errorf("request ID %q", text)
		}
		if id, err := ParsePeerID(text); err == nil && (string(id) != text || len(text) > 128 || strings.ContainsAny(text, "/\\\x00\n\x1b ")) {
			t.Errorf("node ID %q", text)
		}
		if name, err := ParseSignal(text); err == nil && checkSignal(name) != nil {
			t.Errorf("signal %q became %q", text, name)
		}
		HashImage(text)
	})
}

// detailFrames is what a device tells of a request.
func detailFrames(t testing.TB) (b []byte) {
	detail := sampleDetail()
	for _, item := range detailToPB(&detail) {
		b = append(b, frame(t, item)...)
	}
	return b
}

// requestVerbs is what can be asked of requests, once each.
func requestVerbs() []*pb.Requests {
	return []*pb.Requests{
		{Verb: &pb.Requests_Attach{Attach: attachToPB(&Attach{Request: "req", NoFollow: true})}},
		{Verb: &pb.Requests_Stop{Stop: stopToPB(&Stop{Request: "req", Grace: time.Second})}},
		{Verb: &pb.Requests_List{List: &pb.List{All: true}}},
		{Verb: &pb.Requests_Inspect{Inspect: &pb.Inspect{Request: "req"}}},
		{Verb: &pb.Requests_Watch{Watch: &pb.Watch{}}},
	}
}

// The frames about requests, as they go over the stream.
func TestGoldenConversations(t *testing.T) {
	var asked []byte
	for _, verb := range requestVerbs() {
		asked = append(asked, frame(t, &pb.ExecuteRequest{Verb: &pb.ExecuteRequest_Requests{Requests: verb}})...)
		asked = append(asked, frame(t, &pb.AppRequest{Token: "t", Verb: &pb.AppRequest_Requests{Requests: verb}})...)
	}
	wantGolden(t, "requests", asked)
	wantGolden(t, "inspect", detailFrames(t))
	var ends []byte
	for _, m := range []proto.Message{
		&pb.RequestsItem{Item: &pb.RequestsItem_Complete{Complete: &pb.Complete{}}},
		&pb.RequestsItem{Item: &pb.RequestsItem_Error{Error: &pb.Error{Code: pb.Code_CODE_OVERLOADED, Message: "too slow"}}},
		&pb.Update{Update: &pb.Update_Complete{Complete: &pb.Complete{}}},
		&pb.Wish{Wish: &pb.Wish_Signal{Signal: &pb.Signal{Name: "INT"}}},
		&pb.Wish{Wish: &pb.Wish_Resize{Resize: sizeToPB(24, 80)}},
	} {
		ends = append(ends, frame(t, m)...)
	}
	wantGolden(t, "ends-and-wishes", ends)
}

// received returns a stream on which b came and nothing else will.
func received(b []byte) Stream {
	a, other := protocoltest.Pipe()
	go func() { // ends when a is read or closed
		_, _ = other.Write(b)
		_ = other.Close()
	}()
	return a
}

func ending() Session {
	s := newScript()
	s.finish(StateSucceeded)
	return s
}
