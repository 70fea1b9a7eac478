package keys

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"pgregory.net/rapid"
)

func TestSecretTextRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := NewSecret()
		copy(s.key[:], rapid.SliceOfN(rapid.Byte(), secretSize, secretSize).Draw(t, "key"))
		if s.IsZero() {
			return
		}
		got, err := ParseSecret("  " + s.Text() + "\n")
		if err != nil || !got.Equal(s) {
			t.Fatalf("ParseSecret(%q) = %v, %v", s.Text(), got, err)
		}
		if got, err := ParseSecret(strings.ToUpper(s.Text())); err != nil || !got.Equal(s) {
			t.Fatalf("in capitals: %v, %v", got, err)
		}
	})
}

// Every change of one character is found, wherever it is.
func TestSecretChecksumFindsEveryTypo(t *testing.T) {
	text := NewSecret().Text()
	for i := range text {
		for _, c := range "qpzry9x8gf2tvdw0s3jn54khce6mua7l1b" {
			typo := text[:i] + string(c) + text[i+1:]
			if typo == text {
				continue
			}
			if _, err := ParseSecret(typo); !errors.Is(err, ErrNotSecret) {
				t.Fatalf("typo at %d taken for a secret: %v", i, err)
			}
		}
	}
}

func TestParseSecretExplains(t *testing.T) {
	good := NewSecret().Text()
	typo := good[:len(good)-1] + map[bool]string{true: "q", false: "p"}[good[len(good)-1] != 'q']
	for text, want := range map[string]string{
		"":                                     "empty",
		"correct horse battery staple":         "must start with",
		good[:30]:                              "checksum",
		typo:                                   "checksum",
		strings.ToUpper(good[:10]) + good[10:]: "capital",
		good + "\x00":                          "characters",
	} {
		_, err := ParseSecret(text)
		if !errors.Is(err, ErrNotSecret) || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseSecret(%.12q…) = %v, want %q", text, err, want)
		}
		if err != nil && len(text) > 8 && strings.Contains(err.Error(), text[7:]) {
			t.Errorf("the error repeats the secret: %v", err)
		}
	}
}

func TestSecretRedactsItself(t *testing.T) {
	s := NewSecret()
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", "secret", s)
	js, err := json.Marshal(map[string]any{"s": s})
	if err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{fmt.Sprint(s), fmt.Sprintf("%v %+v %#v", s, s, s), log.String(), string(js)} {
		if strings.Contains(out, s.Text()) || strings.Contains(out, s.Text()[7:20]) || strings.Contains(out, fmt.Sprintf("%d %d %d", s.key[0], s.key[1], s.key[2])) {
			t.Errorf("the secret is given away: %s", out)
		}
	}
}

// The derivation is part of the protocol: a device of a later version must
// find the same mesh.
func TestDerivationIsStable(t *testing.T) {
	s := NewSecret()
	for i := range s.key {
		s.key[i] = byte(i + 1)
	}
	m, err := NewMesh(s)
	if err != nil {
		t.Fatal(err)
	}
	id, err := Identity(s, Seed{9})
	if err != nil {
		t.Fatal(err)
	}
	pid, _ := peer.IDFromPrivateKey(id)
	meshID, _ := peer.IDFromPublicKey(m.pub)
	got := strings.Join([]string{s.Text(), string(s.Fingerprint()), s.Topic(), pid.String(), meshID.String()}, "\n")
	golden := filepath.Join("testdata", "derivation.golden")
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got+"\n" != string(want) {
		t.Errorf("derived\n%s\nwant\n%s", got, want)
	}
}

func TestIdentityDependsOnSecretAndSeed(t *testing.T) {
	a, b := NewSecret(), NewSecret()
	id := func(s Secret, seed Seed) string {
		k, err := Identity(s, seed)
		if err != nil {
			t.Fatal(err)
		}
		p, err := peer.IDFromPrivateKey(k)
		if err != nil {
			t.Fatal(err)
		}
		return p.String()
	}
	if first, again := id(a, Seed{1}), id(a, Seed{1}); first != again {
		t.Error("not stable")
	}
	if id(a, Seed{1}) == id(b, Seed{1}) || id(a, Seed{1}) == id(a, Seed{2}) {
		t.Error("two devices share an identity")
	}
}

