package netif

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// settle is how long Watch waits for a burst of changes to end, which is not longer
// than settleMost: plugging in a cable makes about six within some milliseconds.
const settle, settleMost = 100 * time.Millisecond, time.Second

// listTries is how often the kernel is asked for a list: it breaks a list off
// while an interface comes or goes, as they do in bursts where containers run.
const listTries = 10

// system asks the kernel for all interfaces.
func system() ([]link, error) {
	found, err := whole(netlink.LinkList)
	if err != nil {
		return nil, err
	}
	addrs, err := whole(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, err
	}
	var all []link
	for _, f := range found {
		at := f.Attrs()
		l := link{
			Interface: Interface{
				Name:      at.Name,
				Index:     at.Index,
				Multicast: at.Flags&net.FlagMulticast != 0,
				Loopback:  at.Flags&net.FlagLoopback != 0,
			},
			up: at.RawFlags&unix.IFF_UP != 0 && at.RawFlags&unix.IFF_RUNNING != 0,
		}
		for _, a := range addrs {
			if a.LinkIndex == at.Index && a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED|unix.IFA_F_DEPRECATED) == 0 {
				if p, ok := prefix(a.IPNet); ok {
					l.Prefixes = append(l.Prefixes, p)
				}
			}
		}
		all = append(all, l)
	}
	return all, nil
}

// whole asks again where a list was broken off.
func whole[T any](list func() ([]T, error)) (all []T, err error) {
	for range listTries {
		if all, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return all, err
}

// prefix turns an address with its mask into the form of net/netip, unmasked.
func prefix(n *net.IPNet) (netip.Prefix, bool) {
	ip, ok := netip.AddrFromSlice(n.IP)
	if !ok {
		return netip.Prefix{}, false
	}
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(ip.Unmap(), ones), true
}

// Watch calls changed after links or addresses of this device changed, once
// for each burst of changes, until ctx ends; then it returns nil. changed is
// called by Watch's own goroutine. It returns an error when the kernel can't be
// listened to any more; changes may have been missed by then, so that the
// caller should List again and start another Watch.
func Watch(ctx context.Context, changed func()) error {
	news, err := subscribe()
	if err != nil {
		return fmt.Errorf("watch network interfaces: %w", err)
	}
	defer news.Close()
	defer context.AfterFunc(ctx, func() { news.Close() })()
	// List tells what there is now, so what a message says does not matter.
	buf := make([]byte, os.Getpagesize())
	for began := (time.Time{}); ; {
		_, err := news.Read(buf)
		now := time.Now()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			changed()
			began = time.Time{}
			err = news.SetReadDeadline(began)
		case err == nil, errors.Is(err, unix.ENOBUFS): // with that some were missed
			if began.IsZero() {
				began = now
			}
			err = news.SetReadDeadline(now.Add(min(settle, began.Add(settleMost).Sub(now))))
		}
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("watch network interfaces: %w", err)
		}
	}
}

// subscribe has the kernel tell of changes of links and addresses. It takes a
// socket of its own: the library's has 64 KiB on the stack of a goroutine, for as
// long as it waits.
func subscribe() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	to := &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR}
	if err := unix.Bind(fd, to); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "netlink"), nil
}
