package docker

import (
	"fmt"
	"io/fs"
	"math"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"pgregory.net/rapid"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/machine"
)

// words mean something to the engine, to a policy, or to the file system below.
var words = []string{
	"", "host", "bridge", "none", "default", "web", "container:x", "ns:/proc/1/ns/net", "/:/host", "/var/run/docker.sock:/s", "--privileged",
	"ALL", "NET_ADMIN", "CAP_SYS_ADMIN", "SYS_ADMIN", "unconfined", "root", "0:0", "0", "1000", "1000:0", "gpu", "npu",
	"busybox", "docker.io/library/busybox", "busybox:1", "docker.io/*", "ghcr.io/*", "ghcr.io/me/app",
	"busybox@sha256:" + hash, "sha256:" + hash, hash, "tv", "laptop", "12D3",
	"/", "/srv", "/srv/", "/srv/..", "/srv/a", "/srv/a/b", "/srv/link", "/srv/a/evil", "/srv/out", "/srv/out/evil", "/srv/out/x", "/srv/hole", "/via",
	"/run", "/var/run/docker.sock", "/run/docker.sock", "/run/x.sock", "/state", "/state/token", "/etc", "/proc", "/in", "/tmp", "/dev/tty9", "/dev/snd", "/dev/dri", "/dev/lnk",
}

const hash = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// disk is what the paths in words lead to.
func disk(name string) (runtime.File, error) {
	links := map[string]string{
		"/srv/link": "/srv/a", "/srv/a/evil": "/etc", "/srv/out/evil": "/", "/srv/hole": "/var/run", "/var/run": "/run", "/via": "/srv/out/evil", "/dev/lnk": "/dev/tty9",
	}
	special := map[string]fs.FileMode{
		"/run/docker.sock": fs.ModeSocket, "/run/x.sock": fs.ModeSocket, "/dev/tty9": fs.ModeDevice | fs.ModeCharDevice,
		"/dev/dri": fs.ModeDevice, "/dev/snd": fs.ModeDir, "/state/token": 0,
	}
	f := runtime.File{Path: path.Clean("/" + name), Mode: fs.ModeDir, Group: len(name)}
	for again := true; again; {
		again = false
		for at, to := range links {
			if rest, ok := strings.CutPrefix(f.Path, at); ok && (rest == "" || rest[0] == '/') {
				f.Via = append(f.Via, at)
				f.Path, again = path.Clean(to+rest), true
			}
		}
	}
	if mode, ok := special[f.Path]; ok {
		f.Mode = mode
	}
	for at, mode := range special {
		if !mode.IsDir() && strings.HasPrefix(f.Path, at+"/") {
			return f, fs.ErrInvalid // it is no folder
		}
	}
	if strings.HasSuffix(f.Path, "x") {
		return f, fs.ErrNotExist
	}
	return f, nil
}

func word(t *rapid.T, label string) string {
	return rapid.OneOf(rapid.SampledFrom(words), rapid.String()).Draw(t, label)
}

func list(t *rapid.T, label string) []string {
	return rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom(words), rapid.String()), 0, 6).Draw(t, label)
}

