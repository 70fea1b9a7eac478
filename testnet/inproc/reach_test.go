package inproc_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/cmd/hearth/device"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/testnet/inproc"
)

// serve runs what listens on port 80 on one node, asked for by another.
func serve(t *testing.T, asker, node *inproc.Node) protocol.Target {
	t.Helper()
	s, err := asker.App.Run(t.Context(), protocol.Run{ID: "web", Detach: true, Service: protocol.Service{
		Image: inproc.Image, Args: []string{"serve=80", "sleep=1h"}, Constraints: protocol.Constraints{Node: node.Name},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for {
		u, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		if u.Event != nil && u.Event.State == protocol.StateRunning {
			return protocol.Target{Request: "web"}
		}
	}
}

// A container is reached from every device: from the one that asked for it, from
// its node, and from a third one.
func TestContainersAreReachedFromEveryDevice(t *testing.T) {
	t.Parallel()
	m := inproc.Start(t, 3, inproc.Options{})
	target := serve(t, m.Nodes[0], m.Nodes[1])
	sent := bytes.Repeat([]byte("0123456789abcde\n"), 1<<15)
	for _, n := range m.Nodes {
		s, err := n.App.Exec(t.Context(), protocol.Exec{Target: target, Args: []string{"echo", "exit=3"}, Stdin: true})
		if err != nil {
			t.Fatalf("%s: exec: %v", n.Name, err)
		}
		go func() {
			_, _ = s.Write(sent)
			_ = s.CloseWrite()
		}()
		if out, last := follow(t, s); out != string(sent) || last.ExitCode != 3 || last.Node != m.Nodes[1].ID() {
			t.Errorf("%s: exec: %d of %d bytes, %+v", n.Name, len(out), len(sent), last)
		}
		conn, err := n.App.Dial(t.Context(), protocol.Dial{Target: target, Port: 80})
		if err != nil {
			t.Fatalf("%s: dial: %v", n.Name, err)
		}
		go func() {
			_, _ = conn.Write(sent)
			_ = conn.CloseWrite()
		}()
		if back, err := io.ReadAll(conn); err != nil || !bytes.Equal(back, sent) {
			t.Errorf("%s: dial: %d of %d bytes, %v", n.Name, len(back), len(sent), err)
		}
		_ = conn.Close()
		out, err := n.App.Copy(t.Context(), protocol.Copy{Target: target, Path: "/tmp"})
		if err != nil {
			t.Fatalf("%s: copy: %v", n.Name, err)
		}
		if archive, last := follow(t, out); last.State != protocol.StateSucceeded || !strings.Contains(archive, "tmp/") {
			t.Errorf("%s: copy: %d bytes, %+v", n.Name, len(archive), last)
		}
		if _, err := n.App.Exec(t.Context(), protocol.Exec{Target: protocol.Target{Request: "web", Attempt: 1}, Args: []string{"out=x"}}); protocol.CodeOf(err) != protocol.CodeInvalid {
			t.Errorf("%s: an app names an attempt: %v", n.Name, err)
		}
		if _, err := n.App.Exec(t.Context(), protocol.Exec{Target: protocol.Target{Stack: "no", Service: "such"}, Args: []string{"out=x"}}); protocol.CodeOf(err) != protocol.CodeNotFound {
			t.Errorf("%s: a stack that nobody holds: %v", n.Name, err)
		}
	}
}

// A command and a connection that their node is lost under break, and say so.
func TestContainersAreLostWithTheirNode(t *testing.T) {
	t.Parallel()
	m := inproc.Start(t, 2, inproc.Options{})
	target := serve(t, m.Nodes[0], m.Nodes[1])
	s, err := m.Nodes[0].App.Exec(t.Context(), protocol.Exec{Target: target, Args: []string{"out=up", "sleep=1h"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for u, err := s.Next(); u.Output == nil; u, err = s.Next() {
		if err != nil {
			t.Fatal(err)
		}
	}
	conn, err := m.Nodes[0].App.Dial(t.Context(), protocol.Dial{Target: target, Port: 80})
	if err != nil {
		t.Fatal(err)
	}
	m.Nodes[1].Stop()
	if _, err := s.Next(); protocol.CodeOf(err) != protocol.CodeNodeLost {
		t.Errorf("exec: %v", err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("dial: %v", err)
	}
	// The node's process ended the command: nobody could come back to it.
	ended := make(chan struct{})
	go func() {
		m.Nodes[1].Engine.WaitCommands()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Error("the command goes on without anybody")
	}
}

// An owner keeps others out, whichever way they come.
func TestContainersAreKeptToThoseNamed(t *testing.T) {
	t.Parallel()
	m := inproc.Start(t, 2, inproc.Options{Configure: func(i int, cfg *device.Config) {
		if i == 1 {
			cfg.Policy.Exec, cfg.Policy.Copy = []string{"node3"}, []string{"node1"}
		}
	}})
	target := serve(t, m.Nodes[0], m.Nodes[1])
	for _, n := range m.Nodes {
		_, err := n.App.Exec(t.Context(), protocol.Exec{Target: target, Args: []string{"out=x"}})
		if protocol.CodeOf(err) != protocol.CodePolicy || !strings.Contains(err.Error(), `by adding "node1" to exec`) {
			t.Errorf("%s: exec: %v", n.Name, err)
		}
		out, err := n.App.Copy(t.Context(), protocol.Copy{Target: target, Path: "/tmp"})
		if err != nil { // whoever asks, node1 does for them
			t.Fatalf("%s: copy: %v", n.Name, err)
		}
		follow(t, out)
	}
}
