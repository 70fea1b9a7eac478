package docker

import (
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/hearth-edge/hearth/protocol"
)

// pullMessage is one line of the engine's account of a pull.
type pullMessage struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Detail struct {
		Current int64 `json:"current"`
		Total   int64 `json:"total"`
	} `json:"progressDetail"`
	Error string `json:"error"`
}

// layer is how much of one layer is here. It only grows: the engine starts
// over after a broken connection, people should not see that.
type layer struct {
	current, total int64
	done           bool
}

// follow reads the account of a pull to its end, notes it in layers and reports
// progress. That the engine tries something again is none. layers may be those
// of an earlier try.
func follow(stream io.Reader, layers map[string]*layer, report func(protocol.Progress)) error {
	in := json.NewDecoder(stream)
	for {
		var m pullMessage
		if err := in.Decode(&m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if m.Error != "" {
			return errors.New(m.Error)
		}
		apply(layers, m)
		if !strings.HasPrefix(m.Status, "Retrying") {
			report(sum(layers))
		}
	}
}

// apply notes what a message says about a layer.
func apply(layers map[string]*layer, m pullMessage) {
	switch m.Status {
	case "Pulling fs layer", "Waiting", "Downloading", "Verifying Checksum", "Download complete", "Extracting", "Pull complete", "Already exists":
	default:
		return // about something else than a layer
	}
	l := layers[m.ID]
	if l == nil {
		l = &layer{}
		layers[m.ID] = l
	}
	l.total = max(l.total, m.Detail.Total)
	switch m.Status {
	case "Downloading":
		l.current = max(l.current, m.Detail.Current)
	case "Download complete", "Extracting":
		l.current = l.total
	case "Pull complete", "Already exists":
		l.current = l.total
		l.done = true
	}
	l.total = max(l.total, l.current)
}

func sum(layers map[string]*layer) protocol.Progress {
	p := protocol.Progress{Layers: uint32(len(layers))}
	for _, l := range layers {
		p.Current += protocol.Bytes(l.current)
		p.Total += protocol.Bytes(l.total)
		if l.done {
			p.LayersDone++
		}
	}
	return p
}
