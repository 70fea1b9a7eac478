//go:build !linux

package p2p

import "net"

// Without Linux nothing is known of a connection, and maxSilence holds for each.

func repeatSoon(net.Conn) {}

func pathOf(net.Conn) pathInfo { return pathInfo{} }
