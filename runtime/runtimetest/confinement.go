package runtimetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/hearth-edge/hearth/runtime"
)

// confinement is what a container sees of its own limits, from inside.
var confinement = []testCase{
	{"Capabilities", testCapabilities},
	{"ProcessLimit", testProcessLimit},
	{"MaskedPaths", testMaskedPaths},
	{"Devices", testDevices},
	{"Namespaces", testNamespaces},
}

// see runs a shell script and returns what it wrote.
func (s suite) see(t *testing.T, spec runtime.Spec, script string) string {
	t.Helper()
	spec.Args = s.script.Shell(script)
	stdout, stderr := readAll(t, s.start(t, spec).Output)
	if stderr != "" {
		t.Errorf("%s: %s", spec.ID.Request, stderr)
	}
	return stdout
}

// testCapabilities: root has those of the spec and no others, another user none;
// neither can get more, and seccomp filters what they call.
func testCapabilities(t *testing.T, s suite) {
	const script = `grep -E '^(Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\t'`
	given := []string{"CHOWN", "SETUID", "NET_BIND_SERVICE"}
	all := uint64(1<<unix.CAP_CHOWN | 1<<unix.CAP_SETUID | 1<<unix.CAP_NET_BIND_SERVICE)
	for _, c := range []struct {
		name, user   string
		capabilities []string
		effective    uint64
		bounding     uint64
	}{
		{"root", "", given, all, all},
		{"root-without", "", nil, 0, 0},
		{"user", "1234:1234", given, 0, all},
		{"user-without", "1234:1234", nil, 0, 0},
	} {
		spec := s.spec(c.name, nil)
		spec.User, spec.Capabilities = c.user, c.capabilities
		got := strings.Fields(s.see(t, spec, script))
		for _, want := range []string{
			fmt.Sprintf("CapPrm:%016x", c.effective), fmt.Sprintf("CapEff:%016x", c.effective),
			fmt.Sprintf("CapBnd:%016x", c.bounding), "CapAmb:0000000000000000", "NoNewPrivs:1", "Seccomp:2",
		} {
			if !slices.Contains(got, want) {
				t.Errorf("%s: %s is missing in %q", c.name, want, got)
			}
		}
	}
}

// testProcessLimit: a container that starts ever more processes is stopped at its
// limit, its own init process included.
func testProcessLimit(t *testing.T, s suite) {
	spec := s.spec("bomb", nil)
	spec.Pids = 16
	spec.Args = s.script.Shell(`for i in $(seq 100); do sleep 60 & echo started; done`)
	stdout, stderr := readAll(t, s.start(t, spec).Output)
	if n := strings.Count(stdout, "started\n"); n < 4 || n > int(spec.Pids) || !strings.Contains(stderr, "fork") {
		t.Errorf("%d processes of at most %d were started, and it said %q", n, spec.Pids, stderr)
	}
}

// testMaskedPaths: nothing of the kernel can be changed, nor read where that tells
// of the machine.
func testMaskedPaths(t *testing.T, s suite) {
	spec := s.spec("masked", nil)
	spec.Capabilities = runtime.EntrypointCapabilities()
	got := s.see(t, spec, `for f in /proc/kcore /proc/keys /proc/timer_list; do test -e $f && head -c 1 $f 2>/dev/null | wc -c; done | sort -u
ls /sys/firmware /proc/acpi /proc/scsi 2>/dev/null | grep -v '^/' | grep -c .
for f in /proc/sys/kernel/domainname /proc/sysrq-trigger /proc/sys/vm/swappiness /sys/kernel/profiling; do (echo 0 >$f) 2>/dev/null && echo "wrote $f"; done
echo end`)
	if got != "0\n0\nend\n" {
		t.Errorf("%q", got)
	}
}

// testDevices: there are the harmless devices, and no others can be made.
func testDevices(t *testing.T, s suite) {
	spec := s.spec("devices", nil)
	spec.Capabilities = runtime.EntrypointCapabilities()
	got := strings.Fields(s.see(t, spec, `ls /dev; mknod /tmp/disk b 8 0 2>/dev/null && echo made; true`))
	harmless := strings.Fields("core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero")
	for _, name := range got {
		if !slices.Contains(harmless, name) {
			t.Errorf("it has %q among %q", name, got)
		}
	}
}

// testNamespaces: a container sees its own processes and network only.
func testNamespaces(t *testing.T, s suite) {
	got := s.see(t, s.spec("own", nil), `ls /sys/class/net; cat /proc/1/comm | grep -vc init; test $(ls /proc | grep -c '^[0-9]') -lt 8 && echo few; cut -d: -f3 /proc/self/cgroup | sort -u`)
	if got != "lo\n0\nfew\n/\n" {
		t.Errorf("%q", got)
	}
}
