package main

import (
	"strings"
	"testing"

	"github.com/hearth-edge/hearth/protocol"
)

// TestNamesAreToldOfThoseThatAreMeant: a refusal that has nothing to do with a name
// repeats nothing of what doctor knows of others.
func TestNamesAreToldOfThoseThatAreMeant(t *testing.T) {
	ds := []protocol.Device{
		{Status: protocol.Status{Node: "12D3Nas", Name: "nas", CopyAddress: "10.0.0.7"}},
		{Status: protocol.Status{Node: "12D3Ab3x", Name: "tv-Ab3x", ClaimedName: "tv"}},
	}
	const copied = "another device, at 10.0.0.7, runs with a copy of the state folder of nas: 'hearth doctor' says what to do\n"
	const claims = "tv-Ab3x claims the name tv, which is another device's; if that one is no more: 'hearth forget tv'\n"
	for name, want := range map[string]string{"nas": copied, "12D3Nas": copied, "tv": claims, "tv-Ab3x": claims, "attic": ""} {
		var told strings.Builder
		if tellNames(&told, calledSo(ds, name)); told.String() != want {
			t.Errorf("of %s it is told %q, want %q", name, told.String(), want)
		}
	}
}
