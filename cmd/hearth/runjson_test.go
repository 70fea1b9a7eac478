package main

import (
	"bytes"
	"encoding/json"
	"testing"

	"pgregory.net/rapid"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/protocol/api"
)

// TestLinesKeepEveryByte: whatever a container writes, in pieces of whatever
// length, comes out of the lines as it was.
func TestLinesKeepEveryByte(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		written := rapid.OneOf(rapid.SliceOf(rapid.Byte()), rapid.Custom(func(t *rapid.T) []byte { return []byte(rapid.String().Draw(t, "text")) })).Draw(t, "written")
		var out bytes.Buffer
		lines := runLines{out: json.NewEncoder(&out), end: func(*protocol.Event) error { return nil }}
		for rest := written; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "piece")
			if err := lines.output(&protocol.Output{Channel: protocol.Stderr, Data: rest[:n]}); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := lines.event(&protocol.Event{Request: "r", State: protocol.StateSucceeded}); err != nil {
			t.Fatal(err)
		}
		var read []byte
		for d := json.NewDecoder(&out); d.More(); {
			var line struct {
				api.Output
				Request string
			}
			if err := d.Decode(&line); err != nil {
				t.Fatal(err)
			}
			if line.Request == "" && line.Stream != "stderr" {
				t.Fatalf("output of %q", line.Stream)
			}
			read = append(append(read, line.Text...), line.Base64...)
		}
		if !bytes.Equal(read, written) {
			t.Fatalf("%q came out as %q", written, read)
		}
	})
}

// TestLinesCutNoCharacter: text stays text, though a piece ends within one.
func TestLinesCutNoCharacter(t *testing.T) {
	var out bytes.Buffer
	lines := runLines{out: json.NewEncoder(&out)}
	for _, piece := range []string{"h\xc3", "\xa4l", "lo"} {
		if err := lines.output(&protocol.Output{Channel: protocol.Stdout, Data: []byte(piece)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := lines.output(&protocol.Output{Channel: protocol.Stdout, Cut: 9, Data: []byte("\xff")}); err != nil {
		t.Fatal(err)
	}
	const want = `{"stream":"stdout","text":"h"}
{"stream":"stdout","text":"äl"}
{"stream":"stdout","text":"lo"}
{"stream":"stdout","base64":"/w==","cut":9}
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}
