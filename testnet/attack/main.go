// Command attack does to a device what strangers on its network and careless
// members of its mesh could do, for the tests that show what comes of it.
//
// As a stranger, with the device's address as HOST:PORT:
//
//	attack silent ADDR          connections that say nothing, ever more of them
//	attack garbage ADDR         random bytes on each
//	attack slow ADDR            a valid start, a byte a second
//	attack stock ADDR           libp2p's own handshake
//	attack foreign ADDR         the mesh's handshake with another secret
//	attack mdns PRINT           10,000 lies by mDNS of a mesh's fingerprint, and more
//
// As one who has the mesh's secret in a file:
//
//	attack borrowed ADDR FILE   the certificate of another device
//	attack scores ADDR FILE     scores that are wrong in each way, as fast as they go
//	attack streams ADDR FILE    streams that stay open, a byte a second on each
//	attack frames ADDR FILE     streams of frames that are too long, as fast as they go
//	attack chatter ADDR FILE    frames of the connection itself, as fast as they go
//	attack sybil ADDR FILE      messages of one byte, each of another invented device
//	attack pins ADDR FILE NAME  256 names under as many identities, then NAME under others
//	attack names ADDR FILE NAME NAME under ever new identities, as fast as they go
//
// As another user of the device's machine, with the address of the apps' port:
//
//	attack local ADDR           as many streams as it gets, a byte on each
//
// It goes on until it is killed, prints a line when the attack has begun, and
// ends with an error where the device let it in or told it something.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

func main() {
	if len(os.Args) < 3 || (os.Args[1] == "pins" || os.Args[1] == "names") && len(os.Args) < 5 {
		fail(fmt.Errorf("usage: attack VERB ADDR|PRINT [SECRET-FILE]"))
	}
	verb, target, file := os.Args[1], os.Args[2], ""
	if len(os.Args) > 3 {
		file = os.Args[3]
	}
	ctx := context.Background()
	var err error
	switch verb {
	case "silent", "garbage", "slow":
		err = knock(ctx, target, verb)
	case "stock", "foreign", "borrowed":
		err = pretend(ctx, target, verb, file)
	case "mdns":
		err = lie(target)
	case "scores":
		err = gossip(ctx, target, file)
	case "sybil":
		err = invent(ctx, target, file)
	case "local":
		err = crowd(ctx, target)
	case "pins":
		err = claimMany(ctx, target, file, os.Args[4])
	case "names":
		err = usurp(ctx, target, file, os.Args[4])
	case "chatter":
		err = chatter(ctx, target, file)
	case "streams", "frames":
		err = flood(ctx, target, file, verb)
	default:
		err = fmt.Errorf("no such attack: %s", verb)
	}
	fail(err)
}

// started tells the test that the attack has begun.
var started = sync.OnceFunc(func() { fmt.Println("attacking") })

func fail(err error) {
	fmt.Fprintln(os.Stderr, "attack:", err)
	os.Exit(1)
}

// header is what libp2p's connections begin with.
const header = "\x13/multistream/1.0.0\n"

// knock keeps many connections open that never get anywhere.
func knock(ctx context.Context, target, how string) error {
	const atOnce, pause = 256, 100 * time.Millisecond // 2,560 connections a second at most
	told := make(chan error, atOnce)
	for range atOnce {
		go func() {
			for ctx.Err() == nil {
				if err := knockOnce(target, how); err != nil {
					told <- err
				}
				time.Sleep(pause)
			}
		}()
	}
	return <-told
}

// knockOnce returns an error only where the device said more than that it speaks
// libp2p.
func knockOnce(target, how string) error {
	c, err := net.DialTimeout("tcp", target, 5*time.Second)
	if err != nil {
		return nil
	}
	defer c.Close()
	started()
	answered := make(chan []byte, 1)
	go func() {
		buf := make([]byte, 4096)
		n := 0
		for n < len(buf) {
			k, err := c.Read(buf[n:])
			n += k
			if err != nil {
				break
			}
		}
		answered <- buf[:n]
	}()
	switch how {
	case "garbage":
		_, _ = c.Write(noise(4096)) // it may be cut off at any byte
	case "slow":
		for i := 0; err == nil && i < len(header); i++ {
			_, err = c.Write([]byte{header[i]})
			time.Sleep(time.Second)
		}
	}
	if heard := <-answered; len(heard) > 0 && string(heard) != header {
		return fmt.Errorf("the device answered %q", heard)
	}
	return nil
}
