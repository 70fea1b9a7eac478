package keys

import (
	"bytes"
	"testing"
)

func TestSealer(t *testing.T) {
	secret, seed := NewSecret(), Seed{1}
	s := NewSealer(secret, seed)
	plain := []byte("hunter2")
	a, b := s.Seal(plain, []byte("req")), s.Seal(plain, []byte("req"))
	if bytes.Equal(a, b) || bytes.Contains(a, plain) {
		t.Error("two texts are the same, or in clear")
	}
	if got, err := NewSealer(secret, seed).Open(a, []byte("req")); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("%q, %v", got, err)
	}
	changed := bytes.Clone(a)
	changed[len(changed)-1] ^= 1
	for name, open := range map[string]func() ([]byte, error){
		"another seed":    func() ([]byte, error) { return NewSealer(secret, Seed{2}).Open(a, []byte("req")) },
		"another mesh":    func() ([]byte, error) { return NewSealer(NewSecret(), seed).Open(a, []byte("req")) },
		"another request": func() ([]byte, error) { return s.Open(a, []byte("other")) },
		"changed":         func() ([]byte, error) { return s.Open(changed, []byte("req")) },
		"cut":             func() ([]byte, error) { return s.Open(a[:5], []byte("req")) },
	} {
		if got, err := open(); err == nil {
			t.Errorf("%s: %q", name, got)
		}
	}
}
