package docker

import (
	"strings"
	"testing"

	"github.com/hearth-edge/hearth/protocol"
)

func TestFollow(t *testing.T) {
	account := `{"status":"Pulling from library/thing","id":"latest"}
{"status":"Pulling fs layer","progressDetail":{},"id":"a"}
{"status":"Already exists","progressDetail":{},"id":"b"}
{"status":"Downloading","progressDetail":{"current":50,"total":100},"id":"a"}
{"status":"Retrying in 5 seconds","progressDetail":{},"id":"a"}
{"status":"Downloading","progressDetail":{"current":10,"total":100},"id":"a"}
{"status":"Download complete","progressDetail":{},"id":"a"}
{"status":"Extracting","progressDetail":{"current":3,"total":100},"id":"a"}
{"status":"Pull complete","progressDetail":{},"id":"a"}
{"status":"Digest: sha256:00"}
`
	var last protocol.Progress
	err := follow(strings.NewReader(account), make(map[string]*layer), func(p protocol.Progress) {
		if p.Current < last.Current || p.Total < last.Total || p.Current > p.Total {
			t.Errorf("%+v after %+v", p, last)
		}
		last = p
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := (protocol.Progress{Current: 100, Total: 100, LayersDone: 2, Layers: 2}); last != want {
		t.Errorf("in the end %+v, want %+v", last, want)
	}

	err = follow(strings.NewReader(`{"error":"no room"}`), make(map[string]*layer), func(protocol.Progress) {})
	if err == nil || err.Error() != "no room" {
		t.Errorf("%v", err)
	}
	if err := follow(strings.NewReader(`{"status":`), make(map[string]*layer), func(protocol.Progress) {}); err == nil {
		t.Error("no error for an account that is cut off")
	}
}

func TestProgressOnlyGrows(t *testing.T) {
	layers := make(map[string]*layer)
	for i, m := range []struct {
		status         string
		current, total int64
		want           protocol.Bytes
	}{
		{"Downloading", 50, 100, 50},
		{"Downloading", 10, 100, 50},
		{"Downloading", 60, 100, 60},
		{"Verifying Checksum", 0, 0, 60},
		{"Download complete", 0, 0, 100},
		{"Extracting", 1, 100, 100},
	} {
		var message pullMessage
		message.ID, message.Status = "a", m.status
		message.Detail.Current, message.Detail.Total = m.current, m.total
		apply(layers, message)
		if got := sum(layers).Current; got != m.want {
			t.Errorf("step %d: %d, want %d", i, got, m.want)
		}
	}
}
