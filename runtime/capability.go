package runtime

import (
	"fmt"
	"slices"
	"strings"
)

// capabilityNames are those of capabilities(7), without CAP_.
const capabilityNames = "AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE DAC_READ_SEARCH " +
	"FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN NET_BIND_SERVICE " +
	"NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT SYS_CHROOT SYS_MODULE SYS_NICE " +
	"SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG WAKE_ALARM"

// EntrypointCapabilities are what the entrypoints of ordinary images need inside
// their own container, as root: they give files to the user whom they then become,
// listen on ports below 1024, and end their children. They reach nothing outside
// of it. Docker's own default also has NET_RAW, MKNOD, AUDIT_WRITE, SYS_CHROOT and
// SETFCAP.
func EntrypointCapabilities() []string {
	return []string{"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "NET_BIND_SERVICE"}
}

func isCapability(name string) bool {
	return slices.Contains(strings.Fields(capabilityNames), name)
}

// checkCapability knows no ALL: an owner names what is to be given.
func checkCapability(name string) error {
	if isCapability(name) {
		return nil
	}
	if short := strings.TrimPrefix(strings.ToUpper(name), "CAP_"); isCapability(short) {
		return fmt.Errorf("%q: write it %q", name, short)
	}
	return fmt.Errorf("%q is no capability: 'man 7 capabilities' lists them; each is named by itself, without CAP_", name)
}
