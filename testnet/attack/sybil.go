package main

import (
	"context"
	"encoding/binary"
	"time"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"google.golang.org/protobuf/proto"
)

// inventions is how many devices are invented at first: more than any table has room
// for that knows devices by their messages.
const inventions = 2343

// invent gossips messages of one byte, each signed by a device that there is not.
func invent(ctx context.Context, target, file string) error {
	h, _, secret, err := join(ctx, target, file)
	if err != nil {
		return err
	}
	if err := h.wires.last.send(pick, []byte{1}); err != nil {
		return err
	}
	time.Sleep(time.Second) // until the device takes what this one gossips
	for i := uint64(0); ; i++ {
		data, err := invention(secret.Topic(), i)
		if err != nil {
			return err
		}
		if err := h.wires.last.send(gossiped, data); err != nil {
			return err
		}
		pause := 2 * time.Millisecond // more than a small device takes
		if i >= inventions {
			started()
			pause *= 10
		}
		time.Sleep(pause)
	}
}

// invention is a message as pubsub's, of a new device.
func invention(topic string, number uint64) ([]byte, error) {
	key, _, err := crypto.GenerateEd25519Key(nil)
	if err != nil {
		return nil, err
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return nil, err
	}
	m := &pb.Message{From: []byte(id), Data: []byte{1}, Seqno: binary.BigEndian.AppendUint64(nil, number), Topic: &topic}
	unsigned, err := proto.Marshal(m)
	if err != nil {
		return nil, err
	}
	if m.Signature, err = key.Sign(append([]byte("libp2p-pubsub:"), unsigned...)); err != nil {
		return nil, err
	}
	data, err := proto.Marshal(&pb.RPC{Publish: []*pb.Message{m}})
	return append(binary.AppendUvarint(nil, uint64(len(data))), data...), err
}
