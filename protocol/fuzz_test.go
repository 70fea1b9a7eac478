package protocol

import (
	"context"
	"errors"
	"io"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/hearth-edge/hearth/protocol/pb"
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
	f.Add(join(&pb.AppRequest{Token: testToken, Verb: &pb.AppRequest_Devices{Devices: &pb.Devices{Watch: true}}}))
	f.Add(join(&pb.Update{Update: &pb.Update_Event{Event: &pb.Event{State: 6}}}, outputToPB(Stdout, 3, 3, 0)))
	f.Fuzz(func(t *testing.T, b []byte) {
		ctx := context.Background()
		for _, serve := range []func(Stream) error{
			func(s Stream) error { return ServeExecute(ctx, s, running(ending()), running(ending()), nodeA) },
			func(s Stream) error { return ServeApp(ctx, s, testToken, running(ending())) },
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

// received returns a stream on which b came and nothing else will.
func received(b []byte) Stream {
	a, other := Pipe()
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
