//go:build !linux

package docker

import (
	"context"
	"io/fs"
	"net"
)

// dialInNamespace needs Linux.
func dialInNamespace(context.Context, string, string, uint16) (net.Conn, error) {
	return nil, fs.ErrPermission
}

// signalProcess needs Linux.
func signalProcess(int, string, string) error { return fs.ErrPermission }
