// Package pb holds the code that protoc makes of hearth.proto, which is where
// the messages are documented. Only package protocol uses it.
package pb
