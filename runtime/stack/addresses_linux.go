package stack

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// watchAddresses implements host.watch by the kernel's news of IPv4 addresses; see
// rtnetlink(7). What they say is not read: the addresses are asked for anew.
func watchAddresses(ctx context.Context, changed func()) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("listen for changes of addresses: %w", err)
	}
	news := os.NewFile(uintptr(fd), "netlink")
	defer news.Close()
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_IPV4_IFADDR}); err != nil {
		return fmt.Errorf("listen for changes of addresses: %w", err)
	}
	defer context.AfterFunc(ctx, func() { news.Close() })()
	for message := make([]byte, os.Getpagesize()); ; {
		if _, err := news.Read(message); err != nil && !errors.Is(err, unix.ENOBUFS) { // some were missed
			return err
		}
		changed()
	}
}
