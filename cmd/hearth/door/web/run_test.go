package web

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/hearth-edge/hearth/cmd/hearth/door"
	"github.com/hearth-edge/hearth/protocol"
)

// echo runs a request that writes back what it reads, and ends with 7.
func echo(s *script) {
	go func() { // ends with the input
		s.event(protocol.Event{State: protocol.StateRunning, NodeName: "attic"})
		data, _ := io.ReadAll(s.input)
		ctx := context.Background()
		_ = s.Output(ctx, protocol.Stdout, data)
		_ = s.Output(ctx, protocol.Stderr, []byte("read it all\n"))
		s.end(protocol.Event{State: protocol.StateFailed, NodeName: "attic", ExitCode: 7, Exited: true})
	}()
}

// TestRun: a container is a function: the body goes in, the answer comes out, the
// trailers tell the end.
func TestRun(t *testing.T) {
	r := start(t)
	r.app.begin = echo
	input := bytes.Repeat([]byte("0123456789"), 20_000)
	resp := r.open("POST", "/v1/run?image=work:1&arg=a&arg=b&env=K=v&memory=64m&cpus=0.5&timeout=90s&name=fn&id=fn-1&constraint=arch=arm64&not_here", bytes.NewReader(input))
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Equal(got, input) {
		t.Fatalf("%d bytes came back of %d, %v", len(got), len(input), err)
	}
	if resp.StatusCode != 200 || resp.Header.Get("Hearth-Request") != "fn-1" || resp.Header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("%d, %v", resp.StatusCode, resp.Header)
	}
	for key, want := range map[string]string{"Hearth-Exit-Code": "7", "Hearth-State": "failed", "Hearth-Node": "attic", "Hearth-Stderr": `"read it all\n"`, "Hearth-Reason": ""} {
		if got := resp.Trailer.Get(key); got != want {
			t.Errorf("trailer %s is %q, want %q", key, got, want)
		}
	}
	s := r.app.requests["fn-1"].info.Service
	if strings.Join(s.Args, " ") != "a b" || s.Env[0] != "K=v" || s.Memory != 64<<20 || s.CPUs != 0.5 || s.Timeout.Seconds() != 90 ||
		s.Tags["name"] != "fn" || s.Constraints.Labels["arch"] != "arm64" || !s.Constraints.NotHere || !s.Stdin {
		t.Errorf("what was asked for: %+v", s)
	}
}

// TestRunWithoutInput: without a body the container's input is empty, and nobody waits
// for it.
func TestRunWithoutInput(t *testing.T) {
	r := start(t)
	r.app.begin = func(s *script) {
		s.event(protocol.Event{State: protocol.StateRunning})
		s.end(protocol.Event{State: protocol.StateSucceeded, Exited: true})
	}
	got := r.ask("POST", "/v1/run?image=work:1", "", func(q *http.Request) { q.Body, q.ContentLength = nil, 0 })
	if got.StatusCode != 200 || got.Trailer.Get("Hearth-Exit-Code") != "0" || got.Trailer.Get("Hearth-State") != "succeeded" {
		t.Errorf("%d, %v: %s", got.StatusCode, got.Trailer, got.body)
	}
}

// TestRunRefused: what never ran is a problem, with each node's reason and the
// request's ID.
func TestRunRefused(t *testing.T) {
	r := start(t)
	r.app.begin = func(s *script) {
		s.Decision(protocol.Decision{Candidates: []protocol.Candidate{{Node: "12D3KooWb", Name: "barn", Code: protocol.CodePolicy, Excluded: "its owner says no"}}})
		s.end(protocol.Event{State: protocol.StateRefused, Code: protocol.CodeNoNode, Reason: "no node can run it"})
	}
	got := r.ask("POST", "/v1/run?image=work:1&id=r1", "")
	var p door.Problem
	got.into(t, 422, &p)
	if p.Code != "no_node" || p.Request != "r1" || len(p.Reasons) != 1 || p.Reasons[0].Reason != "its owner says no" || got.Header.Get("Hearth-Request") != "r1" {
		t.Errorf("told %+v, %v", p, got.Header)
	}
	r.app.begin = func(s *script) {
		s.end(protocol.Event{State: protocol.StateFailed, Code: protocol.CodeImageNotFound, Reason: "no such image"})
	}
	r.ask("POST", "/v1/run?image=nosuch:1", "").wants(t, "no image", 422, "image_not_found")
	r.app.begin = func(s *script) {
		s.event(protocol.Event{State: protocol.StateRunning})
		s.end(protocol.Event{State: protocol.StateLost, Code: protocol.CodeNodeLost, Reason: "barn went away"})
	}
	lost := r.ask("POST", "/v1/run?image=work:1", "")
	if lost.StatusCode != 200 || lost.Trailer.Get("Hearth-State") != "lost" || lost.Trailer.Get("Hearth-Exit-Code") != "" || lost.Trailer.Get("Hearth-Reason") != "barn went away" {
		t.Errorf("lost: %d, %v", lost.StatusCode, lost.Trailer)
	}
}

