package p2p

import (
	"errors"
	"io"
	"testing"

	"github.com/hearth-edge/hearth/keys"
)

// A stream is written before the other side has agreed to its protocol; that it does
// not serve it is learnt by reading.
func TestStreamIsWrittenAtOnce(t *testing.T) {
	secret := keys.NewSecret()
	a := prepare(t, secret, "a")
	a.Handle(echoProtocol, echo)
	a.run()
	d := start(t, secret, "b", a.asPeer())
	d.joins(a)
	for name, served := range map[string]bool{echoProtocol: true, "/nobody/serves/this": false} {
		s, err := d.Open(t.Context(), a.ID(), name)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := make([]byte, 5)
		if _, err = s.Write([]byte("hello")); err == nil {
			_, err = io.ReadFull(s, got)
		}
		if (err == nil) != served || served && string(got) != "hello" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		_ = s.Close()
	}
}

// What a device keeps of a member ends with its connection.
func TestMemberIsForgotten(t *testing.T) {
	secret := keys.NewSecret()
	a := start(t, secret, "a")
	d := start(t, secret, "b", a.asPeer())
	a.joins(d)
	store := a.live.Load().sw.Peerstore()
	known := len(store.PeersWithKeys())
	d.stop()
	eventually(t, func() bool { return len(store.PeersWithKeys()) == known-1 })
	if _, err := a.Open(t.Context(), d.ID(), echoProtocol); !errors.Is(err, ErrNotConnected) {
		t.Errorf("%v, want %v", err, ErrNotConnected)
	}
}
