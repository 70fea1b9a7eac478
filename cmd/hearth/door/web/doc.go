// Package web is Hearth's own HTTP API and the page that uses it. New returns the
// handler; package door says who may ask, and how much.
//
//	/v1/…             the API: what protocol.App can do, as JSON
//	/v1/openapi.yaml  what it is in detail; each answer is held against it in tests
//	/                 the page
//
// Its JSON is that of the command. Lists that are watched, events and output are
// lines of JSON: they end when the client goes, or says so in a last line.
package web
