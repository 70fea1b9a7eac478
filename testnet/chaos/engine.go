package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/testnet"
	"github.com/hearth-edge/hearth/testnet/history"
)

// labelAttempt is the one of hearth's that package testnet does not name.
const labelAttempt = "dev.hearth.attempt"

// An engine is one that is listened to: over its restarts, when what it did not
// tell is asked.
type engine struct {
	arguments []string // of docker, to name it
	mesh      string
	record    *history.Recorder
	running   *running
	ended     chan struct{}
}

// watch listens to the engine at a socket, the machine's where there is none,
// until the end of the test.
func (m *Mesh) watch(socket string) *engine {
	m.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	e := &engine{
		mesh: m.mesh, record: m.Record, running: m.running, ended: make(chan struct{}),
	}
	if socket != "" {
		e.arguments = []string{"-H", "unix://" + socket}
	}
	go e.listen(ctx, time.Now()) // ends with ctx
	m.t.Cleanup(func() {
		cancel()
		<-e.ended
	})
	return e
}

func (e *engine) docker(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "docker", append(append([]string{}, e.arguments...), args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// listen hears the engine's events; each time it is back it asks for what there
// is, too, since an engine forgets its events when it ends.
func (e *engine) listen(ctx context.Context, since time.Time) {
	defer close(e.ended)
	for ctx.Err() == nil {
		cmd := e.docker(ctx, "events", "--since", strconv.FormatInt(since.Unix()-1, 10), "--filter", "type=container",
			"--filter", "label="+testnet.LabelMesh+"="+e.mesh, "--format", "{{json .}}")
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err == nil {
			if left, err := e.look(ctx); err == nil {
				e.gone(e.running.without(e, left))
			}
			for lines := bufio.NewScanner(out); lines.Scan(); {
				e.hear(lines.Bytes())
			}
			_ = cmd.Wait()
		}
		select { // it is down
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func (e *engine) hear(line []byte) {
	var event struct {
		Action   string
		TimeNano int64 `json:"timeNano"`
		Actor    struct {
			ID         string
			Attributes map[string]string
		}
	}
	if err := json.Unmarshal(line, &event); err != nil {
		return
	}
	id, when := event.Actor.ID, time.Unix(0, event.TimeNano)
	e.record.Engine(id, func(k *history.Container, at func(time.Time) time.Duration) {
		describe(k, event.Actor.Attributes)
		switch event.Action {
		case "start":
			if k.Starts == 0 || k.Ended > 0 && at(when) > k.Ended { // an event may be heard twice
				k.Starts++
				k.Started, k.Ended = at(when), 0
			}
		case "die":
			code, err := strconv.Atoi(event.Actor.Attributes["exitCode"])
			k.Ended, k.ExitCode, k.Exited = at(when), code, err == nil
		case "destroy":
			if k.Starts > 0 && k.Ended == 0 {
				k.Ended = at(when) // it ended when nobody listened
			}
		}
		e.running.note(k.ID, e, k.Starts > 0 && k.Ended == 0)
	})
}

// gone takes down that containers have ended at some time, which nobody heard of.
func (e *engine) gone(ids []string) {
	for _, id := range ids {
		e.record.Engine(id, func(k *history.Container, at func(time.Time) time.Duration) {
			if k.Ended == 0 {
				k.Ended = at(time.Now())
			}
			e.running.note(k.ID, e, k.Starts > 0 && k.Ended == 0)
		})
	}
}

func describe(k *history.Container, labels map[string]string) {
	k.Node, k.Request = labels[testnet.LabelNode], labels[testnet.LabelRequest]
	k.Attempt, _ = strconv.Atoi(labels[labelAttempt])
}

// look asks the engine for all containers of the mesh, and returns the state of
// each.
func (e *engine) look(ctx context.Context) (map[string]string, error) {
	out, err := e.docker(ctx, "ps", "-aq", "--no-trunc", "--filter", "label="+testnet.LabelMesh+"="+e.mesh).Output()
	if err != nil {
		return nil, err
	}
	left := map[string]string{}
	for _, id := range strings.Fields(string(out)) {
		out, err := e.docker(ctx, "inspect", "--type", "container", id).Output()
		if err != nil {
			continue // removed since
		}
		var list []struct {
			State struct {
				Status                string
				ExitCode              int
				StartedAt, FinishedAt time.Time
			}
			Config struct{ Labels map[string]string }
		}
		if err := json.Unmarshal(out, &list); err != nil || len(list) != 1 {
			return nil, err
		}
		s := list[0].State
		left[id] = s.Status
		e.record.Engine(id, func(k *history.Container, at func(time.Time) time.Duration) {
			describe(k, list[0].Config.Labels)
			if k.Starts == 0 && !s.StartedAt.IsZero() {
				k.Starts, k.Started = 1, at(s.StartedAt)
			}
			if k.Starts > 0 && k.Ended == 0 && s.Status == "exited" {
				k.Ended, k.ExitCode, k.Exited = at(s.FinishedAt), s.ExitCode, true
			}
			e.running.note(k.ID, e, k.Starts > 0 && k.Ended == 0)
		})
	}
	return left, nil
}

// settle waits until nothing runs any more, or will, and takes down what is left.
func (e *engine) settle(t testing.TB) {
	t.Helper()
	deadline := time.After(waitTimeout)
	for {
		_, _, changed := e.running.count(nil)
		left, err := e.look(context.Background())
		missing := e.running.without(e, left)
		busy := err != nil || len(missing) > 0 // whose ends are still to be heard
		for _, state := range left {
			busy = busy || state != "exited"
		}
		if !busy {
			e.note(left)
			return
		}
		select {
		case <-changed:
		case <-time.After(time.Second): // the engine may be coming back
		case <-deadline:
			if err != nil {
				t.Fatalf("the engine does not tell what is left: %v", err)
			}
			e.gone(missing)
			e.note(left)
			return
		}
	}
}

func (e *engine) note(left map[string]string) {
	for id, state := range left {
		e.record.Engine(id, func(k *history.Container, _ func(time.Time) time.Duration) { k.Left = state })
	}
}
