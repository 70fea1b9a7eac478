package policyfile

import (
	"fmt"
	"strings"

	"github.com/hearth-edge/hearth/runtime"
)

// key is one of the file's: its name, the field it is about, what it means, and
// a value for show where the default has none.
type key struct {
	name    string
	value   value
	doc     string
	example string
}

// keysOf are all keys, in the order in which they are shown.
func keysOf(p *runtime.Policy) []key {
	return []key{
		{"allow_from", list{&p.AllowFrom}, `Which other devices may have work done here: names as in 'hearth nodes', or
peer IDs. A name is pinned to the first device that is seen with it; an ID
cannot be taken by anyone. Left out: every device of the mesh.`, `["laptop", "tv"]`},
		{"allow_self", toggle{&p.AllowSelf}, `Whether this device may have work done by itself.`, ""},
		{"exec", list{&p.Exec}, `Which devices may run commands in containers here ('hearth exec'), by name or
ID; this one must be named, too. A request's container is for the device alone
that asked for it, one of a stack for all that are named. An empty list: nobody.
Left out: all that may have work done here.`, `["laptop"]`},
		{"forward", list{&p.Forward}, `Which devices may connect to ports of containers here that nobody publishes
('hearth forward'); as for exec.`, `["laptop"]`},
		{"copy", list{&p.Copy}, `Which devices may copy files out of containers here and into them ('hearth
cp'); as for exec.`, `["laptop"]`},
		{"images", list{&p.Images}, `Which images may run. An entry is a repository ("ghcr.io/me/app"), one tag or
digest of it, all below a registry or a path ("ghcr.io/*", "docker.io/me/*"), or
an image's ID. "busybox" is docker.io/library/busybox. Left out: every image.`, `["docker.io/library/*", "ghcr.io/me/app"]`},
		{"require_digest", toggle{&p.RequireDigest}, `Whether an image must be named by digest (NAME@sha256:…) or by its ID: what is
behind a tag can change.`, ""},
		{"registries", list{&p.Registries}, `Which registries are asked for images that are not here: "ghcr.io",
"nas.local:5000". "default" is docker.io, quay.io, ghcr.io, registry.k8s.io,
mcr.microsoft.com, gcr.io, lscr.io, and those that the user who runs hearth is
logged in to ('docker login'). All who may have work done here use that login.
Those named in images are asked, too. An empty list: only what is here runs.`, `["default", "nas.local:5000"]`},
		{"networks", list{&p.Networks}, `Which networks containers may be on: "bridge", Hearth's own, on which they do
not reach each other; "docker0", the engine's default one; "host"; or one that
'docker network ls' shows. The first is for who asks for none; "none" is always
allowed, and is all there is where the list is empty. On "host" a container
reaches all that listens on this device only.`, ""},
		{"mounts", list{&p.Mounts}, `Which files and folders containers may see, with all that is in them, but
not what is mounted in them. Links that lead out of the list lead nowhere. The
engine's socket and folders, and hearth's own state, must be named themselves.`, `["/srv/photos", "/etc/localtime"]`},
		{"writable_mounts", list{&p.WritableMounts}, `Which files and folders containers may see and change: just these, and nothing
in them by itself.`, `["/srv/results"]`},
		{"devices", list{&p.Devices}, `Which devices containers may use, each by its path.`, `["/dev/ttyUSB0"]`},
		{"accelerators", list{&p.AcceleratorKinds}, `Which kinds of accelerators, of those found here, containers may use: "gpu",
"npu".`, `["gpu"]`},
		{"default_capabilities", list{&p.DefaultCapabilities}, `Which Linux capabilities every container has inside itself while it is root; see
capabilities(7). Left out: what the entrypoints of ordinary images need, that is
CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP and
NET_BIND_SERVICE. An empty list gives none.`, `["CHOWN", "SETGID", "SETUID"]`},
		{"capabilities", list{&p.Capabilities}, `Which Linux capabilities containers may ask for beside those. Some, as
SYS_ADMIN, SYS_MODULE and SYS_RAWIO, give away this device.`, `["NET_RAW"]`},
		{"privileged_images", list{&p.PrivilegedImages}, `Which images a stack may run with "privileged": with all devices and powers of
this device, which it then gives away. Written as in images. Most need but a
device or a capability.`, `["docker.io/me/needs-all"]`},
		{"host_namespaces", list{&p.HostNamespaces}, `Which namespaces of this device the services of stacks may share: "pid", to see
all its programs, and "ipc".`, `["pid"]`},
		{"unconfined", list{&p.Unconfined}, `What stacks may switch off for a service: "seccomp", "apparmor".`, `["seccomp"]`},
		{"publish_public", toggle{&p.PublishPublic}, `Whether stacks may publish ports on public addresses of this device, too, and
not only on loopback and private ones.`, ""},
		{"run_as_nonroot", toggle{&p.RunAsNonRoot}, `Whether containers must not run as root. Who names no user then runs as 65534,
whatever the image says; --user UID[:GID] asks for another.`, ""},
		{"read_only_root", toggle{&p.ReadOnlyRoot}, `Whether containers can write only to their mounts, to their image's volumes, and
to a /tmp of 64 MiB in memory.`, ""},
		{"default_cpus", amount{&p.DefaultCPUs}, `How many cores a container gets that asks for none. Left out: one.`, "0.5"},
		{"max_cpus", amount{&p.MaxCPUs}, `How many cores one container gets at most. Left out: all that are lent.`, "2"},
		{"default_memory", volume{&p.DefaultMemory}, `How much memory a container gets that asks for none. Left out: an equal share of
what is lent.`, `"256m"`},
		{"max_memory", volume{&p.MaxMemory}, `How much memory one container gets at most. Left out: all that is lent.`, `"2g"`},
		{"max_disk", volume{&p.MaxDisk}, `How much one container may write to the engine's disk: one that writes more is
ended. It is looked at each half second, where the disk became fuller. Left out:
all that is there; what fills it up to the last 256 MiB is ended.`, `"10g"`},
		{"max_timeout", span{&p.MaxTimeout}, `How long a container runs at most. Left out: for ever.`, `"12h"`},
		{"pids", count{&p.Pids}, `How many processes and threads a container has at most.`, ""},
		{"limits", list{&p.Limits}, `Which limits must be kept for containers to run here: "memory", "cpus", "pids".
Some kernels cannot, as Raspberry Pi OS by default that of memory: 'hearth
doctor' says what to switch on. To run containers without it, name those that
can be kept. Left out: all three.`, `["cpus", "pids"]`},
		{"logs", volume{&p.Logs}, `How much of a container's output is kept on disk while it runs.`, ""},
	}
}

