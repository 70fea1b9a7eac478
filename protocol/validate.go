package protocol

import (
	"errors"
	"math"
	"path"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/distribution/reference"
)

// Bounds on a Service. Lengths are in bytes.
const (
	// MaxService is the most that a whole encoded service takes, as it does for
	// docker.
	MaxService = 1 << 20

	maxArgs    = 1024
	maxEnv     = 1024
	maxText    = 128<<10 - 1 // one argument or variable: the kernel's MAX_ARG_STRLEN less its NUL
	maxImage   = 512
	maxPath    = 4096
	maxUser    = 256
	maxCPUs    = 1 << 20
	maxMemory  = 1 << 60
	maxTimeout = 10 * 365 * 24 * time.Hour

	maxGrants     = 64 // mounts, devices or capabilities
	maxCapability = 32
	maxRetry      = 100
	maxHostname   = 64     // the kernel's HOST_NAME_MAX
	maxMode       = 0o7777 // permission bits
	maxLease      = time.Hour
)

// Bounds on what devices are called and labelled, in bytes.
const (
	maxName       = 128
	maxLabels     = 64
	maxLabelKey   = 63
	maxLabelValue = 255
)

// Validate checks that every field is well-formed and within bounds. The error
// is an *Error with CodeInvalid that names the field. It does not check whether
// any node could run it.
func (s *Service) Validate() error {
	if err := s.validateText(); err != nil {
		return err
	}
	if err := checkAmount("cpus", float64(s.CPUs), maxCPUs); err != nil {
		return err
	}
	if s.Memory > maxMemory {
		return Errorf(CodeInvalid, "memory: %d bytes is more than any device has", s.Memory)
	}
	if s.Timeout < 0 || s.Timeout > maxTimeout {
		return Errorf(CodeInvalid, "timeout: %v is out of bounds: 0 (none) to %v", s.Timeout, maxTimeout)
	}
	if s.Retry > maxRetry {
		return Errorf(CodeInvalid, "retry: %d attempts more, the most is %d", s.Retry, maxRetry)
	}
	if s.Retry > 0 && s.Stdin {
		return Errorf(CodeInvalid, "retry: a service that reads its input cannot be run again: what was read is gone")
	}
	if err := s.validateGrants(); err != nil {
		return err
	}
	if err := s.validateMemory(); err != nil {
		return err
	}
	if err := s.Constraints.validate(); err != nil {
		return err
	}
	if err := checkTags(s.Tags); err != nil {
		return err
	}
	if err := s.validateSecrets(); err != nil {
		return err
	}
	if n := s.EncodedSize(); n > MaxService {
		return Errorf(CodeInvalid, "service: it takes %d bytes, the most is %d: shorten args, env or secrets", n, MaxService)
	}
	return nil
}

func (s *Service) validateText() error {
	if err := checkText("image", s.Image, maxImage); err != nil {
		return err
	}
	if s.Image == "" {
		return Errorf(CodeInvalid, "image: it is missing")
	}
	if _, err := reference.ParseAnyReference(s.Image); err != nil {
		return Errorf(CodeInvalid, "image: %q: %v", s.Image, err)
	}
	if err := checkArgs(s.Args); err != nil {
		return err
	}
	if err := checkText("entrypoint", s.Entrypoint, maxPath); err != nil {
		return err
	}
	if err := checkEnv(s.Env); err != nil {
		return err
	}
	if err := checkText("workdir", s.WorkDir, maxPath); err != nil {
		return err
	}
	if s.WorkDir != "" && s.WorkDir[0] != '/' {
		return Errorf(CodeInvalid, "workdir: %q is not absolute: start it with /", s.WorkDir)
	}
	if err := s.validateStart(); err != nil {
		return err
	}
	return checkText("user", s.User, maxUser)
}

