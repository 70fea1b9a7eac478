package p2p

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
)

// The files of a state folder stay what they were: read, and written the same.
func TestRecordedFilesAreReadAndWrittenTheSame(t *testing.T) {
	for file, encode := range map[string]func(dir string) ([]byte, error){
		PeersFile: func(dir string) ([]byte, error) { return newPeerBook(dir, "", slog.New(slog.DiscardHandler)).encode() },
		NamesFile: func(dir string) ([]byte, error) {
			n := newNames(pin{Name: "self", ID: peer.ID("self")}, nil, slog.New(slog.DiscardHandler))
			n.load(dir)
			return n.encode()
		},
	} {
		want, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, file), want, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := encode(dir)
		if err != nil || !bytes.Equal(append(got, '\n'), want) || !json.Valid(got) {
			t.Errorf("%s: %v\n%s", file, err, got)
		}
	}
}
