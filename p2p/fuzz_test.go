package p2p

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
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

// FuzzLine: frames that are taken could have been sent, what they tell is within
// bounds, and yamux gets what is for it.
func FuzzLine(f *testing.F) {
	frame := func(kind byte, body []byte) []byte {
		head := make([]byte, headSize)
		putHead(head, kind, len(body))
		return append(head, body...)
	}
	f.Add(slices.Concat(frame(framePing, pingBody(time.Hour, time.Second)), frame(framePick, []byte{1}), frame(frameWanted, nil), frame(frameGoodbye, nil)))
	f.Add(slices.Concat(frame(frameScore, make([]byte, 300)), frame(frameStreams, nil), frame(frameStreams, make([]byte, 12)), frame(frameEcho, pingBody(0, 0))))
	f.Add(frame(200, []byte("unknown")))
	f.Fuzz(func(t *testing.T, data []byte) {
		taken := 0 // bytes, of frames that are not of streams
		l := newLine(newMemberConn(&fakeSecure{in: bytes.NewReader(data)}, nil, "b"), true, nil, nil)
		l.take = func(kind byte, body []byte) error {
			taken += headSize + len(body)
			if !bytes.Contains(data, frame(kind, body)) || len(body) > maxGossip || len(body) > maxBody && kind != frameGossip {
				t.Errorf("frame %d with %d bytes, %x, was taken", kind, len(body), body)
			}
			if kind == framePing || kind == frameEcho {
				for _, rtt := range []time.Duration{told(body), echoed(body, time.Hour)} {
					if rtt < 0 || rtt >= maxRTT {
						t.Errorf("a round trip of %v", rtt)
					}
				}
			}
			return nil
		}
		for l.left == 0 {
			if err := l.next(); err != nil {
				return
			}
		}
		used := make(chan struct{})
		close(used)
		streams, _ := io.ReadAll(&carrier{memberConn: l.member, line: l, used: used})
		if len(streams)+taken >= len(data) {
			t.Errorf("%d bytes for yamux and %d of frames, from %d", len(streams), taken, len(data))
		}
	})
}
