package web

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/hearth-edge/hearth/cmd/hearth/door"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/protocol/api"
)

// The header that names a request from its start, and the trailers that tell its end.
const (
	requestHeader = "Hearth-Request"
	exitTrailer   = "Hearth-Exit-Code"
	stateTrailer  = "Hearth-State"
	nodeTrailer   = "Hearth-Node"
	reasonTrailer = "Hearth-Reason"
	stderrTrailer = "Hearth-Stderr"
)

// run is a container as a function: the body is its input, the answer its output, and
// the trailers tell its end. Nothing is answered before it runs or wrote something, so
// that one that cannot run is a problem. A client that goes cancels it.
func (a *handler) run(w http.ResponseWriter, r *http.Request) error {
	asked, err := runOf(r)
	if err != nil {
		return err
	}
	free, err := a.place()
	if err != nil {
		return err
	}
	defer free()
	control := http.NewResponseController(w)
	if err := control.EnableFullDuplex(); err != nil {
		return err // the server of package door can
	}
	session, err := a.app.Run(r.Context(), asked)
	if err != nil {
		return err
	}
	v := &runView{w: w, control: control, id: asked.ID}
	closing := sync.OnceFunc(func() {
		if !door.Leaving(r.Context()) { // else the device ends it, and it is not cancelled
			_ = session.Close()
		}
	})
	defer closing()
	defer context.AfterFunc(r.Context(), closing)()
	var input sync.WaitGroup
	defer input.Wait()
	if asked.Service.Stdin {
		input.Go(func() { feed(session, r.Body) })
		// Ends the feeding. Closing the body would wait for it.
		defer func() { _ = control.SetReadDeadline(time.Unix(1, 0)) }()
	}
	if err := bare(r.Context(), each(session, v.update)); err != nil {
		if !v.begun {
			return err
		}
		w.Header().Set(stateTrailer, protocol.StateUnknown.String())
		w.Header().Set(reasonTrailer, headerText(err.Error()))
	}
	return nil
}

func runOf(r *http.Request) (protocol.Run, error) {
	query := r.URL.Query()
	run := protocol.Run{ID: protocol.NewRequestID()}
	if id := query.Get("id"); id != "" {
		var err error
		if run.ID, err = protocol.ParseRequestID(id); err != nil {
			return run, err
		}
	}
	var err error
	if run.Service, err = fromQuery(query); err != nil {
		return run, err
	}
	run.Service.Stdin = r.ContentLength != 0
	return run, nil
}

// feed gives a container its input until either ends.
func feed(session protocol.Session, body io.Reader) {
	_, err := io.Copy(onlyWriter{session}, body)
	if err == nil {
		_ = session.CloseWrite()
	}
	// What broke off tells itself: the client by its going, the container by its end.
}

type onlyWriter struct{ io.Writer }

// runView answers with what a run says.
type runView struct {
	w       http.ResponseWriter
	control *http.ResponseController
	id      protocol.RequestID
	begun   bool
	stderr  []byte // the end of it
	reasons []door.Reason
}

func (v *runView) update(u protocol.Update) error {
	switch {
	case u.Output != nil && u.Output.Channel == protocol.Stderr:
		v.stderr = append(v.stderr, u.Output.Data...)
		v.stderr = v.stderr[max(0, len(v.stderr)-stderrTail):]
		return v.begin()
	case u.Output != nil:
		if err := v.begin(); err != nil {
			return err
		}
		if _, err := v.w.Write(u.Output.Data); err != nil {
			return err
		}
		return v.control.Flush()
	case u.Decision != nil:
		v.reasons = reasonsOf(u.Decision)
	case u.Event != nil && u.Event.State.Ended():
		return v.end(u.Event)
	case u.Event != nil && u.Event.State == protocol.StateRunning:
		return v.begin()
	}
	return nil
}

// begin sends the header.
func (v *runView) begin() error {
	if v.begun {
		return nil
	}
	v.begun = true
	h := v.w.Header()
	h.Set(requestHeader, string(v.id))
	h.Set("Content-Type", rawType)
	h.Set("Trailer", strings.Join([]string{exitTrailer, stateTrailer, nodeTrailer, reasonTrailer, stderrTrailer}, ", "))
	v.w.WriteHeader(http.StatusOK)
	return v.control.Flush()
}

// end tells how it ended: by trailers or, where it never ran, as a problem.
func (v *runView) end(e *protocol.Event) error {
	if !v.begun && !e.HasExitCode() {
		v.begun = true
		v.w.Header().Set(requestHeader, string(v.id))
		code := e.Code
		if code == protocol.CodeNone {
			code = protocol.CodeInternal
		}
		p := door.ProblemOf(protocol.Errorf(code, "%s", e.Reason))
		p.Detail, p.Request = e.Reason, v.id
		if e.State == protocol.StateRefused {
			p.Reasons = v.reasons
		}
		p.Write(v.w)
		return nil
	}
	if err := v.begin(); err != nil {
		return err
	}
	h := v.w.Header()
	if e.HasExitCode() {
		h.Set(exitTrailer, strconv.Itoa(e.ExitCode))
	}
	h.Set(stateTrailer, e.State.String())
	h.Set(nodeTrailer, headerText(e.NodeName))
	h.Set(reasonTrailer, headerText(e.Reason))
	h.Set(stderrTrailer, headerText(string(v.stderr)))
	return nil
}

// headerText is text as a header can carry it: a string of JSON without what is not
// ASCII, and without its quotes where it needs no escapes.
func headerText(s string) string {
	plain := !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > unicode.MaxASCII || r == '"' || r == '\\' || r == 0x7f })
	if plain && strings.TrimSpace(s) == s {
		return s
	}
	raw, err := json.Marshal(s)
	if err != nil {
		return ""
	}
	var out strings.Builder
	for _, r := range string(raw) {
		switch {
		case r < unicode.MaxASCII:
			out.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			writeEscape(&out, 0xd800+r>>10)
			writeEscape(&out, 0xdc00+r&0x3ff)
		default:
			writeEscape(&out, r)
		}
	}
	return out.String()
}

func writeEscape(out *strings.Builder, r rune) {
	const digits = "0123456789abcdef"
	out.WriteString(`\u`)
	for shift := 12; shift >= 0; shift -= 4 {
		out.WriteByte(digits[r>>shift&0xf])
	}
}

// reasonsOf says why devices were left out.
func reasonsOf(d *protocol.Decision) []door.Reason {
	var out []door.Reason
	for _, c := range d.Candidates {
		if c.Code != protocol.CodeNone {
			out = append(out, door.Reason{Node: c.Node, Name: c.Name, Code: c.Code.String(), Reason: c.Excluded})
		}
	}
	return out
}

// events answers with every change of every request from now on.
func (a *handler) events(w http.ResponseWriter, r *http.Request) error {
	s, free, err := a.lines(w, streamTimeout)
	if err != nil {
		return err
	}
	defer free()
	var failed error
	err = a.app.Watch(r.Context(),
		func() { failed = s.send(begunLine{true}) },
		func(e protocol.Event) error { return errors.Join(failed, s.send(api.NewEvent(&e))) })
	return s.end(bare(r.Context(), err))
}
