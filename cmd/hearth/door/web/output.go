package web

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hearth-edge/hearth/cmd/hearth/door"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/protocol/api"
)

// outputLine is a piece of output.
type outputLine struct {
	api.Output
	// Next is the position to ask from for what follows it.
	Next uint64     `json:"next"`
	At   *time.Time `json:"at,omitempty"`
}

// rawType is what an answer of bytes is called.
const rawType = "application/octet-stream"

// output answers with what a request wrote: as lines of JSON, of which the last is
// the event that ended it, or as bytes.
func (a *handler) output(w http.ResponseWriter, r *http.Request) error {
	id, err := requestOf(r)
	if err != nil {
		return err
	}
	want, channels, err := attachOf(id, r.URL.Query())
	if err != nil {
		return err
	}
	// A slow reader slows the container, as on a terminal; not if it may only look.
	var timeout time.Duration
	if door.RightOf(r.Context()) < protocol.RightRun {
		timeout = streamTimeout
	}
	s, free, err := a.lines(w, timeout)
	if err != nil {
		return err
	}
	defer free()
	session, err := a.app.Attach(r.Context(), want)
	if err != nil {
		return err
	}
	defer session.Close()
	defer context.AfterFunc(r.Context(), func() { _ = session.Close() })()
	raw := strings.Contains(r.Header.Get("Accept"), rawType)
	if raw {
		s.kind = rawType
	}
	s.begin()
	show := (&outputLines{send: s.send, channels: channels}).update
	if raw {
		show = (&outputBytes{stream: s, channels: channels}).update
	}
	return s.end(bare(r.Context(), each(session, show)))
}

// attachOf reads from where, and of which streams, output is wanted.
func attachOf(id protocol.RequestID, q url.Values) (protocol.Attach, [protocol.Stderr + 1]bool, error) {
	want := protocol.Attach{Request: id, NoFollow: !q.Has("follow")}
	channels := [protocol.Stderr + 1]bool{protocol.Stdout: true, protocol.Stderr: true}
	switch stream := q.Get("stream"); stream {
	case "":
	case "stdout":
		channels[protocol.Stderr] = false
	case "stderr":
		channels[protocol.Stdout] = false
	default:
		return want, channels, protocol.Errorf(protocol.CodeInvalid, "stream: %q is neither stdout nor stderr", stream)
	}
	for key, at := range map[string]*uint64{"stdout": &want.Stdout, "stderr": &want.Stderr} {
		text := q.Get(key)
		if text == "" {
			continue
		}
		n, err := strconv.ParseUint(text, 10, 63)
		if err != nil {
			return want, channels, protocol.Errorf(protocol.CodeInvalid, "%s: %q is no position in bytes", key, text)
		}
		*at = n
	}
	if text := q.Get("since"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 {
			return want, channels, protocol.Errorf(protocol.CodeInvalid, "since: %q is no time to look back, such as 90s or 10m", text)
		}
		want.Since = d
	}
	return want, channels, nil
}

// each hands on what a session says until its end.
func each(session protocol.Session, show func(protocol.Update) error) error {
	for {
		u, err := session.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := show(u); err != nil {
			return err
		}
	}
}

// outputLines shows output as lines of JSON.
type outputLines struct {
	send     func(any) error
	channels [protocol.Stderr + 1]bool
	// begun holds, of each channel, the bytes of a character that is not whole yet.
	begun [protocol.Stderr + 1][]byte
	next  [protocol.Stderr + 1]uint64
}

func (l *outputLines) update(u protocol.Update) error {
	switch {
	case u.Output != nil && l.channels[u.Output.Channel]:
		return l.output(u.Output)
	case u.Event != nil && u.Event.State.Ended():
		for c, rest := range l.begun {
			if len(rest) > 0 {
				if err := l.piece(protocol.Channel(c), rest, 0, time.Time{}); err != nil {
					return err
				}
			}
		}
		return l.send(api.NewEvent(u.Event))
	}
	return nil
}

// output sends what the container wrote. A character that was cut in two by where a
// piece ends comes with the next one.
func (l *outputLines) output(o *protocol.Output) error {
	data := o.Data
	if rest := l.begun[o.Channel]; o.Cut > 0 && len(rest) > 0 {
		if err := l.piece(o.Channel, rest, 0, o.At); err != nil {
			return err
		}
	} else {
		data = append(rest, data...)
	}
	whole := len(data) - unfinished(data)
	l.begun[o.Channel] = append([]byte(nil), data[whole:]...)
	l.next[o.Channel] = o.Offset + uint64(len(o.Data)) - uint64(len(data)-whole)
	if whole == 0 && o.Cut == 0 {
		return nil
	}
	return l.piece(o.Channel, data[:whole], o.Cut, o.At)
}

func (l *outputLines) piece(c protocol.Channel, data []byte, cut uint64, at time.Time) error {
	line := outputLine{Output: api.NewOutput(c, data, cut), Next: l.next[c]}
	if !at.IsZero() {
		line.At = &at
	}
	return l.send(line)
}

// unfinished returns how many bytes at the end are the beginning of a character.
func unfinished(data []byte) int {
	for n := 1; n <= min(len(data), utf8.UTFMax-1); n++ {
		if tail := data[len(data)-n:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}

// outputBytes shows output as it was written.
type outputBytes struct {
	stream   *stream
	channels [protocol.Stderr + 1]bool
}

func (b *outputBytes) update(u protocol.Update) error {
	if u.Output == nil || !b.channels[u.Output.Channel] || len(u.Output.Data) == 0 {
		return nil
	}
	if _, err := b.stream.w.Write(u.Output.Data); err != nil {
		return err
	}
	return b.stream.control.Flush()
}