// anyService draws services, some of which ask for what the policy names.
func anyService(t *rapid.T, p *runtime.Policy) protocol.Service {
	s := protocol.Service{
		Image: word(t, "image"), Args: list(t, "args"), Entrypoint: word(t, "entrypoint"), Env: list(t, "env"), WorkDir: word(t, "workdir"), User: word(t, "user"),
		CPUs: protocol.Cores(rapid.Float64().Draw(t, "cpus")), Memory: protocol.Bytes(rapid.Uint64().Draw(t, "memory")),
		Stdin: rapid.Bool().Draw(t, "stdin"), TTY: rapid.Bool().Draw(t, "tty"), Timeout: time.Duration(rapid.Int64().Draw(t, "timeout")),
		Network: word(t, "network"), Devices: list(t, "devices"), Capabilities: list(t, "capabilities"), Accelerator: word(t, "accelerator"),
	}
	s.NoEntrypoint, s.ReadOnlyRoot, s.Hostname = rapid.Bool().Draw(t, "no entrypoint"), rapid.Bool().Draw(t, "read-only"), word(t, "hostname")
	s.TTYRows, s.ShmSize = rapid.Uint16().Draw(t, "rows"), protocol.Bytes(rapid.Uint64Range(0, 1<<22).Draw(t, "shm"))
	if !s.TTY {
		s.TTYRows = 0
	}
	for range rapid.IntRange(0, 2).Draw(t, "tmpfs") {
		s.Tmpfs = append(s.Tmpfs, protocol.Tmpfs{Target: word(t, "target"), Size: protocol.Bytes(rapid.Uint64Range(0, 1<<22).Draw(t, "size")), Mode: 0o700, Exec: rapid.Bool().Draw(t, "exec")})
	}
	source := rapid.SampledFrom(words)
	if rapid.IntRange(0, 9).Draw(t, "modest") > 0 {
		s.CPUs, s.Memory, s.Timeout, s.User = 0, 0, 0, ""
		s.Network = rapid.SampledFrom(append(p.Networks, "none")).Draw(t, "network")
		s.Devices, s.Capabilities = some(t, "devices", p.Devices), some(t, "capabilities", p.Capabilities)
		s.Accelerator = rapid.SampledFrom([]string{"", "", "gpu"}).Draw(t, "accelerator")
		if lent := slices.Concat(p.Mounts, p.WritableMounts); len(lent) > 0 {
			source = rapid.OneOf(rapid.SampledFrom(lent), rapid.Map(rapid.SampledFrom(lent), func(p string) string { return path.Clean(p + "/a") }))
		}
	}
	for range rapid.IntRange(0, 2).Draw(t, "mounts") {
		s.Mounts = append(s.Mounts, protocol.Mount{Source: source.Draw(t, "source"), Target: rapid.SampledFrom([]string{"/in", "/tmp", "/"}).Draw(t, "target"), Writable: rapid.Bool().Draw(t, "writable")})
	}
	return s
}

// some draws one of a list, or none.
func some(t *rapid.T, label string, from []string) []string {
	if len(from) == 0 || rapid.Bool().Draw(t, "without") {
		return nil
	}
	return []string{rapid.SampledFrom(from).Draw(t, label)}
}

func anyPolicy(t *rapid.T) runtime.Policy {
	p := runtime.DefaultPolicy()
	p.AllowSelf = rapid.IntRange(0, 9).Draw(t, "allow self") > 0
	p.Networks, p.Mounts, p.WritableMounts = list(t, "networks"), list(t, "lent"), list(t, "lent to write")
	p.Devices, p.AcceleratorKinds, p.Capabilities = list(t, "lent devices"), list(t, "kinds"), list(t, "given")
	if rapid.Bool().Draw(t, "other defaults") {
		p.DefaultCapabilities = list(t, "given to all")
	}
	if rapid.Bool().Draw(t, "sensible") {
		p.Networks = append(p.Networks, rapid.SampledFrom([]string{"bridge", "host", "web"}).Draw(t, "network"))
		p.Devices = []string{rapid.SampledFrom([]string{"/dev/tty9", "/dev/lnk", "/dev/snd"}).Draw(t, "device")}
		p.AcceleratorKinds = append(p.AcceleratorKinds, "gpu")
		p.Mounts = append(p.Mounts, rapid.SampledFrom([]string{"/srv", "/srv/link", "/run", "/run/docker.sock", "/via", "/srv/out"}).Draw(t, "path"))
		p.WritableMounts = append(p.WritableMounts, rapid.SampledFrom([]string{"/srv/out", "/srv/a", "/state"}).Draw(t, "writable path"))
		p.Capabilities = []string{rapid.SampledFrom([]string{"NET_ADMIN", "SYS_ADMIN", "ALL"}).Draw(t, "capability")}
	}
	p.RequireDigest, p.RunAsNonRoot = rapid.Bool().Draw(t, "digest"), rapid.Bool().Draw(t, "nonroot")
	p.ReadOnlyRoot = rapid.Bool().Draw(t, "read-only")
	p.Pids, p.Logs = rapid.Int64().Draw(t, "pids"), protocol.Bytes(rapid.Uint64().Draw(t, "logs"))
	p.DefaultCPUs, p.MaxCPUs = protocol.Cores(rapid.Float64().Draw(t, "default cpus")), protocol.Cores(rapid.Float64().Draw(t, "max cpus"))
	p.DefaultMemory, p.MaxMemory = protocol.Bytes(rapid.Uint64().Draw(t, "default memory")), protocol.Bytes(rapid.Uint64().Draw(t, "max memory"))
	p.MaxTimeout = time.Duration(rapid.Int64().Draw(t, "max timeout"))
	if rapid.IntRange(0, 3).Draw(t, "restricts") > 0 {
		p.RequireDigest, p.MaxTimeout = false, 0
		return p
	}
	if rapid.Bool().Draw(t, "says images") {
		p.Images = list(t, "images")
	}
	if rapid.Bool().Draw(t, "says from") {
		p.AllowFrom = list(t, "from")
	}
	return p
}

