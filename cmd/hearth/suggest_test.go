package main

import (
	"slices"
	"testing"
)

func TestSuggestionsAreOneEditAwayOrABeginning(t *testing.T) {
	verbs := []string{"up", "down", "run", "rm", "ps", "logs", "wait", "inspect", "explain", "events", "status", "stop", "completion"}
	for typed, want := range map[string][]string{
		"rn": {"run", "rm"}, "rnu": {"run"}, "Run": nil, "bogus": nil, "walk": nil, "inspekt": {"inspect"}, "log": {"logs"},
		"stat": {"status"}, "x": nil, "statsu": {"status"}, "conpletian": {"completion"}, "stoq": {"stop"}, "": nil,
	} {
		if got := suggestions(typed, verbs); !slices.Equal(got, want) {
			t.Errorf("%q: %q is suggested, want %q", typed, got, want)
		}
	}
}
