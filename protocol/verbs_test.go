package protocol

import (
	"bytes"
	"context"
	"io"
	"testing"
	"time"
)

// unanswered is a stream that takes all that is written and has nothing to read.
type unanswered struct{ bytes.Buffer }

func (*unanswered) Read([]byte) (int, error)         { return 0, io.EOF }
func (*unanswered) CloseWrite() error                { return nil }
func (*unanswered) Close() error                     { return nil }
func (*unanswered) Reset() error                     { return nil }
func (*unanswered) SetDeadline(time.Time) error      { return nil }
func (*unanswered) SetReadDeadline(time.Time) error  { return nil }
func (*unanswered) SetWriteDeadline(time.Time) error { return nil }

// The first frames of every verb, as they go over the stream.
func TestGoldenVerbs(t *testing.T) {
	ctx, stream := t.Context(), &unanswered{}
	open := func(context.Context) (Stream, error) { return stream, nil }
	app, node := NewAppClient(open, "token"), NewExecuteClient(open)
	service := Service{Image: "busybox", Args: []string{"true"}}
	for name, ask := range map[string]func() error{
		"run":      func() error { _, err := app.Run(ctx, Run{ID: "req", Service: service}); return err },
		"plan":     func() error { _, err := app.Plan(ctx, service); return err },
		"devices":  func() error { return app.Devices(ctx, true, nil) },
		"diagnose": func() error { _, err := app.Diagnose(ctx); return err },
		"drain":    func() error { return app.Drain(ctx, true) },
		"down":     func() error { return app.Down(ctx) },
		"forget":   func() error { return app.Forget(ctx, "tv") },
		"status":   func() error { return app.Status(ctx, true, nil) },
		"attach":   func() error { _, err := app.Attach(ctx, Attach{Request: "req"}); return err },
		"stop":     func() error { return app.Stop(ctx, Stop{Request: "req", Grace: time.Second}) },
		"remove":   func() error { return app.Remove(ctx, Remove{Request: "req", Force: true}) },
		"list":     func() error { _, err := app.List(ctx, true, nil); return err },
		"inspect":  func() error { _, err := app.Inspect(ctx, "req"); return err },
		"watch":    func() error { return app.Watch(ctx, func() {}, nil) },
		"offer": func() error {
			_, err := node.Offer(ctx, Offer{Request: "req", Attempt: 1, Service: service, Lease: time.Second})
			return err
		},
		"take-up": func() error { _, err := node.Attach(ctx, Attach{Request: "req", Attempt: 1}); return err },
		"renew":   func() error { return Renew(ctx, open, Renewal{Request: "req", Attempt: 1}) },
	} {
		t.Run(name, func(t *testing.T) {
			stream.Buffer.Reset()
			if err := ask(); err == nil {
				t.Error("there is an answer")
			}
			wantGolden(t, "verb-"+name, stream.Bytes())
		})
	}
}