// TestNothingBeyondThePolicy: whatever is asked of whatever policy, one that
// makes no sense included, the engine is told to give nothing that the policy
// does not name.
func TestNothingBeyondThePolicy(t *testing.T) {
	granted := make(map[string]int)
	defer func() { t.Logf("granted: %v", granted) }()
	for range 20 { // most policies allow next to nothing
		rapid.Check(t, func(t *rapid.T) {
			p := anyPolicy(t)
			s := anyService(t, &p)
			asker := runtime.Asker{Node: "12D3", Name: word(t, "name"), Self: rapid.Bool().Draw(t, "self")}
			here := runtime.Here{
				Lent:         runtime.Lent{CPUs: protocol.Cores(rapid.Float64Range(0.01, 64).Draw(t, "lent cpus")), Memory: protocol.Bytes(rapid.Uint64Range(1<<20, 1<<40).Draw(t, "lent memory"))},
				Accelerators: []machine.Accelerator{{Kind: machine.GPU, Devices: []string{"/dev/dri"}}}, Private: []string{"/state"}, Look: disk,
				Has: func(string) bool { return true },
			}
			spec, err := p.Apply(runtime.ExecutionID{Request: "r", Attempt: 1}, asker, s, here)
			if err != nil {
				if protocol.CodeOf(err) == protocol.CodeInternal {
					t.Fatalf("an internal error: %v", err)
				}
				return
			}
			config, host := containerConfig(spec, nil)
			for _, problem := range beyond(&p, &s, config, host) {
				t.Errorf("%s", problem)
			}
			for what, is := range map[string]bool{
				"anything": true, "mount": len(host.Mounts) > 0, "writable": slices.ContainsFunc(host.Mounts, func(m mount.Mount) bool { return !m.ReadOnly }),
				"device": len(host.Devices) > 0, "capability": len(host.CapAdd) > 0, "host's network": host.NetworkMode == "host",
			} {
				if is {
					granted[what]++
				}
			}
		})
	}
}

// TestNoSpecGetsMore: without a policy before it, no field of a spec but those
// that a policy fills leads to anything.
func TestNoSpecGetsMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := anyService(t, &runtime.Policy{})
		config, host := containerConfig(runtime.Spec{
			Image: s.Image, Entrypoint: s.Entrypoint, Args: s.Args, Env: s.Env, WorkDir: s.WorkDir, User: s.User, Stdin: s.Stdin, TTY: s.TTY,
			CPUs: s.CPUs, Memory: s.Memory, Timeout: s.Timeout, Pids: rapid.Int64().Draw(t, "pids"),
		}, nil)
		none := runtime.Policy{}
		s = protocol.Service{Image: s.Image}
		for _, problem := range beyond(&none, &s, config, host) {
			t.Errorf("%s", problem)
		}
	})
}

