// Package stacks tests a stack of real software, from Debian's packages, on a node
// with an engine of its own: what is killed, from a container to the whole machine,
// answers again, and nothing that was committed is lost.
package stacks
