package netif

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// settle is how long Watch waits for a burst of changes to end: plugging in a
// cable makes about six within some milliseconds.
const settle = 100 * time.Millisecond

// listTries is how often the kernel is asked for a list: it breaks a list off
// while an interface comes or goes, as they do in bursts where containers run.
const listTries = 10

// errWatchEnded is what Watch returns when the kernel ends the subscription,
// as it does when events come faster than they are read.
var errWatchEnded = errors.New("the kernel ended the subscription to network changes")

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
	done := make(chan struct{})
	links, addrs := make(chan netlink.LinkUpdate, 16), make(chan netlink.AddrUpdate, 16)
	// Both subscriptions end with done; each closes its channel when it has
	// ended, and until then must be read or it would hang for ever.
	defer func() {
		close(done)
		for range links {
		}
		for range addrs {
		}
	}()
	if err := netlink.LinkSubscribe(links, done); err != nil {
		close(links)
		close(addrs)
		return fmt.Errorf("watch network interfaces: %w", err)
	}
	if err := netlink.AddrSubscribe(addrs, done); err != nil {
		close(addrs)
		return fmt.Errorf("watch network addresses: %w", err)
	}
	quiet := time.NewTimer(settle)
	quiet.Stop()
	defer quiet.Stop()
	for {
		open := true
		select {
		case <-ctx.Done():
			return nil
		case _, open = <-links:
			quiet.Reset(settle)
		case _, open = <-addrs:
			quiet.Reset(settle)
		case <-quiet.C:
			changed()
		}
		if !open {
			return errWatchEnded
		}
	}
}
