package api

import (
	"unicode/utf8"

	"github.com/hearth-edge/hearth/protocol"
)

// Output is a piece of output in `hearth run --json`. Text holds it where it is
// UTF-8, else Base64. Cut is how many bytes before it were dropped.
type Output struct {
	Stream string `json:"stream"`
	Text   string `json:"text,omitempty"`
	Base64 []byte `json:"base64,omitempty"`
	Cut    uint64 `json:"cut,omitempty"`
}

// NewOutput returns the object of a piece of stdout or stderr.
func NewOutput(channel protocol.Channel, data []byte, cut uint64) Output {
	out := Output{Stream: "stdout", Cut: cut}
	if channel == protocol.Stderr {
		out.Stream = "stderr"
	}
	if utf8.Valid(data) {
		out.Text = string(data)
	} else {
		out.Base64 = data
	}
	return out
}
