package compose

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/hearth-edge/hearth/protocol"
)

// gpu is the accelerator that GPU requests ask for.
const gpu = "gpu"

// resources reads limits and reservations, in the short keys and under deploy.
func (s *serviceReader) resources() {
	s.out.CPUs = cores(s.in.CPUS)
	if s.in.CPUQuota > 0 && s.out.CPUs == 0 {
		period := s.in.CPUPeriod
		if period <= 0 {
			period = 100_000 // the kernel's default, in µs
		}
		s.out.CPUs = protocol.Cores(float64(s.in.CPUQuota) / float64(period))
	}
	s.out.CPUShares = uint32(min(max(s.in.CPUShares, 0), math.MaxUint32))
	s.out.Memory = s.bytes(s.in.MemLimit, "mem_limit")
	s.out.ReservedMemory = s.bytes(s.in.MemReservation, "mem_reservation")
	s.out.Pids = max(s.in.PidsLimit, -1)
	s.out.OOMScore = int(s.in.OomScoreAdj)
	for _, d := range s.in.Gpus {
		s.accelerator(d, "gpus")
	}
	if s.in.Deploy == nil {
		return
	}
	if l := s.in.Deploy.Resources.Limits; l != nil {
		if l.NanoCPUs > 0 {
			s.out.CPUs = cores(l.NanoCPUs.Value())
		}
		if l.MemoryBytes > 0 {
			s.out.Memory = s.bytes(l.MemoryBytes, "deploy.resources.limits.memory")
		}
		if l.Pids != 0 {
			s.out.Pids = max(l.Pids, -1)
		}
	}
	if v := s.in.Deploy.Resources.Reservations; v != nil {
		s.out.ReservedCPUs = cores(v.NanoCPUs.Value())
		if v.MemoryBytes > 0 {
			s.out.ReservedMemory = s.bytes(v.MemoryBytes, "deploy.resources.reservations.memory")
		}
		for _, d := range v.Devices {
			s.accelerator(d, "deploy.resources.reservations.devices")
		}
	}
}

// cores takes over the decimal digits of a float32, so that 0.1 stays 0.1.
func cores(f float32) protocol.Cores {
	c, err := strconv.ParseFloat(strconv.FormatFloat(float64(f), 'g', -1, 32), 64)
	if err != nil || !(c > 0) || math.IsInf(c, 0) {
		return 0
	}
	return protocol.Cores(c)
}

// bytes reads an amount; -1 is no limit.
func (s *serviceReader) bytes(n types.UnitBytes, name string) protocol.Bytes {
	if n < -1 {
		s.refuseKey(name, "an amount is not negative", "write it like 512m")
	}
	return protocol.Bytes(max(n, 0))
}

func (s *serviceReader) accelerator(d types.DeviceRequest, at string) {
	for _, c := range d.Capabilities {
		switch c {
		case gpu, "nvidia", "compute", "utility", "video", "graphics", "display", "compat32", "ngx":
		default:
			s.refuseKey(at, fmt.Sprintf("no device can be asked for by %q", clip(c)), "write capabilities: [gpu], or name the device under devices:")
			return
		}
	}
	switch d.Driver {
	case "", "nvidia", "amd", "cdi":
	default:
		s.refuseKey(at, fmt.Sprintf("there is no device driver %s", clip(d.Driver)), "leave it out, or name the device under devices:")
		return
	}
	if len(d.IDs) > 0 || d.Count > 1 {
		s.warn(s.path(strings.Split(at, ".")...), "the service gets the node's GPU: which and how many is left out")
	}
	s.out.Accelerator = gpu
}

// isolation reads what only a node gives whose owner allows it, and what the
// kernel is told.
func (s *serviceReader) isolation() {
	s.out.CapAdd, s.out.CapDrop = capabilities(s.in.CapAdd), capabilities(s.in.CapDrop)
	for _, d := range s.in.Devices {
		s.device(d)
	}
	s.namespaces()
	s.runtime()
	s.platform()
	for _, o := range s.in.SecurityOpt {
		s.securityOption(o)
	}
	if len(s.in.Sysctls) > 0 {
		s.out.Sysctls = s.in.Sysctls
	}
	for _, name := range slices.Sorted(maps.Keys(s.in.Ulimits)) {
		u := s.in.Ulimits[name]
		if u == nil {
			continue
		}
		out := protocol.Ulimit{Name: name, Soft: int64(u.Soft), Hard: int64(u.Hard)}
		if u.Single != 0 {
			out.Soft, out.Hard = int64(u.Single), int64(u.Single)
		}
		s.out.Ulimits = append(s.out.Ulimits, out)
	}
}