const heading = `# What containers may have on this device, for hearth. Whoever holds the mesh's
# secret can run containers here within this policy; no message changes it.
#
# Put this in policy.toml in the state folder, or name it with --policy FILE, and
# restart hearth: containers go on meanwhile. Nobody else may be able to write to
# the file. See what it does with 'hearth policy check IMAGE'.
`

// Example is a file that says nothing but what goes without saying: all keys,
// explained, and commented out.
func Example() string {
	policy := runtime.DefaultPolicy()
	var b strings.Builder
	b.WriteString(heading)
	for _, k := range keysOf(&policy) {
		shown := k.value.String()
		if k.example != "" {
			shown = k.example
		}
		fmt.Fprintf(&b, "\n# %s\n#%s = %s\n", strings.ReplaceAll(k.doc, "\n", "\n# "), k.name, shown)
	}
	return b.String()
}

// Write writes a policy as a file would have it; what says nothing is commented
// out.
func Write(p runtime.Policy) string {
	var b strings.Builder
	for _, k := range keysOf(&p) {
		if text := k.value.String(); text != "" {
			fmt.Fprintf(&b, "%s = %s\n", k.name, text)
		} else {
			fmt.Fprintf(&b, "#%s =\n", k.name)
		}
	}
	return b.String()
}
