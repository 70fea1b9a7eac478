package main

import (
	"os"
	"testing"

	"github.com/hearth-edge/hearth/protocol/pb"
)

// The JavaScript client speaks of all that hearth.proto does.
func TestTheClientsTablesAreFresh(t *testing.T) {
	want, err := tables(pb.File_hearth_proto)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../../testnet/js/schema.mjs")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("testnet/js/schema.mjs is not what hearth.proto says: run 'go run ./protocol/pb/tables >testnet/js/schema.mjs' ('make generate' does)")
	}
}