// validateStart checks what says how the container is begun.
func (s *Service) validateStart() error {
	switch {
	case s.NoEntrypoint && s.Entrypoint != "":
		return Errorf(CodeInvalid, "entrypoint: %q, and none at all", shorten(s.Entrypoint))
	case s.NoEntrypoint && len(s.Args) == 0:
		return Errorf(CodeInvalid, "entrypoint: it is emptied, and args name no command: nothing is left to run")
	case (s.TTYRows > 0 || s.TTYColumns > 0) && !s.TTY:
		return Errorf(CodeInvalid, "terminal: it has a size, and is not asked for")
	case s.Pull != PullMissing && s.Pull != PullAlways && s.Pull != PullNever:
		return Errorf(CodeInvalid, "pull: %q is none of missing, always and never", shorten(string(s.Pull)))
	}
	return checkHostname(s.Hostname)
}

// checkHostname checks a name for sethostname(2); it may be empty.
func checkHostname(name string) error {
	if len(name) > maxHostname {
		return Errorf(CodeInvalid, "hostname: %d bytes, the most is %d", len(name), maxHostname)
	}
	for i, c := range []byte(name) {
		if !alphanumeric(c) && (i == 0 || !strings.ContainsRune("-_.", rune(c))) {
			return Errorf(CodeInvalid, "hostname: %q must consist of letters, digits, '-', '_' and '.', the first a letter or a digit", name)
		}
	}
	return nil
}

// validateMemory checks the file systems in memory.
func (s *Service) validateMemory() error {
	if len(s.Tmpfs) > maxGrants {
		return Errorf(CodeInvalid, "tmpfs: %d of them, the most is %d", len(s.Tmpfs), maxGrants)
	}
	taken := make(map[string]bool, len(s.Mounts)+len(s.Tmpfs))
	for _, m := range s.Mounts {
		taken[m.Target] = true
	}
	for _, t := range s.Tmpfs {
		if err := checkAbsolute("tmpfs", t.Target); err != nil {
			return err
		}
		switch {
		case t.Size > maxMemory:
			return Errorf(CodeInvalid, "tmpfs: %s: %d bytes is more than any device has", shorten(t.Target), t.Size)
		case t.Mode > maxMode:
			return Errorf(CodeInvalid, "tmpfs: %s: the mode %#o is out of bounds: 0 to %#o", shorten(t.Target), t.Mode, maxMode)
		case taken[t.Target]:
			return Errorf(CodeInvalid, "tmpfs: %s is given twice", shorten(t.Target))
		}
		taken[t.Target] = true
	}
	if s.ShmSize > maxMemory {
		return Errorf(CodeInvalid, "shm_size: %d bytes is more than any device has", s.ShmSize)
	}
	return nil
}

// validateGrants checks what only a node's owner can grant.
func (s *Service) validateGrants() error {
	if err := checkWord("network", s.Network); err != nil {
		return err
	}
	if err := checkWord("accelerator", s.Accelerator); err != nil {
		return err
	}
	if n := max(len(s.Mounts), len(s.Devices), len(s.Capabilities)); n > maxGrants {
		return Errorf(CodeInvalid, "mounts, devices, capabilities: %d of them, the most is %d", n, maxGrants)
	}
	for _, m := range s.Mounts {
		if err := errors.Join(checkAbsolute("mount", m.Source), checkAbsolute("mount", m.Target)); err != nil {
			return err
		}
	}
	for _, d := range s.Devices {
		if err := checkAbsolute("device", d); err != nil {
			return err
		}
	}
	for _, c := range s.Capabilities {
		if c == "" || len(c) > maxCapability || strings.ContainsFunc(c, func(r rune) bool { return r != '_' && (r < 'A' || r > 'Z') }) {
			return Errorf(CodeInvalid, "capability: %q is none: write it as NET_ADMIN", shorten(c))
		}
	}
	return nil
}

// checkWord checks a name of something that a node knows; it may be empty.
func checkWord(field, s string) error { return checkWordOf(field, s, maxWord) }

