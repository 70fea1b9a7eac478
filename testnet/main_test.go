package testnet_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/hearth-edge/hearth/testnet"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := testnet.Cleanup(); err != nil {
		fmt.Fprintln(os.Stderr, "clean up after the tests:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}
