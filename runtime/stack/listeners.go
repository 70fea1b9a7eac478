package stack

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// listener is a socket of this machine that something listens on.
type listener struct {
	address netip.Addr
	port    uint16
	udp     bool
	inode   string
}

// The states of sockets in /proc/net that listen: of TCP, and of UDP one that is
// not connected.
const (
	tcpListens = "0A"
	udpListens = "07"
)

// findListeners reads them from the kernel. What cannot be read is left out.
func findListeners() []listener {
	var all []listener
	for _, name := range []string{"tcp", "tcp6", "udp", "udp6"} {
		f, err := os.Open("/proc/net/" + name)
		if err != nil {
			continue
		}
		all = append(all, parseListeners(f, strings.HasPrefix(name, "udp"))...)
		f.Close()
	}
	return all
}

// parseListeners reads a table such as /proc/net/tcp; see proc(5).
func parseListeners(r io.Reader, udp bool) []listener {
	want := tcpListens
	if udp {
		want = udpListens
	}
	var all []listener
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 10 || f[3] != want {
			continue
		}
		host, port, _ := strings.Cut(f[1], ":")
		address, ok := parseHexAddress(host)
		number, err := strconv.ParseUint(port, 16, 16)
		if ok && err == nil {
			all = append(all, listener{address: address, port: uint16(number), udp: udp, inode: f[9]})
		}
	}
	return all
}

// parseHexAddress reads an address as the kernel writes it: 32-bit words in the
// machine's order, which is little-endian wherever hearth runs.
func parseHexAddress(text string) (netip.Addr, bool) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != 4 && len(raw) != 16 {
		return netip.Addr{}, false
	}
	for word := range slices.Chunk(raw, 4) {
		slices.Reverse(word)
	}
	a, ok := netip.AddrFromSlice(raw)
	return a.Unmap(), ok
}

// blocks reports whether the listener keeps another from the address and port.
func (l *listener) blocks(at netip.Addr, port uint16, udp bool) bool {
	if l.port != port || l.udp != udp {
		return false
	}
	// A socket on all of IPv6 mostly has all of IPv4, too.
	return l.address.IsUnspecified() || l.address == at || at.IsUnspecified() && at.Is4() == l.address.Is4()
}

// owner names the program of a socket, as far as this process may see it.
func (l *listener) owner() string {
	want := "socket:[" + l.inode + "]"
	programs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range programs {
		files, err := os.ReadDir(filepath.Join(dir, "fd"))
		if err != nil {
			continue
		}
		for _, f := range files {
			if to, err := os.Readlink(filepath.Join(dir, "fd", f.Name())); err == nil && to == want {
				name, _ := os.ReadFile(filepath.Join(dir, "comm"))
				return programName(strings.TrimSpace(string(name)), filepath.Base(dir))
			}
		}
	}
	return "another program"
}

func programName(name, pid string) string {
	if name == "docker-proxy" {
		return fmt.Sprintf("a container of the engine (docker-proxy, PID %s)", pid)
	}
	return fmt.Sprintf("%q (PID %s)", name, pid)
}
