package protocol

import (
	"context"
	"testing"
	"time"
)

// TestRights: each verb of an app needs the right that the design names, and says
// which one is missing.
func TestRights(t *testing.T) {
	ctx := t.Context()
	verbs := map[string]struct {
		need Right
		call func(*AppClient) error
	}{
		"devices": {RightRead, func(c *AppClient) error {
			return c.Devices(ctx, false, func([]Device) error { return nil })
		}},
		"diagnose": {RightRead, func(c *AppClient) error { _, err := c.Diagnose(ctx); return err }},
		"plan":     {RightRead, func(c *AppClient) error { _, err := c.Plan(ctx, Service{Image: "i"}); return err }},
		"list": {RightRead, func(c *AppClient) error {
			_, err := c.List(ctx, true, func(RequestInfo) error { return nil })
			return err
		}},
		"inspect": {RightRead, func(c *AppClient) error { _, err := c.Inspect(ctx, "r"); return err }},
		"attach":  {RightRead, func(c *AppClient) error { return closing(c.Attach(ctx, Attach{Request: "r"})) }},
		"status": {RightRead, func(c *AppClient) error {
			return c.Status(ctx, false, func(DeviceInfo) error { return nil })
		}},
		"exec": {RightRun, func(c *AppClient) error {
			return closing(c.Exec(ctx, Exec{Target: Target{Request: "r"}, Args: []string{"sh"}}))
		}},
		"run":    {RightRun, func(c *AppClient) error { return closing(c.Run(ctx, Run{Service: Service{Image: "i"}})) }},
		"stop":   {RightRun, func(c *AppClient) error { return c.Stop(ctx, Stop{Request: "r"}) }},
		"remove": {RightRun, func(c *AppClient) error { return c.Remove(ctx, Remove{Request: "r"}) }},
		"list stacks": {RightRead, func(c *AppClient) error {
			return c.ListStacks(ctx, ListStacks{}, func([]StackStatus) error { return nil })
		}},
		"stack logs": {RightRead, func(c *AppClient) error {
			return c.StackLogs(ctx, StackLogs{Name: "a"}, func(LogLine) error { return nil })
		}},
		"stack history": {RightRead, func(c *AppClient) error {
			return c.StackHistory(ctx, "a", func(StackRecord) error { return nil })
		}},
		"plan stack": {RightRead, func(c *AppClient) error {
			_, err := c.PlanStack(ctx, UpStack{Record: StackRecord{Stack: sampleStack()}})
			return err
		}},
		"up stack": {RightRun, func(c *AppClient) error {
			return c.UpStack(ctx, UpStack{Record: StackRecord{Stack: sampleStack()}}, func(StackUpdate) error { return nil })
		}},
		"roll back stack": {RightRun, func(c *AppClient) error {
			return c.RollbackStack(ctx, RollbackStack{Name: "a"}, func(StackUpdate) error { return nil })
		}},
		"stop stack": {RightRun, func(c *AppClient) error { return c.ControlStack(ctx, ControlStack{Name: "a", Action: StackStop}) }},
		"drain":      {RightAll, func(c *AppClient) error { return c.Drain(ctx, false) }},
		"down":       {RightAll, func(c *AppClient) error { return c.Down(ctx) }},
		"forget":     {RightAll, func(c *AppClient) error { return c.Forget(ctx, "n") }},
	}
	tokens := map[Right]string{RightRead: readToken, RightRun: runToken, RightAll: testToken}
	for name, verb := range verbs {
		for right, token := range tokens {
			d := running(ending())
			d.drain = func(context.Context, bool) error { return nil }
			d.down = func(context.Context) error { return nil }
			d.forget = func(context.Context, string) error { return nil }
			d.status = func(_ context.Context, _ bool, yield func(DeviceInfo) error) error {
				return yield(DeviceInfo{ID: nodeA})
			}
			_, l := appLink(t, d)
			err := verb.call(NewAppClient(l.open, token))
			if refused := CodeOf(err) == CodeUnauthorized; refused != (right < verb.need) {
				t.Errorf("%s with the right %s: %v", name, right, err)
			}
		}
	}
}

func closing(s Session, err error) error {
	if err != nil {
		return err
	}
	return s.Close()
}

// TestReadOnlySession: who may only look does not stop what it is attached to.
func TestReadOnlySession(t *testing.T) {
	s := newScript()
	_, l := appLink(t, running(s))
	sess, err := NewAppClient(l.open, readToken).Attach(t.Context(), Attach{Request: "r"})
	if err != nil {
		t.Fatal(err)
	}
	defer sess.Close()
	if err := sess.Stop(time.Second); err != nil {
		t.Fatal(err)
	}
	if err := <-l.served; CodeOf(err) != CodeUnauthorized && err == nil {
		t.Errorf("the conversation ended with %v", err)
	}
	select {
	case <-s.stopped:
		t.Error("it was stopped")
	default:
	}
}

// TestParseRight: names are read back as they are written.
func TestParseRight(t *testing.T) {
	for _, r := range []Right{RightRead, RightRun, RightAll} {
		if got, err := ParseRight(r.String()); got != r || err != nil {
			t.Errorf("%s is read as %s, %v", r, got, err)
		}
	}
	for _, name := range []string{"", "none", "write", "READ"} {
		if _, err := ParseRight(name); CodeOf(err) != CodeInvalid {
			t.Errorf("%q: %v", name, err)
		}
	}
}
