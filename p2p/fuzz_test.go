package p2p

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/keys"
)

// FuzzPeers: whatever the file of known peers holds, those taken from it could
// have been written, each once, and the addresses are dialled as TCP only.
func FuzzPeers(f *testing.F) {
	f.Add([]byte(`[{"id":"12D3KooWD1cbMQ6aEfkSvF8ADuG2ikL8FvhSyCfgjAM7kA5MegiU","name":"attic","addresses":["/ip4/10.0.0.1/tcp/1"]}]`))
	f.Add([]byte(`[{"id":"","name":"a","addresses":null},{"name":"a"}]`))
	f.Add([]byte(`[{"id":"QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N","name":"a","addresses":["/unix/x","/ip6zone/x/ip6/fe80::1/tcp/1/p2p/Qm"]}]`))
	path := filepath.Join(f.TempDir(), PeersFile)
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		members, err := readPeers(path)
		if err != nil {
			return
		}
		names := make(map[string]bool)
		for _, k := range members {
			if keys.ValidName(k.Name) != nil || k.ID.Validate() != nil || names[k.Name] {
				t.Errorf("taken: %+v", k)
			}
			names[k.Name] = true
			addrs := parseAddrs(k.Addresses)
			if len(addrs) > maxAddrs {
				t.Errorf("%d addresses", len(addrs))
			}
			for _, a := range addrs {
				if !isTCP(a) || strings.Contains(a.String(), "/p2p/") {
					t.Errorf("address %s", a)
				}
			}
		}
	})
}

// FuzzAlive: a frame of liveness that is taken could have been sent, and what it
// tells is within bounds.
func FuzzAlive(f *testing.F) {
	for _, body := range [][]byte{{}, {framePing}, {frameGoodbye}, append([]byte{frameScore}, make([]byte, 300)...), append([]byte{framePing}, pingBody(time.Hour, time.Second)...)} {
		var frame bytes.Buffer
		if err := writeFrame(&frame, body); err != nil {
			f.Fatal(err)
		}
		f.Add(frame.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		in := bytes.NewReader(data)
		kind, body, err := readAlive(in)
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := writeFrame(&again, append([]byte{kind}, body...)); err != nil {
			t.Fatal(err)
		}
		if k, b, err := readAlive(&again); err != nil || k != kind || !bytes.Equal(b, body) {
			t.Errorf("%d %x came back as %d %x, %v", kind, body, k, b, err)
		}
		if kind == framePing || kind == frameEcho {
			for _, rtt := range []time.Duration{told(body), echoed(body, time.Hour)} {
				if rtt < 0 || rtt >= maxRTT {
					t.Errorf("a round trip of %v", rtt)
				}
			}
		}
	})
}
