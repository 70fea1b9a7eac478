// Package forward listens on ports of this device for containers that run on
// another one: each connection is carried by a stream that its Dial opens.
//
// TCP and UDP serve one listener. Ports keeps a listener for each port that a
// stack of another node publishes, on the addresses of this device where it
// belongs, as stacks, nodes and network interfaces come and go.
//
//	Set, netif -> Ports.Run -> listeners -> TCP, UDP -> Dial -> protocol.Join
//
// Run's goroutine owns the table of listeners. Nothing is polled; only a port
// that another program has is tried again from time to time.
//
// The package knows nothing of stacks but their names, and never decides which
// node has one.
package forward
