package protocol

import (
	"slices"
	"strings"
)

// signals are those of signal(7), the real-time ones left out. Their numbers
// differ between architectures, so names cross the wire.
const signals = "ABRT ALRM BUS CHLD CONT FPE HUP ILL INT IO KILL PIPE PROF PWR QUIT SEGV " +
	"STKFLT STOP SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ"

// ParseSignal returns the name by which Session.Signal and Stop know the signal
// that a person wrote: "INT" for "int" and "SIGINT". The error is an *Error with
// CodeInvalid.
func ParseSignal(s string) (string, error) {
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	return name, checkSignal(name)
}

func checkSignal(name string) error {
	if !slices.Contains(strings.Fields(signals), name) {
		return Errorf(CodeInvalid, "signal: %q is not one: use a name such as TERM, INT, HUP or USR1", shorten(name))
	}
	return nil
}
