package keys

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/libp2p/go-libp2p/core/crypto"
)

// seedFile is the name of the seed's file in the state folder.
const seedFile = "seed"

// Seed is a device's own random part of its identity, 32 bytes: without it, one
// holder of the secret could compute another's key. It never leaves the device.
// Copies share one seed in memory, so that none lies on a stack.
type Seed []byte

const seedSize = 32

// LoadSeed returns the seed kept in the state folder dir, making one on first
// start. A damaged seed is an error and not replaced: a new one would make the
// device a stranger under its own name.
func LoadSeed(dir string) (Seed, error) {
	path := filepath.Join(dir, seedFile)
	data, err := ReadPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		return newSeed(path)
	}
	if err != nil {
		return nil, err
	}
	var seed Seed
	onWipedStack(func() { seed, err = hex.DecodeString(strings.TrimSpace(string(data))) })
	if err != nil || len(seed) != seedSize {
		return nil, fmt.Errorf("%s is damaged: restore it, or delete it to give this device a new identity", path)
	}
	return seed, nil
}

func newSeed(path string) (Seed, error) {
	seed := make(Seed, seedSize)
	_, _ = rand.Read(seed)
	var text string
	onWipedStack(func() { text = hex.EncodeToString(seed) + "\n" })
	return seed, ReplacePrivate(path, text)
}

// Identity returns the device's key, from which libp2p makes its peer ID. It
// is the same for the same secret and seed, and changes with either.
func Identity(s Secret, seed Seed) (crypto.PrivKey, error) {
	return ed25519Key(s.derive("node identity", seed, 32))
}

// ed25519Key makes an Ed25519 key from its 32-byte seed (RFC 8032).
func ed25519Key(seed []byte) (key crypto.PrivKey, err error) {
	onWipedStack(func() { key, err = crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(seed)) })
	if err != nil {
		return nil, err
	}
	return wipingKey{key}, nil
}

// wipingKey is a private key that leaves nothing on the stack of whoever signs:
// crypto/ed25519 compares a copy of the key there with each signature.
type wipingKey struct{ crypto.PrivKey }

// Sign implements crypto.PrivKey.
func (k wipingKey) Sign(message []byte) (signature []byte, err error) {
	onWipedStack(func() { signature, err = k.PrivKey.Sign(message) })
	return signature, err
}

// Equals implements crypto.PrivKey.
func (k wipingKey) Equals(other crypto.Key) bool {
	if o, ok := other.(wipingKey); ok {
		return k.PrivKey.Equals(o.PrivKey)
	}
	return k.PrivKey.Equals(other)
}
