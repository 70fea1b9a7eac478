// Package api holds the JSON objects of requests and devices: the command prints
// them with --json, and the HTTP door answers them. It never reads or writes a
// stream itself.
//
//	protocol.RequestInfo ──NewRequest──▶ Request ──encoding/json──▶ {"id": …}
//
// Keys, types and units are stable: a key is never renamed or removed, and what
// is not known is left out. Times are RFC 3339, amounts whole bytes, durations
// milliseconds in keys that end in _ms, states and codes the words of the wire.
package api

import "time"

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// listed makes a list that JSON shows as one even where it is empty.
func listed(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// given leaves out a time that is not known.
func given(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
