package testnet

import (
	goruntime "runtime"
	"testing"
)

// Attacker returns the path of the program that attacks devices; its package
// comment tells how.
func Attacker(t testing.TB) string {
	t.Helper()
	return built(t, "attack", "./testnet/attack", goruntime.GOARCH)
}
