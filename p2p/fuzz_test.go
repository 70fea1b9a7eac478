package p2p

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hearth-edge/hearth/keys"
)

// FuzzPeers: whatever the file of known peers holds, those taken from it could
// have been written, each once, and the addresses are dialled as TCP only.
func FuzzPeers(f *testing.F) {
	f.Add([]byte(`[{"id":"12D3KooWD1cbMQ6aEfkSvF8ADuG2ikL8FvhSyCfgjAM7kA5MegiU","addresses":["/ip4/10.0.0.1/tcp/1"]}]`))
	f.Add([]byte(`[{"id":"","name":"a","addresses":null},{"name":"a"}]`))
	f.Add([]byte(`[{"id":"QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N","name":"a","addresses":["/unix/x","/ip6zone/x/ip6/fe80::1/tcp/1/p2p/Qm"]}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		members, err := parsePeers(data)
		if err != nil {
			return
		}
		ids := make(map[peer.ID]bool)
		for _, k := range members {
			if k.ID.Validate() != nil || ids[k.ID] {
				t.Errorf("taken: %+v", k)
			}
			ids[k.ID] = true
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

// FuzzNames: whatever the file of names holds, those taken from it could have been
// written, each once.
func FuzzNames(f *testing.F) {
	f.Add([]byte(`{"names":[{"name":"attic","id":"12D3KooWD1cbMQ6aEfkSvF8ADuG2ikL8FvhSyCfgjAM7kA5MegiU"}],"forgotten":[{"name":"a","id":"12D3KooWD1cbMQ6aEfkSvF8ADuG2ikL8FvhSyCfgjAM7kA5MegiU"}]}`))
	f.Add([]byte(`{"names":[{"name":"a","id":""},{"name":"a"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := parseNames(data)
		if err != nil {
			return
		}
		seen := make(map[string]bool)
		for _, p := range n.Names {
			if keys.ValidName(p.Name) != nil || p.ID.Validate() != nil || seen[p.Name] {
				t.Errorf("taken: %+v", p)
			}
			seen[p.Name] = true
		}
		if len(n.Forgotten) > maxForgotten {
			t.Errorf("%d forgotten", len(n.Forgotten))
		}
	})
}

// FuzzNotices: what others tell of names and copies is within bounds, and what is
// understood of forgotten names is what was meant.
func FuzzNotices(f *testing.F) {
	id, err := peer.Decode("12D3KooWD1cbMQ6aEfkSvF8ADuG2ikL8FvhSyCfgjAM7kA5MegiU")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(encodeForgotten([]pin{{Name: "attic", ID: id}, {Name: "b", ID: id}}))
	f.Add([]byte{forgottenVersion + 1, 1, 2, 3})
	f.Add(copyBody(true, "192.168.1.9:7117"))
	f.Add(copyBody(false, "[fe80::1%eth0]:1\x1b[2J"))
	f.Fuzz(func(t *testing.T, body []byte) {
		pins, err := parseForgotten(body)
		if len(pins) > maxForgotten || err != nil && pins != nil {
			t.Errorf("%d pins, %v", len(pins), err)
		}
		for _, p := range pins {
			if keys.ValidName(p.Name) != nil || p.ID.Validate() != nil {
				t.Errorf("taken: %+v", p)
			}
		}
		if again, err := parseForgotten(encodeForgotten(pins)); err != nil || !slices.Equal(again, pins) {
			t.Errorf("%+v became %+v, %v", pins, again, err)
		}
		if _, addr := readCopy(body); strings.ContainsFunc(addr, unicode.IsControl) {
			t.Errorf("an address %q", addr)
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
	f.Add(slices.Concat(frame(framePing, pingBody(time.Hour, time.Second)), frame(framePick, []byte{1}), frame(frameStatusRequest, nil), frame(frameGoodbye, nil)))
	f.Add(slices.Concat(frame(frameStatus, make([]byte, 300)), frame(frameStreams, nil), frame(frameStreams, make([]byte, 12)), frame(frameEcho, pingBody(0, 0))))
	f.Add(frame(200, []byte("unknown")))
	f.Fuzz(func(t *testing.T, data []byte) {
		taken := 0 // bytes, of frames that are not of streams
		l := newFrameConn(newMemberConn(&fakeSecure{in: bytes.NewReader(data)}, nil, "b"), true, nil, nil)
		l.handle = func(kind byte, body []byte) error {
			taken += headSize + len(body)
			if !bytes.Contains(data, frame(kind, body)) || len(body) > maxGossip || len(body) > maxBody && kind != frameGossip {
				t.Errorf("frame %d with %d bytes, %x, was taken", kind, len(body), body)
			}
			if kind == framePing || kind == frameEcho {
				for _, rtt := range []time.Duration{reportedRTT(body), roundTrip(body, time.Hour)} {
					if rtt < 0 || rtt >= maxRTT {
						t.Errorf("a round trip of %v", rtt)
					}
				}
			}
			return nil
		}
		for l.remaining == 0 {
			if err := l.readFrame(); err != nil {
				return
			}
		}
		used := make(chan struct{})
		close(used)
		streams, _ := io.ReadAll(&yamuxConn{memberConn: l.member, frames: l, activated: used})
		if len(streams)+taken >= len(data) {
			t.Errorf("%d bytes for yamux and %d of frames, from %d", len(streams), taken, len(data))
		}
	})
}
