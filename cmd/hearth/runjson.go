package main

import (
	"context"
	"encoding/json"
	"unicode/utf8"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/protocol/api"
)

// runLines shows a request as lines of JSON.
type runLines struct {
	out *json.Encoder
	// end prints the last line.
	end func(last *protocol.Event) error
	// begun holds, of each stream, the bytes of a character that is not whole yet.
	begun [protocol.Stderr + 1][]byte
	// told is the event of the last line that was one.
	told protocol.Event
}

// event prints an event, but for each of many that only tell how far a pull is,
// and with the last one the end.
func (l *runLines) event(e *protocol.Event) error {
	if e.State.Ended() {
		for stream, rest := range l.begun {
			if err := l.print(protocol.Channel(stream), rest, 0); err != nil {
				return err
			}
		}
	}
	same := l.told.State == e.State && l.told.Attempt == e.Attempt && l.told.Reason == e.Reason && l.told.QueuePlace == e.QueuePlace
	if e.Progress == nil || !same {
		l.told = *e
		if err := l.out.Encode(api.NewEvent(e)); err != nil {
			return err
		}
	}
	if e.State.Ended() {
		return l.end(e)
	}
	return nil
}

// output prints what the container wrote. A character that was cut in two by
// where a piece ends is printed with the next one.
func (l *runLines) output(o *protocol.Output) error {
	data := append(l.begun[o.Channel], o.Data...)
	if o.Cut > 0 {
		if err := l.print(o.Channel, l.begun[o.Channel], 0); err != nil {
			return err
		}
		data = o.Data
	}
	whole := len(data) - unfinished(data)
	l.begun[o.Channel] = append([]byte(nil), data[whole:]...)
	return l.print(o.Channel, data[:whole], o.Cut)
}

func (l *runLines) print(stream protocol.Channel, data []byte, cut uint64) error {
	if len(data) == 0 && cut == 0 {
		return nil
	}
	return l.out.Encode(api.NewOutput(stream, data, cut))
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

// printRequest prints a line of JSON about a request: as the device knows it, and
// ended as last says, where there is one.
func (c *cli) printRequest(ctx context.Context, device *protocol.AppClient, run *protocol.Run, last *protocol.Event) error {
	d, err := device.Inspect(ctx, run.ID)
	switch s := &run.Service; {
	case s.AutoRemove && protocol.CodeOf(err) == protocol.CodeNotFound:
		d.RequestInfo = protocol.RequestInfo{
			ID: run.ID, Image: s.Image, Args: s.Args, Tags: s.Tags, Detached: run.Detach, Last: protocol.Event{State: protocol.StateAccepted},
		}
	case err != nil:
		return requestFailure(err)
	}
	if last != nil {
		d.Last = *last
		if d.Ended.IsZero() {
			d.Ended = last.At
		}
	}
	return json.NewEncoder(c.stdout).Encode(api.NewRequest(&d.RequestInfo))
}