func checkWordOf(field, s string, most int) error {
	if len(s) > most {
		return Errorf(CodeInvalid, "%s: %d bytes, the most is %d", field, len(s), most)
	}
	for _, c := range []byte(s) {
		if !alphanumeric(c) && !strings.ContainsRune("-_.", rune(c)) {
			return Errorf(CodeInvalid, "%s: %q must consist of letters, digits, '-', '_' and '.'", field, s)
		}
	}
	return nil
}

// checkAbsolute checks a path that means the same to everybody.
func checkAbsolute(field, p string) error {
	if err := checkText(field, p, maxPath); err != nil {
		return err
	}
	if p == "" || path.Clean(p) != p || p[0] != '/' {
		return Errorf(CodeInvalid, "%s: %q is not an absolute path without '.', '..' and doubled '/'", field, shorten(p))
	}
	return nil
}

func checkArgs(args []string) error {
	if len(args) > maxArgs {
		return Errorf(CodeInvalid, "args: %d of them, the most is %d", len(args), maxArgs)
	}
	for _, arg := range args {
		if err := checkText("args", arg, maxText); err != nil {
			return err
		}
	}
	return nil
}

func checkEnv(env []string) error {
	if len(env) > maxEnv {
		return Errorf(CodeInvalid, "env: %d variables, the most is %d", len(env), maxEnv)
	}
	for _, v := range env {
		if err := checkText("env", v, maxText); err != nil {
			return err
		}
		if name, _, ok := strings.Cut(v, "="); !ok || name == "" {
			return Errorf(CodeInvalid, "env: %q is not of the form NAME=value", shorten(v))
		}
	}
	return nil
}

func (c *Constraints) validate() error {
	if err := checkText("node", c.Node, maxName); err != nil {
		return err
	}
	if len(c.Labels) > maxLabels {
		return Errorf(CodeInvalid, "constraint: %d labels, the most is %d", len(c.Labels), maxLabels)
	}
	for k, v := range c.Labels {
		if err := ValidateLabel(k, v); err != nil {
			return err
		}
	}
	return nil
}

// ValidateLabel checks a label of a device, or of a constraint: a key has 1 to
// 63 characters of a-z, A-Z, 0-9, '-', '_', '.' and '/', a value at most 255
// bytes of printable text. The error is an *Error with CodeInvalid.
func ValidateLabel(key, value string) error {
	return checkPair("label", key, value, maxLabelValue)
}

// checkPair checks a label or a tag, whichever what says.
func checkPair(what, key, value string, most int) error {
	if key == "" || len(key) > maxLabelKey {
		return Errorf(CodeInvalid, "%s: a key has 1 to %d characters, %q has %d", what, maxLabelKey, shorten(key), len(key))
	}
	for _, c := range []byte(key) {
		if !alphanumeric(c) && !strings.ContainsRune("-_./", rune(c)) {
			return Errorf(CodeInvalid, "%s: the key %q must consist of letters, digits, '-', '_', '.' and '/'", what, key)
		}
	}
	if err := checkText(what+" "+key, value, most); err != nil {
		return err
	}
	if strings.ContainsFunc(value, unicode.IsControl) {
		return Errorf(CodeInvalid, "%s %s: the value %q has control characters", what, key, shorten(value))
	}
	return nil
}

// checkText checks that s is text that can be handed to an engine.
func checkText(field, s string, limit int) error {
	switch {
	case len(s) > limit:
		return Errorf(CodeInvalid, "%s: %d bytes, the most is %d", field, len(s), limit)
	case strings.IndexByte(s, 0) >= 0:
		return Errorf(CodeInvalid, "%s: %q holds a NUL byte", field, shorten(s))
	case !utf8.ValidString(s):
		return Errorf(CodeInvalid, "%s: %q is not valid UTF-8", field, shorten(s))
	}
	return nil
}

// checkAmount checks a number that counts something.
func checkAmount(field string, v, limit float64) error {
	if math.IsNaN(v) || v < 0 || v > limit {
		return Errorf(CodeInvalid, "%s: %v is out of bounds: 0 to %v", field, v, limit)
	}
	return nil
}

// shorten keeps errors readable: it cuts s after some 40 bytes.
func shorten(s string) string {
	const most = 40
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
