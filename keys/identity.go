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

// Seed is a device's own random part of its identity: without it, one holder
// of the secret could compute another's key. It never leaves the device.
type Seed [32]byte

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
		return Seed{}, err
	}
	seed, err := hex.DecodeString(strings.TrimSpace(string(data)))
	if err != nil || len(seed) != len(Seed{}) {
		return Seed{}, fmt.Errorf("%s is damaged: restore it, or delete it to give this device a new identity", path)
	}
	return Seed(seed), nil
}

func newSeed(path string) (Seed, error) {
	var seed Seed
	_, _ = rand.Read(seed[:])
	return seed, replace(path, hex.EncodeToString(seed[:])+"\n")
}

// Identity returns the device's key, from which libp2p makes its peer ID. It
// is the same for the same secret and seed, and changes with either.
func Identity(s Secret, seed Seed) (crypto.PrivKey, error) {
	return ed25519Key(s.derive("node identity", seed[:], 32))
}

// ed25519Key makes an Ed25519 key from its 32-byte seed (RFC 8032).
func ed25519Key(seed []byte) (crypto.PrivKey, error) {
	return crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(seed))
}