func TestCertificate(t *testing.T) {
	mesh, other := testMesh(t), testMesh(t)
	alice, bob := testPeer(t), testPeer(t)
	good, err := mesh.Certify(alice, "tv")
	if err != nil {
		t.Fatal(err)
	}
	foreign, _ := other.Certify(alice, "tv")
	renamed, old := good, good
	renamed.Name = "nas"
	old.Epoch = 0
	for name, c := range map[string]struct {
		cert   Certificate
		proven peer.ID
		ok     bool
	}{
		"good":             {good, alice, true},
		"for another peer": {good, bob, false},
		"of another mesh":  {foreign, alice, false},
		"renamed":          {renamed, alice, false},
		"another epoch":    {old, alice, false},
		"empty":            {Certificate{}, alice, false},
	} {
		err := mesh.Verify(c.cert, c.proven)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrNotMember) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := mesh.Certify(alice, "has space"); err == nil {
		t.Error("a bad name was certified")
	}
}

func FuzzCertificate(f *testing.F) {
	mesh, id := testMesh(f), testPeer(f)
	c, _ := mesh.Certify(id, "tv")
	b, _ := c.MarshalBinary()
	f.Add(b)
	f.Add(b[:len(b)-1])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		var c Certificate
		if c.UnmarshalBinary(data) != nil {
			return
		}
		again, err := c.MarshalBinary()
		if err != nil || string(again) != string(data) {
			t.Fatalf("decoded %x, encoded %x, %v", data, again, err)
		}
	})
}

func FuzzParseSecret(f *testing.F) {
	f.Add(NewSecret().Text())
	f.Add("hearth1")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSecret(text)
		if err == nil && s.Text() != strings.ToLower(strings.TrimSpace(text)) {
			t.Fatalf("%q and %q are the same secret", text, s.Text())
		}
	})
}

func TestSecretFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	s := NewSecret()
	if err := WriteSecretFile(path, s); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadSecretFile(path); err != nil || !got.Equal(s) {
		t.Fatalf("read %v, %v", got, err)
	}
	if err := WriteSecretFile(path, NewSecret()); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a secret was overwritten: %v", err)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadSecretFile(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	if err := os.WriteFile(path+"2", []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadSecretFile(path + "2"); !errors.Is(err, ErrNotSecret) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("no secret: %v", err)
	}
	if _, err := ReadSecretFile(t.TempDir()); err == nil {
		t.Error("a folder was read")
	}
}

func TestSeed(t *testing.T) {
	dir := t.TempDir()
	first, err := LoadSeed(dir)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := LoadSeed(dir); err != nil || !bytes.Equal(again, first) {
		t.Fatalf("not kept: %v", err)
	}
	path := filepath.Join(dir, seedFile)
	for _, bad := range []string{"", "zz", strings.Repeat("a", 63), strings.Repeat("a", 66), strings.Repeat("a", 5000)} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadSeed(dir); err == nil {
			t.Errorf("a damaged seed of %d characters was taken", len(bad))
		}
	}
	// A power cut while the first seed was written leaves a partial temporary.
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, seedFile+".new"), []byte("ab"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadSeed(dir); err != nil {
		t.Errorf("after a power cut: %v", err)
	}
}

func TestValidName(t *testing.T) {
	for name, ok := range map[string]bool{
		"tv": true, "nas-1": true, "a": true, "Living.Room_TV": true, strings.Repeat("a", 63): true,
		"": false, "-tv": false, "tv.": false, "a b": false, "a\n": false, "\x1b[31m": false, "fernsehgerät": false, strings.Repeat("a", 64): false,
	} {
		if err := ValidName(name); (err == nil) != ok {
			t.Errorf("ValidName(%q) = %v", name, err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	mesh, id := testMesh(b), testPeer(b)
	c, _ := mesh.Certify(id, "tv")
	for b.Loop() {
		if err := mesh.Verify(c, id); err != nil {
			b.Fatal(err)
		}
	}
}

func testMesh(t testing.TB) *Mesh {
	m, err := NewMesh(NewSecret())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func testPeer(t testing.TB) peer.ID {
	key, _, err := crypto.GenerateEd25519Key(nil)
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return id
}