// beyond walks all that an engine can be told of a container, by reflection: a
// field that is in no list here must be zero, so that none is forgotten, those
// of later versions of the API included.
func beyond(p *runtime.Policy, s *protocol.Service, config *container.Config, host *container.HostConfig) (problems []string) {
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	may := map[string]func() bool{
		"NetworkMode": func() bool {
			m := string(host.NetworkMode)
			named := map[string]string{bridgeName: "bridge", "bridge": engineBridge}
			return m == "none" || !strings.Contains(m, ":") && m != "" && (slices.Contains(p.Networks, named[m]) || named[m] == "" && slices.Contains(p.Networks, m))
		},
		"CapDrop": func() bool { return slices.Equal(host.CapDrop, []string{"ALL"}) },
		"CapAdd": func() bool {
			return all(host.CapAdd, func(c string) bool {
				return c != "ALL" && (slices.Contains(p.DefaultCapabilities, c) || slices.Contains(p.Capabilities, c) && slices.Contains(s.Capabilities, c))
			})
		},
		"SecurityOpt":  func() bool { return slices.Equal(host.SecurityOpt, []string{"no-new-privileges"}) },
		"IpcMode":      func() bool { return host.IpcMode.IsPrivate() },
		"CgroupnsMode": func() bool { return host.CgroupnsMode.IsPrivate() },
		"RestartPolicy": func() bool {
			return host.RestartPolicy == container.RestartPolicy{Name: container.RestartPolicyDisabled}
		},
		"Init": func() bool { return *host.Init },
		"LogConfig": func() bool {
			c := host.LogConfig.Config
			return host.LogConfig.Type == "local" && len(c) == 3 && c["max-size"] != "" && c["max-size"] != "0" && c["max-file"] == "2"
		},
		"NanoCPUs":       func() bool { return host.NanoCPUs >= minCPUs*1e9 },
		"Memory":         func() bool { return host.Memory > 0 },
		"MemorySwap":     func() bool { return host.MemorySwap == host.Memory },
		"PidsLimit":      func() bool { return *host.PidsLimit > 0 },
		"ReadonlyRootfs": func() bool { return p.ReadOnlyRoot || s.ReadOnlyRoot },
		"Tmpfs":          func() bool { return mayHaveInMemory(p, s, host) },
		"ShmSize":        func() bool { return 0 < host.ShmSize && host.ShmSize <= host.Memory },
		"ConsoleSize":    func() bool { return s.TTY },
		"Mounts":         func() bool { return all(host.Mounts, func(m mount.Mount) bool { return mayMount(p, s, m) }) },
		"Devices":        func() bool { return all(host.Devices, func(d container.DeviceMapping) bool { return mayUse(p, s, d) }) },
		"GroupAdd":       func() bool { return len(host.GroupAdd) <= len(host.Devices) },
	}
	for _, must := range []string{"CapDrop", "SecurityOpt", "IpcMode", "CgroupnsMode", "LogConfig", "NanoCPUs", "Memory", "MemorySwap", "PidsLimit", "Init", "NetworkMode"} {
		if reflect.ValueOf(host).Elem().FieldByName(must).IsZero() {
			problem("%s is not set", must)
		}
	}
	eachField(reflect.ValueOf(host).Elem(), func(name string, v reflect.Value) {
		if check, known := may[name]; !v.IsZero() && (!known || v.Kind() == reflect.Slice && v.Len() == 0 || !check()) {
			problem("HostConfig.%s is %+v, given %+v of %+v", name, v, s, p)
		}
	})
	asked := []string{"Image", "Cmd", "Env", "WorkingDir", "User", "Labels", "Tty", "AttachStdin", "AttachStdout", "AttachStderr", "OpenStdin", "StdinOnce", "Healthcheck", "Entrypoint", "Hostname"}
	eachField(reflect.ValueOf(config).Elem(), func(name string, v reflect.Value) {
		if !v.IsZero() && !slices.Contains(asked, name) {
			problem("Config.%s is %+v", name, v)
		}
	})
	if uid, gid, _ := strings.Cut(config.User, ":"); p.RunAsNonRoot && (strings.Trim(uid, "0123456789") != "" || strings.Trim(uid, "0") == "" || strings.Trim(gid, "0") == "") {
		problem("it may run as root: %q", config.User)
	}
	return problems
}

// mayHaveInMemory: what is asked for, and the /tmp of a policy that makes all
// else read-only; none larger than the container's memory, and none with devices
// or programs that run as somebody else.
func mayHaveInMemory(p *runtime.Policy, s *protocol.Service, host *container.HostConfig) bool {
	for target, options := range host.Tmpfs {
		var exec string
		var size, mode int64
		n, err := fmt.Sscanf(strings.ReplaceAll(options, ",", " "), "rw nosuid nodev %s size=%d mode=%o", &exec, &size, &mode)
		asked := slices.ContainsFunc(s.Tmpfs, func(t protocol.Tmpfs) bool { return t.Target == target && t.Exec == (exec == "exec") })
		if n != 3 || err != nil || size <= 0 || size > host.Memory || !asked && (!p.ReadOnlyRoot || target != "/tmp" || exec == "exec") ||
			target == "/" || strings.HasPrefix(target+"/", "/proc/") || strings.HasPrefix(target+"/", "/dev/") {
			return false
		}
	}
	return true
}