// TestRunClientGone: a client that goes has its request cancelled; a device that ends
// does not.
func TestRunClientGone(t *testing.T) {
	for _, leaving := range []bool{false, true} {
		r := start(t)
		begun := make(chan *script, 1)
		r.app.begin = func(s *script) {
			s.event(protocol.Event{State: protocol.StateRunning})
			begun <- s
		}
		ctx, cancel := context.WithCancel(t.Context())
		resp := r.open("POST", "/v1/run?image=work:1", nil, func(q *http.Request) { *q = *q.WithContext(ctx) })
		s := <-begun
		if leaving {
			r.end()
			_, _ = io.ReadAll(resp.Body) // until the device cuts it off
			select {
			case <-s.closed:
				t.Error("the device's end cancelled the request")
			default:
			}
			s.end(protocol.Event{State: protocol.StateSucceeded, Exited: true})
		}
		cancel()
		if !leaving {
			<-s.closed
		}
		resp.Body.Close()
	}
}

// TestRunEndsBeforeItsInput: the answer ends with the container, also where the
// client would send more.
func TestRunEndsBeforeItsInput(t *testing.T) {
	r := start(t)
	r.app.begin = func(s *script) {
		s.event(protocol.Event{State: protocol.StateRunning})
		s.end(protocol.Event{State: protocol.StateSucceeded, Exited: true})
	}
	input, more := io.Pipe()
	defer more.Close()
	resp := r.open("POST", "/v1/run?image=head:1", input)
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); err != nil || resp.Trailer.Get("Hearth-Exit-Code") != "0" {
		t.Errorf("%v, %v", err, resp.Trailer)
	}
}

// TestRunSlowReader: who does not read slows the container down, and costs no memory.
func TestRunSlowReader(t *testing.T) {
	r := start(t)
	const pieces, size = 400, 64 << 10
	wrote := make(chan int, pieces)
	r.app.begin = func(s *script) {
		go func() { // ends with the output
			s.event(protocol.Event{State: protocol.StateRunning})
			for i := range pieces {
				_ = s.Output(context.Background(), protocol.Stdout, make([]byte, size))
				wrote <- i
			}
			s.end(protocol.Event{State: protocol.StateSucceeded, Exited: true})
		}()
	}
	resp := r.open("POST", "/v1/run?image=work:1", nil)
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err != nil || n != pieces*size || resp.Trailer.Get("Hearth-Exit-Code") != "0" {
		t.Errorf("%d bytes of %d, %v, %v", n, pieces*size, err, resp.Trailer)
	}
}

// TestHeaderText: whatever a container wrote, a header can carry it, and it can be
// read back.
func TestHeaderText(t *testing.T) {
	for _, text := range []string{"", "plain text", "line\nline", "quote\"", `back\slash`, "café", "\x1b[31mred", "😀", " spaces ", "\x00\x7f", "a\r\nSet-Cookie: x"} {
		got := headerText(text)
		for _, c := range []byte(got) {
			if c < ' ' || c > '~' {
				t.Errorf("%q becomes %q", text, got)
				break
			}
		}
		back := got
		if strings.HasPrefix(got, `"`) {
			if err := json.Unmarshal([]byte(got), &back); err != nil {
				t.Errorf("%q becomes %q: %v", text, got, err)
			}
		}
		if back != text {
			t.Errorf("%q becomes %q, which is %q", text, got, back)
		}
	}
}

// FuzzHeaderText: no text becomes more than one header.
func FuzzHeaderText(f *testing.F) {
	f.Add("a\r\nb: c")
	f.Fuzz(func(t *testing.T, text string) {
		if got := headerText(text); strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%q becomes %q", text, got)
		}
	})
}

// FuzzQuery: whatever a query says, it is refused or a valid service.
func FuzzQuery(f *testing.F) {
	f.Add("image=work:1&arg=a&env=K=v&memory=64m&cpus=0.5&timeout=90s&tag=a=b")
	f.Add("image=x&cpus=NaN&memory=-1")
	f.Fuzz(func(t *testing.T, query string) {
		r, err := http.NewRequest(http.MethodPost, "http://localhost/v1/run", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.URL.RawQuery = query
		run, err := runOf(r)
		if err != nil {
			if protocol.CodeOf(err) != protocol.CodeInvalid {
				t.Errorf("%q: %v", query, err)
			}
			return
		}
		if err := run.Service.Validate(); err != nil {
			t.Errorf("%q: %v", query, err)
		}
	})
}
