package forward

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// maxOwners bounds how many processes are looked through.
const maxOwners = 4096

// owner returns which program has a port of this device, as far as this user may
// see it; else "".
func owner(port uint16, udp bool) string {
	inodes := make(map[string]bool)
	for _, file := range []string{"tcp", "tcp6"} {
		if udp {
			file = strings.Replace(file, "tcp", "udp", 1)
		}
		socketsOn(filepath.Join("/proc/net", file), port, udp, inodes)
	}
	if len(inodes) == 0 {
		return ""
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return ""
	}
	for _, dir := range processes[:min(len(processes), maxOwners)] {
		files, err := os.ReadDir(filepath.Join(dir, "fd"))
		if err != nil {
			continue // another user's, or gone
		}
		for _, f := range files {
			link, err := os.Readlink(filepath.Join(dir, "fd", f.Name()))
			if err == nil && inodes[link] {
				name, _ := os.ReadFile(filepath.Join(dir, "comm"))
				return fmt.Sprintf("%s (process %s)", strings.TrimSpace(string(name)), filepath.Base(dir))
			}
		}
	}
	return ""
}

// socketsOn adds the sockets of a table of /proc/net that listen on the port.
func socketsOn(file string, port uint16, udp bool, inodes map[string]bool) {
	table, err := os.Open(file)
	if err != nil {
		return
	}
	defer table.Close()
	const listens = "0A"
	for lines := bufio.NewScanner(table); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) < 10 || !udp && f[3] != listens {
			continue
		}
		_, text, _ := strings.Cut(f[1], ":")
		if n, err := strconv.ParseUint(text, 16, 16); err == nil && uint16(n) == port {
			inodes["socket:["+f[9]+"]"] = true
		}
	}
}
