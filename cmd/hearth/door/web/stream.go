package web

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/hearth-edge/hearth/cmd/hearth/door"
	"github.com/hearth-edge/hearth/protocol"
)

// A stream is an answer that goes on: lines of JSON, each sent at once.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	encoder *json.Encoder
	// timeout bounds how long a line may wait for its reader; 0 is for ever.
	timeout time.Duration
	kind    string // its content type
	begun   bool
}

// lines takes one of the places for answers that go on; free gives it back. The
// error says that there is none.
func (a *handler) lines(w http.ResponseWriter, timeout time.Duration) (s *stream, free func(), err error) {
	free, err = a.place()
	if err != nil {
		return nil, nil, err
	}
	return &stream{w: w, control: http.NewResponseController(w), encoder: json.NewEncoder(w), timeout: timeout, kind: "application/x-ndjson"}, free, nil
}

func (a *handler) place() (free func(), err error) {
	select {
	case a.streams <- struct{}{}:
		return func() { <-a.streams }, nil
	default:
		return nil, protocol.Errorf(protocol.CodeOverloaded, "%d answers go on already, which is the most: end one", maxStreams)
	}
}

// begin sends the header, which tells the client that its question was good.
func (s *stream) begin() {
	if s.begun {
		return
	}
	s.begun = true
	s.w.Header().Set("Content-Type", s.kind)
	s.w.Header().Set("X-Accel-Buffering", "no") // for proxies that would wait for more
	s.w.WriteHeader(http.StatusOK)
	_ = s.control.Flush()
}

// send writes a line and sees to it that it is on its way.
func (s *stream) send(v any) error {
	s.begin()
	if s.timeout > 0 {
		_ = s.control.SetWriteDeadline(time.Now().Add(s.timeout))
	}
	if err := s.encoder.Encode(v); err != nil {
		return err
	}
	return s.control.Flush()
}

// end tells what ended the stream, where that is an error: as a problem where
// nothing was sent yet, else as a last line.
func (s *stream) end(err error) error {
	if err == nil || !s.begun || s.kind == rawType {
		if s.begun && err != nil {
			panic(http.ErrAbortHandler) // bytes have no other way to say that they are not all
		}
		return err
	}
	_ = s.send(problemLine{door.ProblemOf(err)})
	return nil
}

// problemLine is the last line of a stream that broke off.
type problemLine struct {
	Problem door.Problem `json:"problem"`
}

// begunLine says that what is there was told, and that what follows is news.
type begunLine struct {
	Begun bool `json:"begun"`
}
