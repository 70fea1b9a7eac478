package keys

import "runtime"

const (
	// wipedStack is how deep in bytes the calls under onWipedStack may go: HKDF,
	// Ed25519 and bech32 take less than half of it.
	wipedStack = 9 << 10
	// heldStack is a quarter of the stack that results, and more: the collector
	// moves a stack of which less is in use, and the old one would keep its content.
	heldStack = 5 << 10
)

// onWipedStack runs f, which handles keys, and waits for it. The runtime hands the
// stack of an ended goroutine to the next one as it is, and a crash's dump prints
// words of it; so f gets a stack of its own that is zeroed afterwards. It has the
// full size beforehand, since one that grows is copied and leaves the old content.
// Results that are keys leave f by a pointer, never by value.
func onWipedStack(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		holdStack(f)
	}()
	<-done
}

//go:noinline
func holdStack(f func()) {
	var held [heldStack]byte
	wipe()
	f()
	wipe()
	touch(held[:])
}

// wipe zeroes the stack below its caller, where f ran, and makes it that large.
//
//go:noinline
func wipe() {
	var below [wipedStack]byte
	touch(below[:])
}

// touch keeps the compiler from leaving out what it is given.
//
//go:noinline
func touch(b []byte) {
	clear(b)
	runtime.KeepAlive(b)
}
