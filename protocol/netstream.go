package protocol

import (
	"net"
)

// NetStream returns a connection of TCP, UDP or a unix socket as a Stream. A
// connection that cannot be half-closed goes on after CloseWrite.
func NetStream(c net.Conn) Stream { return netStream{c} }

type netStream struct{ net.Conn }

func (s netStream) CloseWrite() error {
	if half, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Reset has the other side see an error, where that can be.
func (s netStream) Reset() error {
	if tcp, ok := s.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	return s.Close()
}