func capabilities(names []string) []string {
	var out []string
	for _, n := range names {
		if n = strings.TrimPrefix(strings.ToUpper(n), "CAP_"); !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

func (s *serviceReader) device(d types.DeviceMapping) {
	if !strings.HasPrefix(d.Source, "/") {
		s.refuseItem(d.Source, s.path("devices"), fmt.Sprintf("%q is no device file", clip(d.Source)), "write it like /dev/ttyUSB0; for a GPU write gpus: all")
		return
	}
	out := protocol.StackDevice{Source: d.Source, Permissions: d.Permissions}
	if d.Target != d.Source {
		out.Target = d.Target
	}
	if out.Permissions == "rwm" {
		out.Permissions = "" // what compose gives where the file says nothing
	}
	s.out.Devices = append(s.out.Devices, out)
}

func (s *serviceReader) namespaces() {
	switch s.in.Pid {
	case "", "private":
	case "host":
		s.out.PIDMode = "host"
	default:
		s.refuseKey("pid", "processes are not shared between services", "leave it out, or write host")
	}
	switch s.in.Ipc {
	case "", "private", "shareable":
	case "host":
		s.out.IPCMode = "host"
	default:
		s.refuseKey("ipc", "shared memory is not shared between services", "leave it out, or write host")
	}
	if s.in.Cgroup != "" && s.in.Cgroup != "private" {
		s.refuseKey("cgroup", "the node owns its cgroups", "leave it out")
	}
	if s.in.Isolation != "" && s.in.Isolation != "default" {
		s.refuseKey("isolation", "it is Windows' own", "leave it out")
	}
}

func (s *serviceReader) runtime() {
	switch s.in.Runtime {
	case "", "runc", "io.containerd.runc.v2":
	case "nvidia":
		s.out.Accelerator = gpu
	default:
		s.refuseKey("runtime", fmt.Sprintf("nodes have no runtime %s", clip(s.in.Runtime)), "leave it out; for a GPU write gpus: all")
	}
}

// platform asks for a node of an architecture.
func (s *serviceReader) platform() {
	if s.in.Platform == "" {
		return
	}
	os, arch, ok := strings.Cut(s.in.Platform, "/")
	if !ok {
		os, arch = "linux", s.in.Platform
	}
	if os != "linux" {
		s.refuseKey("platform", fmt.Sprintf("nodes run linux, not %s", clip(os)), "choose an image for linux")
		return
	}
	s.label("arch", architecture(arch), s.path("platform")...)
}

// architecture names an architecture as nodes do.
func architecture(name string) string {
	name, _, _ = strings.Cut(name, "/") // arm/v7
	switch name {
	case "x86_64", "x86-64":
		return "amd64"
	case "aarch64":
		return "arm64"
	case "armhf", "armel":
		return "arm"
	}
	return name
}

func (s *serviceReader) securityOption(text string) {
	name, value, ok := strings.Cut(text, "=")
	if !ok {
		name, value, ok = strings.Cut(text, ":")
	}
	switch {
	case name == "no-new-privileges" && (!ok || value == "true"):
		// Every container has it.
	case (name == "seccomp" || name == "apparmor") && value == "unconfined":
		if !slices.Contains(s.out.Unconfined, name) {
			s.out.Unconfined = append(s.out.Unconfined, name)
		}
	case name == "label" && value == "disable":
		s.warn(s.path("security_opt"), "%s is left out: the node labels what it lends", clip(text))
	default:
		s.refuseItem(text, s.path("security_opt"), fmt.Sprintf("%q is not given", clip(text)), "use cap_add for what the service needs, or seccomp:unconfined")
	}
}
