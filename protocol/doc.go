// Package protocol is what nodes and apps say to each other: the messages, their
// framing, and both ends of each conversation over a plain Stream. It knows
// nothing of libp2p's hosts, of Docker or of scheduling, and the generated code
// of the messages (package pb) never shows in what it exports.
//
//	app ──/hearth/app/1.0.0──▶ its device ──/hearth/execute/1.0.0──▶ a node
//	    AppClient     ServeApp            ExecuteClient    ServeExecute
//	     (an App)  →  an App               (an Executor) →  an Executor
//
// Both ends meet the same interface (App, Executor), so that a request runs the
// same way on this device, by a direct call, as on another one. What runs is a
// Session; a Feed is what an implementation fills to have one that any number
// of readers can follow. What can be asked of a request later on is Requests: an
// app asks its device (AppClient), which asks the others (RequestsClient, answered
// by ServeExecute).
//
// # A conversation
//
// One stream carries one conversation. The asker opens it and sends one first
// frame, which holds the verb; the other side sends one Answer; what follows
// depends on the verb.
//
//	asker                                    device or node
//	  │ ExecuteRequest{offer|attach|requests}     │
//	  │ AppRequest{token, run|devices|diagnose    │
//	  │            |requests}                     │
//	  │ ────────────────────────────────────────▶ │
//	  │       Answer{accepted | refusal | error}  │
//	  │ ◀──────────────────────────────────────── │
//	  │                                           │   a session:
//	  │ Wish{input ⏎ bytes | close_input | stop   │
//	  │      | signal | resize}                   │
//	  │ ────────────────────────────────────────▶ │
//	  │ Update{event | output ⏎ bytes | decision  │
//	  │        | credit | input_closed | error    │
//	  │        | complete}                        │
//	  │ ◀──────────────────────────────────────── │
//	  │                  half-close               │   after the last update
//	  │ ◀──────────────────────────────────────── │
//	  │                                           │   a list:
//	  │ DevicesItem|ChecksItem|RequestsItem{…}    │
//	  │ ◀──────────────────────────────────────── │
//	  │ …Item{complete | error}, half-close       │
//	  │ ◀──────────────────────────────────────── │
//
// # Frames
//
// A frame is a protobuf message after its length, an unsigned varint of at most
// three bytes. A Data message (as input or output) is followed by exactly as many
// raw bytes as its length says, which are not part of the frame.
//
//	┌────────────────┬───────────────────┐
//	│ length, uvarint│ message, ≤ 64 KiB │
//	└────────────────┴───────────────────┘
//	┌────────────────┬───────────────────────────────┬──────────────────────┐
//	│ length, uvarint│ …{Data{channel, length=n, …}} │ n raw bytes, ≤ 256 KiB│
//	└────────────────┴───────────────────────────────┴──────────────────────┘
//
// pb/hearth.proto is the form of every message. DESIGN.md tells who may send
// which when, all limits and timeouts, and why.
package protocol
