package keys

import (
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"
)

// ErrSignature is returned by VerifyPeer: the signature is not that of the peer.
var ErrSignature = errors.New("the signature is not that of the device")

// VerifyPeer checks that the device of that peer ID signed data with its identity.
// The key is in the ID.
func VerifyPeer(id string, data, signature []byte) error {
	p, err := peer.Decode(id)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	key, err := p.ExtractPublicKey()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	if ok, err := key.Verify(data, signature); err != nil || !ok {
		return ErrSignature
	}
	return nil
}
