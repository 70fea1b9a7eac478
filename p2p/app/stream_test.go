package app

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/protocol/protocoltest"
)

// What an app says first goes out in one piece with the names, and the other end
// may repeat them in pieces of any size.
func TestGreeting(t *testing.T) {
	for size := 1; size <= len(greeting); size += 7 {
		here, there := protocoltest.Pipe()
		s := newAppStream(muxed{here})
		if n, err := s.Write([]byte("first")); n != 5 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		got := make([]byte, 2*len(greeting))
		n, err := there.Read(got)
		if want := string(greeting) + "first"; err != nil || string(got[:n]) != want {
			t.Fatalf("%q, %v; want %q", got[:n], err, want)
		}
		go func() {
			for piece := range slices.Chunk(append(bytes.Clone(greeting), "answer"...), size) {
				_, _ = there.Write(piece)
			}
			_ = there.Close()
		}()
		if all, err := io.ReadAll(s); err != nil || string(all) != "answer" {
			t.Fatalf("%q, %v", all, err)
		}
	}
}

func TestOtherGreeting(t *testing.T) {
	for _, answer := range []string{token("/multistream/1.0.0") + token("na"), "HTTP/1.1 400 Bad Request\r\n"} {
		here, there := protocoltest.Pipe()
		s := newAppStream(muxed{here})
		go func() { _, _ = io.WriteString(there, answer) }()
		if _, err := s.Read(make([]byte, 1)); !errors.Is(err, errGreeting) {
			t.Errorf("%q: %v", answer, err)
		}
		if _, err := s.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("after %q the stream goes on: %v", answer, err)
		}
	}
}

// An app that waits for each word hears it at once; one that does not hears all in
// one piece.
func TestNamesAreRepeated(t *testing.T) {
	e := &Endpoint{known: protocols(), cfg: Config{Handle: echo}}
	serve := func() protocol.Stream {
		here, there := protocoltest.Pipe()
		go e.serveStream(context.Background(), saidConn{}, muxed{here}, func() {})
		return there
	}
	hears := func(s protocol.Stream, want string) {
		t.Helper()
		got := make([]byte, len(want)+1)
		if n, err := s.Read(got); err != nil || string(got[:n]) != want {
			t.Errorf("%q, %v; want %q", got[:n], err, want)
		}
	}
	says := func(s protocol.Stream, text string) {
		t.Helper()
		if _, err := io.WriteString(s, text); err != nil {
			t.Error(err)
		}
	}
	patient := serve()
	for _, word := range []string{token("/multistream/1.0.0"), token("/other/1"), token(protocol.AppProtocol), "hello"} {
		says(patient, word)
		if word == token("/other/1") {
			word = token("na")
		}
		hears(patient, word)
	}
	_ = patient.Close()
	quick := serve()
	says(quick, string(greeting)+"hello")
	hears(quick, string(greeting)+"hello")
	_ = quick.Close()
}
