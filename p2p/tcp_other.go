//go:build !linux

package p2p

import (
	"net"
	"syscall"
)

// Without Linux nothing is known of a connection, and maxSilence holds for each.

func repeatSoon(net.Conn) {}

func pathOf(net.Conn) pathInfo { return pathInfo{} }

func limitSegment(syscall.RawConn, int) error { return nil }
