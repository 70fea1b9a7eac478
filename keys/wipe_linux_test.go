package keys

import (
	"bytes"
	"crypto/ed25519"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unsafe"
)

// looked is how far below a caller the tests look for what was left there: less
// than is zeroed before, by the frames in between.
const looked = wipedStack - 1024

// TestKeysLeaveNothingOnTheStack: whoever uses keys finds none of them on the stack
// below, in whole words, as a crash's dump would print them.
func TestKeysLeaveNothingOnTheStack(t *testing.T) {
	dir := t.TempDir()
	secret := NewSecret()
	file := filepath.Join(dir, "secret")
	if err := WriteSecretFile(file, secret); err != nil {
		t.Fatal(err)
	}
	seed, err := LoadSeed(dir)
	if err != nil {
		t.Fatal(err)
	}
	identity, err := Identity(secret, seed)
	if err != nil {
		t.Fatal(err)
	}
	mesh, err := NewMesh(secret)
	if err != nil {
		t.Fatal(err)
	}
	member := testPeer(t)
	sealer := NewSealer(secret, seed)
	words := map[string][]byte{
		"secret": secret.key, "seed": seed,
		"identity": secret.derive("node identity", seed, 32),
		"mesh key": secret.derive("mesh signing key", nil, 32),
		"sealer":   secret.derive("sealed in the journal", seed, 32),
	}
	for name, use := range map[string]func(){
		"read the secret":  func() { _, _ = ReadSecretFile(file) },
		"write the secret": func() { _ = ReplaceSecretFile(file, secret) },
		"print":            func() { _ = secret.String() },
		"topic":            func() { _ = secret.Topic() },
		"compare":          func() { _ = secret.Equal(NewSecret()) },
		"load the seed":    func() { _, _ = LoadSeed(dir) },
		"identity":         func() { _, _ = Identity(secret, seed) },
		"sign":             func() { _, _ = identity.Sign([]byte("message")) },
		"mesh":             func() { _, _ = NewMesh(secret) },
		"certify":          func() { _, _ = mesh.Certify(member, "tv") },
		"sealer":           func() { _ = NewSealer(secret, seed) },
		"seal":             func() { _ = sealer.Seal([]byte("plain"), nil) },
	} {
		left := stackAfter(t, use)
		for key, word := range words {
			if at := findWord(left, word); at >= 0 {
				t.Errorf("%s: a word of the %s is %d bytes below the caller", name, key, len(left)-at)
			}
		}
	}
}

// TestWipedStackIsWiped: what ran on the stack made for it is gone from it, also where
// the collector had reason to move that stack meanwhile.
func TestWipedStackIsWiped(t *testing.T) {
	word := []byte(strings.Repeat("\x5a\xa5key!?", 32)[:8])
	var from, used uintptr
	onWipedStack(func() {
		var here byte
		from = uintptr(unsafe.Pointer(&here))
		used = litter(word, 16)
		runtime.GC()
		var again byte
		if moved := int(uintptr(unsafe.Pointer(&again))) - int(from); max(moved, -moved) > 4096 {
			t.Error("the stack was moved")
		}
	})
	if used >= from || from-used < wipedStack/2 {
		t.Fatalf("the test used %d bytes of stack", from-used)
	}
	if at := findWord(readMemory(t, from-wipedStack, wipedStack), word); at >= 0 {
		t.Errorf("%d bytes below: not wiped", wipedStack-at)
	}
}

// TestWipedStackIsLargeEnough: keys use less than what is wiped.
func TestWipedStackIsLargeEnough(t *testing.T) {
	secret := NewSecret()
	key, err := Identity(secret, Seed{1})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := key.Raw()
	if err != nil {
		t.Fatal(err)
	}
	text := secret.Text()
	for name, use := range map[string]func(){
		"decode": func() { _, _ = decodeSecret(text) },
		"make":   func() { _ = ed25519.NewKeyFromSeed(raw[:32]) },
		"sign":   func() { _, _ = key.(wipingKey).PrivKey.Sign([]byte("message")) },
	} {
		left := stackAfter(t, use)
		clean := 0
		for clean < len(left) && left[clean] == 0 {
			clean++
		}
		if depth := len(left) - clean; depth > wipedStack/2 {
			t.Errorf("%s takes %d bytes of stack, %d are wiped", name, depth, wipedStack)
		}
	}
}

// litter leaves the word in n frames, and returns where the last one is.
//
//go:noinline
func litter(word []byte, n int) uintptr {
	var frame [256]byte
	copy(frame[:], bytes.Repeat(word, len(frame)/len(word)))
	if n > 0 {
		return litter(word, n-1)
	}
	return uintptr(unsafe.Pointer(&frame))
}

// stackAfter returns what use left on the stack, on a goroutine whose stack was zero
// and large enough not to move.
func stackAfter(t *testing.T, use func()) (left []byte) {
	t.Helper()
	onWipedStack(func() {
		var here byte
		use()
		left = readMemory(t, uintptr(unsafe.Pointer(&here))-looked, looked)
	})
	return left
}

func readMemory(t *testing.T, from uintptr, n int) []byte {
	t.Helper()
	memory, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	content := make([]byte, n)
	if _, err := memory.ReadAt(content, int64(from)); err != nil {
		t.Fatal(err)
	}
	return content
}

// findWord returns where eight bytes in a row of key are in the memory, or -1.
func findWord(memory, key []byte) int {
	for i := 0; i+8 <= len(key); i += 8 {
		if at := bytes.Index(memory, key[i:i+8]); at >= 0 {
			return at
		}
	}
	return -1
}