func eachField(v reflect.Value, f func(string, reflect.Value)) {
	for i := range v.NumField() {
		if field := v.Type().Field(i); field.Anonymous {
			eachField(v.Field(i), f)
		} else {
			f(field.Name, v.Field(i))
		}
	}
}

func all[T any](list []T, ok func(T) bool) bool {
	return !slices.ContainsFunc(list, func(v T) bool { return !ok(v) })
}

// mayMount says in other words than the policy's when a mount is allowed.
func mayMount(p *runtime.Policy, s *protocol.Service, m mount.Mount) bool {
	if m.Type != mount.TypeBind || m.Consistency != "" || m.VolumeOptions != nil || m.ImageOptions != nil || m.TmpfsOptions != nil || m.ClusterOptions != nil ||
		!reflect.DeepEqual(m.BindOptions, &mount.BindOptions{Propagation: mount.PropagationRPrivate, NonRecursive: true}) {
		return false
	}
	if where, err := disk(m.Source); err != nil || where.Path != m.Source {
		return false // it has a link in it
	}
	asked := slices.ContainsFunc(s.Mounts, func(a protocol.Mount) bool {
		where, _ := disk(a.Source)
		return where.Path == m.Source && a.Target == m.Target && a.Writable == !m.ReadOnly
	})
	below := func(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }
	var lent, writable, exact, shut bool
	named := make(map[string]bool) // of the private paths
	for i, rule := range slices.Concat(p.WritableMounts, p.Mounts) {
		where, err := disk(rule)
		if err != nil || !path.IsAbs(rule) || path.Clean(rule) != rule || where.Path == "/" || !below(m.Source, where.Path) {
			continue
		}
		lent = true
		exact = exact || m.Source == where.Path
		if i < len(p.WritableMounts) {
			writable = writable || m.Source == where.Path
			shut = shut || m.Source != where.Path
		}
		for _, private := range private {
			named[private] = named[private] || below(where.Path, private)
		}
	}
	for _, private := range private {
		if (below(m.Source, private) || below(private, m.Source)) && !named[private] {
			return false
		}
	}
	plain := !slices.Contains([]string{"/run/docker.sock", "/run/x.sock", "/dev/tty9", "/dev/dri"}, m.Source)
	return asked && lent && !shut && (m.ReadOnly || writable) && (plain || exact)
}

// private paths of the disk.
var private = []string{"/run/docker.sock", "/state"}

func mayUse(p *runtime.Policy, s *protocol.Service, d container.DeviceMapping) bool {
	named := slices.Contains(p.Devices, d.PathInContainer) && slices.Contains(s.Devices, d.PathInContainer)
	gpu := slices.Contains(p.AcceleratorKinds, "gpu") && s.Accelerator == "gpu" && d.PathInContainer == "/dev/dri"
	where, err := disk(d.PathInContainer)
	return (named || gpu) && err == nil && d.PathOnHost == where.Path && where.Mode&fs.ModeDevice != 0 && d.CgroupPermissions == "rw"
}

func TestAmountsAreBounded(t *testing.T) {
	_, host := containerConfig(runtime.Spec{Memory: math.MaxUint64}, nil)
	if host.Memory <= 0 || host.NanoCPUs <= 0 || *host.PidsLimit <= 0 || host.LogConfig.Config["max-size"] != "10485760" {
		t.Errorf("%+v", host)
	}
}

func TestCPUsAreBoundByTheMachine(t *testing.T) {
	for _, c := range []struct {
		asked protocol.Cores
		ncpu  int
		want  protocol.Cores
	}{{1, 2, 1}, {8, 2, 2}, {0.5, 2, 0.5}, {8, 0, 8}} {
		if got := clampCPUs(c.asked, c.ncpu); got != c.want {
			t.Errorf("%v on %d cores: %v, want %v", c.asked, c.ncpu, got, c.want)
		}
	}
}
