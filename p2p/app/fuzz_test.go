package app

import (
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/transport"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/protocol/protocoltest"
)

// FuzzFiles: whatever app.json and the token file hold, reading them ends, and a
// token is one.
func FuzzFiles(f *testing.F) {
	f.Add([]byte(`{"peer_id":"12D3KooWD1cbMQ6aEfkSvF8ADuG2ikL8FvhSyCfgjAM7kA5MegiU","addresses":["/unix/tmp/app.sock","/ip4/127.0.0.1/tcp/1"],"pid":1}`))
	f.Add([]byte("00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n"))
	f.Add([]byte(`{"peer_id":"Qm","addresses":[null]}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, name := range []string{infoFile, tokenFile} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if in, err := readInfo(dir); err == nil {
			for _, a := range in.Addresses {
				if addr, err := ma.NewMultiaddr(a); err == nil {
					peer.SplitAddr(addr)
				}
			}
		}
		if token, err := readToken(dir); err == nil {
			if raw, err := hex.DecodeString(token); err != nil || len(raw) != tokenBytes {
				t.Errorf("token %q", token)
			}
		}
	})
}

// FuzzStream: whatever an app says first on a stream, it reaches the protocol only
// by naming it, and the stream comes to an end.
func FuzzStream(f *testing.F) {
	const multistream = "\x13/multistream/1.0.0\n"
	f.Add([]byte(multistream + "\x12/hearth/app/1.0.0\nhello"))
	f.Add([]byte(multistream + "\x0f/ipfs/id/1.0.0\n"))
	f.Add([]byte(multistream + "\x03ls\n"))
	f.Add([]byte(multistream + "\xff\xff\xff\xff\x0f"))
	f.Fuzz(func(t *testing.T, data []byte) {
		key, err := newKey()
		if err != nil {
			t.Fatal(err)
		}
		asked := false
		e := &Endpoint{key: key, known: protocols(), cfg: Config{
			Log:    slog.New(panicHandler{t}),
			Handle: func(_ context.Context, s protocol.Stream) { asked = true; _ = s.Close() },
		}}
		here, there := protocoltest.Pipe()
		go func() { // ends when here is closed
			_, _ = there.Write(data)
			_ = there.CloseWrite()
			_, _ = io.Copy(io.Discard, there)
		}()
		e.serveStream(t.Context(), saidConn{}, muxed{here}, func() {})
		_ = here.Reset()
		if asked && !bytes.Contains(data, []byte(protocol.AppProtocol)) {
			t.Error("served without having been asked")
		}
	})
}

// panicHandler is a log in which nothing is to be.
type panicHandler struct{ t *testing.T }

func (h panicHandler) Enabled(context.Context, slog.Level) bool { return true }
func (h panicHandler) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool { h.t.Errorf("%s: %v", r.Message, a); return true })
	return nil
}
func (h panicHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h panicHandler) WithGroup(string) slog.Handler      { return h }

// muxed is a plain stream as a muxer's.
type muxed struct{ protocol.Stream }

func (m muxed) CloseRead() error                             { return nil }
func (m muxed) ResetWithError(network.StreamErrorCode) error { return m.Reset() }

// saidConn is the connection that the stream is on.
type saidConn struct{ transport.CapableConn }

func (saidConn) RemotePeer() peer.ID           { return "app" }
func (saidConn) LocalMultiaddr() ma.Multiaddr  { return ma.StringCast("/ip4/127.0.0.1/tcp/1") }
func (saidConn) RemoteMultiaddr() ma.Multiaddr { return ma.StringCast("/ip4/127.0.0.1/tcp/2") }
