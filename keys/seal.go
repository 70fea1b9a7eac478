package keys

import (
	"crypto/aes"
	"crypto/cipher"
)

// A Sealer encrypts what a device keeps on its disk and nobody may read there.
// It uses AES-256-GCM with a random nonce before each sealed text.
type Sealer struct{ aead cipher.AEAD }

// NewSealer returns the sealer of a device: the same for the same secret and
// seed. What was sealed under another seed does not open.
func NewSealer(s Secret, seed Seed) *Sealer {
	key := s.derive("sealed in the journal", seed, 32)
	sealer := &Sealer{}
	onWipedStack(func() {
		block, err := aes.NewCipher(key)
		if err != nil {
			panic("keys: AES takes a key of 32 bytes: " + err.Error())
		}
		if sealer.aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
			panic("keys: AES has the block size that GCM needs: " + err.Error())
		}
	})
	return sealer
}

// Seal encrypts plain. Context is what it belongs to: it opens under the same
// one only.
func (s *Sealer) Seal(plain, context []byte) []byte { return s.aead.Seal(nil, nil, plain, context) }

// Open returns what was sealed, or an error where that or the context is another.
func (s *Sealer) Open(sealed, context []byte) ([]byte, error) {
	return s.aead.Open(nil, nil, sealed, context)
}
