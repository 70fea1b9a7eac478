package keys

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/decred/dcrd/bech32"
)

const (
	secretSize = 32
	// prefix is what a secret's text starts with; the '1' that bech32 puts
	// between prefix and data makes it "hearth1".
	prefix = "hearth"
)

// ErrNotSecret is what a text that is no secret is refused with; the error
// that wraps it says what is wrong and never repeats the text.
var ErrNotSecret = errors.New("not a valid hearth secret")

// Secret is the shared key of one mesh. Whoever holds it is a member. It
// prints itself as its fingerprint; only Text gives it away. The zero value is
// no secret: see IsZero. Copies share one key in memory, so that none lies on a
// stack (see onWipedStack); compare with Equal.
type Secret struct{ key []byte }

// NewSecret returns a fresh random secret.
func NewSecret() Secret {
	s := Secret{make([]byte, secretSize)}
	_, _ = rand.Read(s.key) // never fails: it ends the program instead
	return s
}

// ParseSecret reads a secret's text form, which is bech32 (BIP 173) with the
// prefix "hearth". White space around it is ignored. Anything else is refused
// with ErrNotSecret: a secret that a person made up could be guessed offline.
func ParseSecret(text string) (Secret, error) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return Secret{}, fmt.Errorf("%w: it is empty", ErrNotSecret)
	case !strings.HasPrefix(strings.ToLower(text), prefix+"1"):
		return Secret{}, fmt.Errorf("%w: it must start with %q, as made by 'hearth secret new'", ErrNotSecret, prefix+"1")
	}
	var key []byte
	var err error
	onWipedStack(func() { key, err = decodeSecret(text) })
	if err != nil {
		return Secret{}, err
	}
	return Secret{key}, nil
}

func decodeSecret(text string) ([]byte, error) {
	_, words, err := bech32.Decode(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrNotSecret, explain(err))
	}
	key, err := bech32.ConvertBits(words, 5, 8, false)
	if err != nil || len(key) != secretSize {
		return nil, fmt.Errorf("%w: its length is wrong; some of it is missing or doubled", ErrNotSecret)
	}
	if (Secret{key}).IsZero() {
		return nil, fmt.Errorf("%w: it is all zeros", ErrNotSecret)
	}
	return key, nil
}

// explain says what is wrong without repeating any of the text, which bech32's
// own messages do.
func explain(err error) string {
	if _, ok := errors.AsType[bech32.ErrInvalidChecksum](err); ok {
		return "its checksum does not match; it was mistyped or cut short"
	}
	if _, ok := errors.AsType[bech32.ErrMixedCase](err); ok {
		return "it mixes capital and small letters"
	}
	if _, ok := errors.AsType[bech32.ErrInvalidLength](err); ok {
		return "its length is wrong; some of it is missing or doubled"
	}
	return "it holds characters that no secret has; it was mistyped"
}

// Text returns the secret itself, to be stored or shown to its owner.
func (s Secret) Text() (text string) {
	onWipedStack(func() {
		words, err := bech32.ConvertBits(s.bytes(), 8, 5, true)
		if err != nil {
			panic("keys: 8 to 5 bits with padding cannot fail: " + err.Error())
		}
		if text, err = bech32.Encode(prefix, words); err != nil {
			panic("keys: encoding 52 words cannot fail: " + err.Error())
		}
	})
	return text
}

// IsZero reports whether s is the zero value, which is no secret.
func (s Secret) IsZero() bool { return s.Equal(Secret{}) }

// Equal reports whether s and other are the same secret.
func (s Secret) Equal(other Secret) bool {
	return subtle.ConstantTimeCompare(s.bytes(), other.bytes()) == 1
}

// noKey is the key of the zero value.
var noKey = make([]byte, secretSize)

func (s Secret) bytes() []byte {
	if s.key == nil {
		return noKey
	}
	return s.key
}

// String returns the fingerprint, so that a secret printed by accident is not
// given away.
func (s Secret) String() string { return "secret(" + string(s.Fingerprint()) + ")" }

// GoString is String: %#v gives nothing away either.
func (s Secret) GoString() string { return s.String() }

// LogValue is String.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is String: a secret goes nowhere by way of an encoder.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Fingerprint tells meshes apart in public: 12 characters of a-z and 2-7 that
// nothing can be learnt from.
type Fingerprint string

// Fingerprint returns the secret's fingerprint.
func (s Secret) Fingerprint() Fingerprint {
	sum := s.derive("fingerprint", nil, 8)
	text := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum)
	return Fingerprint(strings.ToLower(text[:12]))
}

// Topic returns the name of the pubsub topic that statuses are gossiped on.
func (s Secret) Topic() string {
	return "/hearth/score/1.0.0/" + hex.EncodeToString(s.derive("gossip topic", nil, 16))
}

// derive returns n bytes of HKDF-SHA256 (RFC 5869) for one use.
func (s Secret) derive(use string, salt []byte, n int) (key []byte) {
	onWipedStack(func() {
		var err error
		if key, err = hkdf.Key(sha256.New, s.bytes(), salt, "hearth/1 "+use, n); err != nil {
			panic("keys: HKDF for a few bytes cannot fail: " + err.Error())
		}
	})
	return key
}

// ReadSecretFile reads a secret from a file. A file that others than its owner
// may read is refused.
func ReadSecretFile(path string) (Secret, error) {
	data, err := ReadPrivate(path)
	if err != nil {
		return Secret{}, err
	}
	s, err := ParseSecret(string(data))
	if err != nil {
		return Secret{}, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// WriteSecretFile writes the secret to a new file with mode 0600. It never
// replaces a file: the error is then fs.ErrExist.
func WriteSecretFile(path string, s Secret) error {
	return writeNew(path, s.Text()+"\n")
}

// ReplaceSecretFile writes the secret to the file, with mode 0600 and in place
// of what was there; a power cut leaves the old one or the new one.
func ReplaceSecretFile(path string, s Secret) error { return ReplacePrivate(path, s.Text()+"\n") }

// An existsError is fs.ErrExist for people.
type existsError string

func (e existsError) Error() string { return string(e) + " exists already and is left alone" }

func (e existsError) Unwrap() error { return fs.ErrExist }

// writeNew writes a file which must not exist, for its owner only, and syncs
// it; what was written is removed again if that fails.
func writeNew(path, text string) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		if errors.Is(err, fs.ErrExist) {
			return existsError(path)
		}
		return err
	}
	defer func() {
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			_ = os.Remove(path)
		}
	}()
	if _, err = f.WriteString(text); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	return syncDir(path)
}

// syncDir makes the names in path's folder last.
func syncDir(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// ReplacePrivate writes a file for its owner only, in place of what was there: under
// another name first, so that a power cut leaves the old text or the new one.
func ReplacePrivate(path, text string) error {
	temp := path + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := writeNew(temp, text); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return syncDir(path)
}
