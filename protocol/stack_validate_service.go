package protocol

import (
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/distribution/reference"
)

// networkOfService begins a NetworkMode that names another service.
const networkOfService = "service:"

// validate checks the service as it stands in a stack of these parts.
func (svc *StackService) validate(parts *stackParts) error {
	for _, check := range []func() error{
		svc.validateImage, svc.validateLists, svc.validateStart, svc.validateHealth,
		func() error { return svc.validateDependencies(parts) },
		func() error { return svc.validateNetworks(parts) },
		svc.validatePorts, svc.validateNames,
		func() error { return svc.validateMounts(parts) },
		svc.validateAmounts, svc.validateGrants,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (svc *StackService) validateImage() error {
	if svc.Image == "" {
		return Errorf(CodeInvalid, "image: it is missing")
	}
	if err := checkText("image", svc.Image, maxImage); err != nil {
		return err
	}
	if _, err := reference.ParseAnyReference(svc.Image); err != nil {
		return Errorf(CodeInvalid, "image: %q: %v", shorten(svc.Image), err)
	}
	if svc.Pull != PullMissing && svc.Pull != PullAlways && svc.Pull != PullNever {
		return Errorf(CodeInvalid, "pull: %q is none of missing, always and never", shorten(string(svc.Pull)))
	}
	return nil
}

// validateLists bounds every list that has no check of its own.
func (svc *StackService) validateLists() error {
	for _, l := range []struct {
		field string
		n     int
	}{
		{"aliases", len(svc.Aliases)}, {"group_add", len(svc.GroupAdd)}, {"depends_on", len(svc.DependsOn)},
		{"networks", len(svc.Networks)}, {"expose", len(svc.Expose)}, {"extra_hosts", len(svc.ExtraHosts)},
		{"dns", len(svc.DNS)}, {"dns_search", len(svc.DNSSearch)}, {"dns_options", len(svc.DNSOptions)},
		{"mounts", len(svc.Mounts)}, {"devices", len(svc.Devices)}, {"cap_add", len(svc.CapAdd)}, {"cap_drop", len(svc.CapDrop)},
		{"unconfined", len(svc.Unconfined)}, {"sysctls", len(svc.Sysctls)}, {"ulimits", len(svc.Ulimits)},
		{"labels", len(svc.Labels)},
	} {
		if err := checkCount(l.field, l.n, maxList); err != nil {
			return err
		}
	}
	return checkCount("ports", len(svc.Ports), maxStackPorts)
}

// validateStart checks what says how its container begins and ends.
func (svc *StackService) validateStart() error {
	if err := checkArgs(svc.Command); err != nil {
		return err
	}
	if err := checkArgs(svc.Entrypoint); err != nil {
		return err
	}
	if err := checkEnv(svc.Env); err != nil {
		return err
	}
	if svc.WorkDir != "" {
		if err := checkText("workdir", svc.WorkDir, maxPath); err != nil {
			return err
		}
		if svc.WorkDir[0] != '/' {
			return Errorf(CodeInvalid, "workdir: %q is not absolute: start it with /", shorten(svc.WorkDir))
		}
	}
	if err := checkLine("user", svc.User, maxUser); err != nil {
		return err
	}
	for _, g := range svc.GroupAdd {
		if err := checkLine("group_add", g, maxUser); err != nil || g == "" {
			return Errorf(CodeInvalid, "group_add: %q is no group", shorten(g))
		}
	}
	switch svc.Restart {
	case RestartAlways, RestartOnFailure, RestartNo:
	default:
		return Errorf(CodeInvalid, "restart: %q is none of always, on-failure and no", shorten(string(svc.Restart)))
	}
	if svc.StopSignal != "" {
		if err := checkSignal(svc.StopSignal); err != nil {
			return err
		}
	}
	return checkTime("stop_grace", svc.StopGrace, maxGrace)
}

func (svc *StackService) validateHealth() error {
	h := svc.Health
	if h == nil {
		return nil
	}
	if err := checkCount("health: test", len(h.Test), maxHealthTest); err != nil {
		return err
	}
	for _, word := range h.Test {
		if err := checkText("health: test", word, maxText); err != nil {
			return err
		}
	}
	if len(h.Test) > 0 {
		kind, n := h.Test[0], len(h.Test)
		whole := kind == "NONE" && n == 1 || kind == "CMD" && n > 1 || kind == "CMD-SHELL" && n == 2
		if !whole {
			return Errorf(CodeInvalid, "health: test: write it like [CMD, curl, -f, http://localhost], or as one text")
		}
	}
	for field, m := range map[string]Milliseconds{
		"health: interval": h.Interval, "health: timeout": h.Timeout, "health: start_period": h.StartPeriod, "health: start_interval": h.StartInterval,
	} {
		if err := checkTime(field, m, maxHealthTime); err != nil {
			return err
		}
	}
	return checkAmount("health: retries", float64(h.Retries), maxRetries)
}

func (svc *StackService) validateDependencies(parts *stackParts) error {
	seen := make(map[string]bool)
	for _, d := range svc.DependsOn {
		switch {
		case d.Service == svc.Name:
			return Errorf(CodeInvalid, "depends_on: there is a cycle: %s → %s", svc.Name, svc.Name)
		case !parts.services[d.Service]:
			return Errorf(CodeInvalid, "depends_on: there is no service %q", shorten(d.Service))
		case seen[d.Service]:
			return Errorf(CodeInvalid, "depends_on: %s is named twice", d.Service)
		}
		seen[d.Service] = true
		switch d.Condition {
		case ConditionStarted, ConditionHealthy, ConditionCompleted:
		default:
			return Errorf(CodeInvalid, "depends_on: the condition %q is none of started, healthy and completed", shorten(string(d.Condition)))
		}
	}
	return nil
}

func (svc *StackService) validateNetworks(parts *stackParts) error {
	other, shares := strings.CutPrefix(svc.NetworkMode, networkOfService)
	switch {
	case svc.NetworkMode == "" || svc.NetworkMode == "none" || svc.NetworkMode == "host":
	case shares && other == svc.Name:
		return Errorf(CodeInvalid, "network_mode: %s cannot share its own network", svc.Name)
	case shares && !parts.services[other]:
		return Errorf(CodeInvalid, "network_mode: there is no service %q", shorten(other))
	case !shares:
		return Errorf(CodeInvalid, "network_mode: %q is none of none, host and service:NAME", shorten(svc.NetworkMode))
	}
	if svc.NetworkMode != "" && len(svc.Networks) > 0 {
		return Errorf(CodeInvalid, "networks: there are none with network_mode %s", svc.NetworkMode)
	}
	if (shares || svc.NetworkMode == "none") && len(svc.Ports) > 0 {
		return Errorf(CodeInvalid, "ports: none can be published with network_mode %s", svc.NetworkMode)
	}
	seen := make(map[string]bool)
	for _, n := range svc.Networks {
		switch {
		case !parts.networks[n.Network]:
			return Errorf(CodeInvalid, "networks: there is no network %q", shorten(n.Network))
		case seen[n.Network]:
			return Errorf(CodeInvalid, "networks: %s is named twice", n.Network)
		}
		seen[n.Network] = true
		if err := checkAliases(n.Aliases); err != nil {
			return err
		}
		if n.Address == "" {
			continue
		}
		if _, err := netip.ParseAddr(n.Address); err != nil {
			return Errorf(CodeInvalid, "networks: %s: the address %q is none", n.Network, shorten(n.Address))
		}
	}
	return nil
}

func checkAliases(aliases []string) error {
	if err := checkCount("aliases", len(aliases), maxList); err != nil {
		return err
	}
	for _, a := range aliases {
		if err := checkPart("aliases", a); err != nil {
			return err
		}
	}
	return nil
}

func (svc *StackService) validatePorts() error {
	for _, p := range svc.Ports {
		if p.Published == 0 || p.Target == 0 {
			return Errorf(CodeInvalid, "ports: %d:%d is out of range: 1 to 65535", p.Published, p.Target)
		}
		if p.HostIP == "" {
			continue
		}
		if _, err := netip.ParseAddr(p.HostIP); err != nil {
			return Errorf(CodeInvalid, "ports: %q is no address to listen on", shorten(p.HostIP))
		}
	}
	if slices.Contains(svc.Expose, 0) {
		return Errorf(CodeInvalid, "expose: 0 is out of range: 1 to 65535")
	}
	return nil
}

// validateNames checks what it and others are called to it.
func (svc *StackService) validateNames() error {
	if svc.Number > maxNumber {
		return Errorf(CodeInvalid, "number: %d is out of bounds: 1 to %d", svc.Number, maxNumber)
	}
	if err := checkAliases(svc.Aliases); err != nil {
		return err
	}
	if err := checkHostname(svc.Hostname); err != nil {
		return err
	}
	if err := checkLine("domain_name", svc.DomainName, maxPartFile); err != nil {
		return err
	}
	for _, h := range svc.ExtraHosts {
		name, addr, ok := strings.Cut(h, ":")
		if err := checkLine("extra_hosts", name, maxPartFile); err != nil || !ok || name == "" {
			return Errorf(CodeInvalid, "extra_hosts: %q is not of the form NAME:ADDRESS", shorten(h))
		}
		if _, err := netip.ParseAddr(strings.Trim(addr, "[]")); err != nil && addr != "host-gateway" {
			return Errorf(CodeInvalid, "extra_hosts: %s: %q is no address", shorten(name), shorten(addr))
		}
	}
	for _, d := range svc.DNS {
		if _, err := netip.ParseAddr(d); err != nil {
			return Errorf(CodeInvalid, "dns: %q is no address", shorten(d))
		}
	}
	return checkLines("dns_search and dns_options", slices.Concat(svc.DNSSearch, svc.DNSOptions), maxPartFile)
}

func checkLines(field string, list []string, limit int) error {
	for _, s := range list {
		if err := checkLine(field, s, limit); err != nil {
			return err
		}
		if s == "" {
			return Errorf(CodeInvalid, "%s: one is empty", field)
		}
	}
	return nil
}

func (svc *StackService) validateMounts(parts *stackParts) error {
	targets := make(map[string]bool)
	for i := range svc.Mounts {
		m := &svc.Mounts[i]
		if err := m.validate(parts); err != nil {
			return err
		}
		if targets[m.Target] {
			return Errorf(CodeInvalid, "mounts: %s is mounted twice", shorten(m.Target))
		}
		targets[m.Target] = true
	}
	if svc.ShmSize > maxMemory {
		return Errorf(CodeInvalid, "shm_size: %d bytes is more than any device has", svc.ShmSize)
	}
	return nil
}

var propagations = []string{"", "private", "rprivate", "shared", "rshared", "slave", "rslave"}

func (m *StackMount) validate(parts *stackParts) error {
	if err := checkAbsolute("mounts", m.Target); err != nil {
		return err
	}
	if m.Target == "/" {
		return Errorf(CodeInvalid, "mounts: nothing can be mounted over /")
	}
	switch m.Kind {
	case MountVolume:
		if !parts.volumes[m.Source] {
			return Errorf(CodeInvalid, "mounts: there is no volume %q", shorten(m.Source))
		}
	case MountFile:
		if !parts.files[m.Source] {
			return Errorf(CodeInvalid, "mounts: there is no file %q", shorten(m.Source))
		}
	case MountBind:
		if err := checkAbsolute("mounts", m.Source); err != nil {
			return err
		}
	case MountTmpfs:
		if m.Source != "" {
			return Errorf(CodeInvalid, "mounts: a tmpfs has no source, and %s has %q", shorten(m.Target), shorten(m.Source))
		}
	default:
		return Errorf(CodeInvalid, "mounts: %q is none of volume, bind, tmpfs and file", shorten(string(m.Kind)))
	}
	switch {
	case m.Subpath != "" && (m.Kind != MountVolume || path.IsAbs(m.Subpath) || path.Clean(m.Subpath) != m.Subpath || m.Subpath == ".." || strings.HasPrefix(m.Subpath, "../")):
		return Errorf(CodeInvalid, "mounts: %q is no folder within a volume", shorten(m.Subpath))
	case !slices.Contains(propagations, m.Propagation) || m.Propagation != "" && m.Kind != MountBind:
		return Errorf(CodeInvalid, "mounts: the propagation %q is none of a bind mount's", shorten(m.Propagation))
	case m.Size > maxMemory:
		return Errorf(CodeInvalid, "mounts: %s: %d bytes is more than any device has", shorten(m.Target), m.Size)
	case m.Mode > maxMode:
		return Errorf(CodeInvalid, "mounts: %s: the mode %#o is out of bounds: 0 to %#o", shorten(m.Target), m.Mode, maxMode)
	}
	return checkLines("mounts: owner", slices.DeleteFunc([]string{m.UID, m.GID, m.Subpath}, func(s string) bool { return s == "" }), maxPath)
}

func (svc *StackService) validateAmounts() error {
	return checkAmounts(
		amount{"cpus", float64(svc.CPUs), maxCPUs}, amount{"cpu_shares", float64(svc.CPUShares), maxShares},
		amount{"memory", float64(svc.Memory), maxMemory}, amount{"reserved_cpus", float64(svc.ReservedCPUs), maxCPUs},
		amount{"reserved_memory", float64(svc.ReservedMemory), maxMemory},
		amount{"pids", float64(max(svc.Pids, 0)), maxPids}, amount{"oom_score_adj", float64(max(svc.OOMScore, -svc.OOMScore)), 1000},
	)
}

// validateGrants checks what only a node's owner gives.
func (svc *StackService) validateGrants() error {
	if svc.Pids < -1 {
		return Errorf(CodeInvalid, "pids: %d is out of bounds: -1 is no limit", svc.Pids)
	}
	for _, d := range svc.Devices {
		if err := checkAbsolute("devices", d.Source); err != nil {
			return err
		}
		if d.Target != "" {
			if err := checkAbsolute("devices", d.Target); err != nil {
				return err
			}
		}
		if strings.Trim(d.Permissions, "rwm") != "" || len(d.Permissions) > 3 {
			return Errorf(CodeInvalid, "devices: %s: the permissions %q are none of r, w and m", shorten(d.Source), shorten(d.Permissions))
		}
	}
	if !slices.Contains([]string{"", "gpu", "npu"}, svc.Accelerator) {
		return Errorf(CodeInvalid, "accelerator: %q is none of gpu and npu", shorten(svc.Accelerator))
	}
	for _, c := range slices.Concat(svc.CapAdd, svc.CapDrop) {
		if c == "" || len(c) > maxCapability || strings.ContainsFunc(c, func(r rune) bool { return r != '_' && (r < 'A' || r > 'Z') }) {
			return Errorf(CodeInvalid, "capability: %q is none: write it as NET_ADMIN", shorten(c))
		}
	}
	for field, mode := range map[string]string{"pid_mode": svc.PIDMode, "ipc_mode": svc.IPCMode} {
		if mode != "" && mode != "host" {
			return Errorf(CodeInvalid, "%s: %q is not host", field, shorten(mode))
		}
	}
	for _, u := range svc.Unconfined {
		if u != "seccomp" && u != "apparmor" {
			return Errorf(CodeInvalid, "unconfined: %q is none of seccomp and apparmor", shorten(u))
		}
	}
	return svc.validateKernel()
}

// validateKernel checks what the kernel is told.
func (svc *StackService) validateKernel() error {
	for k, v := range svc.Sysctls {
		if err := checkPair("sysctls", k, v, maxLabelValue); err != nil {
			return err
		}
	}
	seen := make(map[string]bool)
	for _, u := range svc.Ulimits {
		if err := checkWord("ulimits", u.Name); err != nil {
			return err
		}
		if u.Name == "" || u.Soft < -1 || u.Hard < -1 || u.Hard >= 0 && u.Soft > u.Hard {
			return Errorf(CodeInvalid, "ulimits: %q with %d:%d makes no sense", u.Name, u.Soft, u.Hard)
		}
		if err := claim(seen, "ulimits", u.Name); err != nil {
			return err
		}
	}
	for k, v := range svc.Labels {
		if err := checkLabelText(k, v); err != nil {
			return err
		}
	}
	return nil
}

// checkLabelText checks a label of a container, which tools write with any text.
func checkLabelText(k, v string) error {
	if k == "" {
		return Errorf(CodeInvalid, "labels: one has no key")
	}
	if err := checkLine("labels", k, maxPartFile); err != nil {
		return err
	}
	return checkText("labels: "+shorten(k), v, maxPath)
}
