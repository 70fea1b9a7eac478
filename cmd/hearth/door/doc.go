// Package door is the ways into a device beside its libp2p endpoint: what all of
// them share. Server listens for HTTP, knows who may do what, and bounds what one
// client can take; Tokens keeps the tokens and their rights; Problem is how a door
// says no. What a door offers is in the packages below: web is Hearth's own API and
// its page.
//
// A door stands on protocol.App, in process. It decides nothing about requests and
// keeps nothing of them.
//
//	client ──▶ listener (conns.go) ──▶ Host, origin, rights (server.go) ──▶ a door's handler ──▶ protocol.App
package door
