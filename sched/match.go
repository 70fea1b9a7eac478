package sched

import "github.com/hearth-edge/hearth/protocol"

// Match returns why the device that s speaks of can never run the service, or
// nil if it can. self says that it is the orchestrator's own device.
func Match(service *protocol.Service, s *protocol.Score, self bool) *protocol.Refusal { return nil }

// Room returns why the device has no room for the service right now, with
// CodeBusy, or nil if it has.
func Room(service *protocol.Service, s *protocol.Score) *protocol.Refusal { return nil }

// Rate returns the rating for the inputs in s: higher is better.
func (p Params) Rate(s *protocol.Score) float64 { return 0 }
