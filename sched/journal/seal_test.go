package journal

import (
	"bytes"
	"context"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/hearth-edge/hearth/protocol"
)

// xorSealer shows what was sealed with what; keys.Sealer is the real one.
type xorSealer struct{ key byte }

func (s xorSealer) Seal(plain, context []byte) []byte {
	out := append([]byte{s.key}, context...)
	for _, b := range plain {
		out = append(out, b^s.key)
	}
	return out
}

func (s xorSealer) Open(sealed, context []byte) ([]byte, error) {
	if len(sealed) < 1+len(context) || sealed[0] != s.key || !bytes.Equal(sealed[1:1+len(context)], context) {
		return nil, errors.New("another key, or another context")
	}
	var out []byte
	for _, b := range sealed[1+len(context):] {
		out = append(out, b^s.key)
	}
	return out, nil
}

func withSecrets(id string) Request {
	r := request(id)
	r.Service.Secrets = []protocol.Secret{
		{Name: "a", Data: protocol.Confidential("hunter2"), Size: 7}, {Name: "none"}, {Name: "b", Data: protocol.Confidential("correct horse"), Size: 13},
	}
	return r
}

// Secrets are there again after a restart, over compaction, and never in clear on
// the disk; with the end of their request they are gone.
func TestSecretsAreSealed(t *testing.T) {
	path, o := pathIn(t), testOptions()
	o.Sealer = xorSealer{0x55}
	j := open(t, path, o)
	if _, err := j.Accepted(t.Context(), withSecrets("a")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if rec, err := j.Find("a"); err != nil || !reflect.DeepEqual(rec.Request, withSecrets("a")) {
			t.Errorf("%v: %+v", err, rec.Service.Secrets)
		}
		if raw, err := os.ReadFile(path); err != nil || bytes.Contains(raw, []byte("hunter2")) || bytes.Contains(raw, []byte("correct horse")) {
			t.Errorf("a secret is on disk in clear: %v", err)
		}
		j.Close()
		j = open(t, path, o)
	}
	// Another seed: what was accepted is there, its secrets are not.
	j.Close()
	o.Sealer = xorSealer{0x66}
	j = open(t, path, o)
	if rec, err := j.Find("a"); err != nil || rec.Service.SecretsComplete() || len(rec.Service.Secrets) != 3 {
		t.Errorf("under another key: %v, %+v", err, rec.Service.Secrets)
	}
	j.Close()
	o.Sealer = xorSealer{0x55}
	j = open(t, path, o)
	end(t, j, "a", ending(protocol.StateSucceeded, 0, "out"))
	for range 2 {
		if rec, err := j.Find("a"); err != nil || rec.Service.SecretsComplete() || rec.End == nil {
			t.Errorf("after the end: %v, %+v", err, rec.Service.Secrets)
		}
		j.Close()
		j = open(t, path, o)
	}
	if e := j.index["a"]; e.parts[kindSealed].size != 0 {
		t.Errorf("%d sealed bytes are kept", e.parts[kindSealed].size)
	}
}

func TestSecretsWithoutAKey(t *testing.T) {
	j := open(t, pathIn(t), testOptions())
	if _, err := j.Accepted(t.Context(), withSecrets("a")); protocol.CodeOf(err) != protocol.CodeInternal {
		t.Errorf("%v", err)
	}
	if _, err := j.Find("a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
}

// A hash that is on disk must not tell a short password to who tries them all.
func TestServiceHashKnowsNoSecret(t *testing.T) {
	r, other := withSecrets("a"), withSecrets("a")
	other.Service.Secrets[0].Data = protocol.Confidential("hunter3")
	if ServiceHash(r.Service) != ServiceHash(other.Service) {
		t.Error("what a secret holds counts")
	}
	other.Service.Secrets[0].Name = "c"
	if ServiceHash(r.Service) == ServiceHash(other.Service) {
		t.Error("the name of a secret does not count")
	}
}

// The largest service there may be is kept, however JSON escapes it.
func TestLargestServiceIsKept(t *testing.T) {
	j := open(t, pathIn(t), testOptions())
	r := request("a")
	for range 8 {
		r.Service.Args = append(r.Service.Args, strings.Repeat("\x01", protocol.MaxService/8-200))
	}
	if err := r.Service.Validate(); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Accepted(context.Background(), r); err != nil {
		t.Fatal(err)
	}
	if rec, err := j.Find("a"); err != nil || !reflect.DeepEqual(rec.Service, r.Service) {
		t.Errorf("%v, or another service", err)
	}
}
