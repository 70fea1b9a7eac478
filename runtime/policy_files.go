package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime/machine"
)

// A Device is a device file that a container gets, to read and to write.
type Device struct {
	// Source is the file on the node, without symbolic links; Target its path
	// in the container.
	Source, Target string
	// Group that it belongs to.
	Group int
}

// alwaysPrivate are the usual places of what gives power over the engine.
var alwaysPrivate = [...]string{
	"/run/docker.sock", "/var/run/docker.sock", "/run/containerd", "/run/podman", "/var/lib/docker", "/var/lib/containerd",
	"/run/crun", "/run/k3s/containerd",
}

// privatePatterns are the places of engines that are not root's or have names of
// their own: as path.Match has it, of as many parts.
var privatePatterns = [...]string{
	"/run/user/*/docker.sock", "/run/user/*/docker", "/run/user/*/podman", "/run/balena*",
}

// A lentPath is a path of the policy as it is on this machine.
type lentPath struct {
	path     string
	file     File
	writable bool
	// unsafe says that containers may have changed the way to it, or that it is
	// a link to the whole machine.
	unsafe bool
}

// files judges mounts and devices. What it finds holds only as long as the
// files stay what they are; so a Node looks again right before a container is
// made, and lends nothing by a path that a container could change meanwhile.
func (j *judgement) files() {
	lends := j.lends()
	for _, m := range j.service.Mounts {
		aspect := "mount " + m.Source
		got, key, err := j.mount(m, lends)
		if bad := checkTarget("mount", m.Target); bad != nil {
			err = bad
		}
		grant := got.Source + ", read-only"
		if m.Writable {
			grant = got.Source + ", writable"
		}
		j.say(aspect, key, grant, err)
		if err == nil {
			j.spec.Mounts = append(j.spec.Mounts, got)
		}
	}
	for _, d := range j.service.Devices {
		j.say("device "+d, "devices", d, j.namedDevice(d))
	}
	if kind := j.service.Accelerator; kind != "" {
		grant, err := j.accelerator(kind)
		j.say("accelerator "+kind, "accelerators", grant, err)
	}
}

// lends finds the paths of the policy on this machine.
func (j *judgement) lends() []lentPath {
	if len(j.service.Mounts) == 0 || j.here.Remote {
		return nil
	}
	var all []lentPath
	for i, p := range slices.Concat(j.policy.WritableMounts, j.policy.Mounts) {
		if checkMountPath(p) != nil {
			continue
		}
		if f, err := j.here.Look(p); err == nil {
			all = append(all, lentPath{path: p, file: f, writable: i < len(j.policy.WritableMounts)})
		}
	}
	for i := range all {
		all[i].unsafe = all[i].file.Path == "/" || underControl(all[i].file, all) != nil
	}
	return all
}

// underControl returns the writable path below which a file lies, or a link on
// the way to it: there containers can put what they like. Nil where none does.
func underControl(f File, lends []lentPath) *lentPath {
	for i, l := range lends {
		if !l.writable {
			continue
		}
		for _, p := range append([]string{f.Path}, f.Via...) {
			if p != l.file.Path && isWithin(p, l.file.Path) {
				return &lends[i]
			}
		}
	}
	return nil
}

// mount judges a mount; key is the one that decided.
func (j *judgement) mount(m protocol.Mount, lends []lentPath) (granted protocol.Mount, key string, err error) {
	key = "mounts"
	if m.Writable {
		key = "writable_mounts"
	}
	if !j.named(m.Source) {
		return granted, key, deny(key, j.policy.lending(key, m.Source), "does not lend %s", quoted(m.Source))
	}
	if j.here.Remote {
		return granted, key, deny(key, "", "lends no files: its engine runs on another machine")
	}
	f, err := j.here.Look(m.Source)
	if err != nil {
		return granted, key, notFound(m.Source, err)
	}
	if l := underControl(f, lends); l != nil {
		return granted, "writable_mounts", deny("writable_mounts", "", "lends %s only as a whole, since containers can change what is in it", quoted(l.path))
	}
	var by *lentPath // the nearest, and the writable one of two
	for i, l := range lends {
		if !l.unsafe && isWithin(f.Path, l.file.Path) &&
			(by == nil || len(l.file.Path) > len(by.file.Path) || len(l.file.Path) == len(by.file.Path) && l.writable) {
			by = &lends[i]
		}
	}
	switch {
	case by == nil:
		err = deny(key, "", "does not lend what %s leads to", quoted(m.Source))
	case m.Writable && (!by.writable || by.file.Path != f.Path):
		err = deny(key, j.policy.lending(key, m.Source), "lends %s for reading only", quoted(m.Source))
	case !f.Mode.IsRegular() && !f.Mode.IsDir() && by.file.Path != f.Path:
		err = deny(key, j.policy.lending(key, m.Source), "lends %s, which is no plain file or folder, only if it is named itself", quoted(m.Source))
	default:
		err = j.private(f.Path, by, key)
	}
	return protocol.Mount{Source: f.Path, Target: m.Target, Writable: m.Writable}, key, err
}

func notFound(name string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return protocol.Errorf(protocol.CodeConstraint, "lends %s, but hearth itself may not look there", quoted(name))
	}
	return protocol.Errorf(protocol.CodeConstraint, "lends %s, but has none now", quoted(name))
}

// named reports whether the policy speaks of a path at all: of others it is not
// even told whether they exist.
func (j *judgement) named(source string) bool {
	return checkMountPath(source) == nil && slices.ContainsFunc(slices.Concat(j.policy.Mounts, j.policy.WritableMounts),
		func(p string) bool { return isWithin(source, p) })
}

// private refuses what holds, or lies in, a private path that the policy does
// not name.
func (j *judgement) private(source string, by *lentPath, key string) error {
	for _, p := range slices.Concat(alwaysPrivate[:], privateLike(source), j.here.Private) {
		places := []string{p}
		if f, err := j.here.Look(p); err == nil {
			places = append(places, f.Path)
		}
		for _, p := range places {
			if (isWithin(p, source) || isWithin(source, p)) && !isWithin(by.file.Path, p) {
				fix := ""
				if isWithin(source, p) {
					fix = j.policy.lending(key, source)
				}
				return deny(key, fix, "does not lend %s unless it is named itself: who has it has this node", quoted(p))
			}
		}
	}
	return nil
}

// privateLike returns the private paths by a pattern that a path holds or lies
// in.
func privateLike(source string) []string {
	var found []string
	parts := strings.Split(source, "/")
	for _, pattern := range privatePatterns {
		want := strings.Split(pattern, "/")
		n := min(len(parts), len(want))
		if ok, err := path.Match(strings.Join(want[:n], "/"), strings.Join(parts[:n], "/")); !ok || err != nil {
			continue
		}
		found = append(found, strings.Join(append(slices.Clone(parts[:n]), want[n:]...), "/"))
	}
	return found
}

// namedDevice gives a device if the policy names it.
func (j *judgement) namedDevice(name string) error {
	if slices.Contains(j.policy.Devices, name) {
		return j.device(name)
	}
	fix := ""
	if checkDevicePath(name) == nil {
		fix = listing("devices", j.policy.Devices, nil, name)
	}
	return deny("devices", fix, "does not lend the device %s", quoted(name))
}

// device gives a device that the policy names.
func (j *judgement) device(name string) error {
	if j.here.Remote {
		return deny("devices", "", "lends no devices: its engine runs on another machine")
	}
	f, err := j.here.Look(name)
	if err != nil {
		return notFound(name, err)
	}
	if !isDevice(f.Mode) {
		return deny("devices", "", "lends single devices, and %s is none", quoted(name))
	}
	d := Device{Source: f.Path, Target: name, Group: f.Group}
	if !slices.Contains(j.spec.Devices, d) {
		j.spec.Devices = append(j.spec.Devices, d)
	}
	return nil
}

// accelerator gives all that there are of a kind: who uses which is not counted.
func (j *judgement) accelerator(kind string) (string, error) {
	if !slices.Contains(j.policy.AcceleratorKinds, kind) || checkAccelerator(kind) != nil {
		fix := ""
		if checkAccelerator(kind) == nil {
			fix = listing("accelerators", j.policy.AcceleratorKinds, nil, kind)
		}
		return "", deny("accelerators", fix, "lends no %s", quoted(kind))
	}
	var files []string
	for _, a := range j.here.Accelerators {
		if a.Kind == kind {
			files = append(files, a.Devices...)
		}
	}
	if len(files) == 0 {
		return "", protocol.Errorf(protocol.CodeResources, "lends a %s, but has none now", kind)
	}
	for _, d := range files {
		if err := j.device(d); err != nil {
			return "", err
		}
	}
	return strings.Join(files, ", "), nil
}

// Accelerators returns which kinds of accelerators the node lends of those that
// were found: what its status tells.
func (p *Policy) Accelerators(found []machine.Accelerator) []string {
	var kinds []string
	for _, a := range found {
		if slices.Contains(p.AcceleratorKinds, a.Kind) && !slices.Contains(kinds, a.Kind) {
			kinds = append(kinds, a.Kind)
		}
	}
	slices.Sort(kinds)
	return kinds
}

// isWithin reports whether p is dir or lies below it; both are clean.
func isWithin(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/")
}

// checkTarget keeps mounts off what the engine makes itself in each container.
func checkTarget(what, target string) error {
	if !path.IsAbs(target) || path.Clean(target) != target || target == "/" || hasControl(target) {
		return protocol.Errorf(protocol.CodeInvalid, "%s: %s is no place for it in a container", what, quoted(target))
	}
	for _, own := range []string{"/proc", "/sys", "/dev"} {
		if isWithin(target, own) {
			return protocol.Errorf(protocol.CodeInvalid, "%s: %s in a container is the engine's: choose another place", what, quoted(target))
		}
	}
	return nil
}

func checkMountPath(p string) error {
	switch {
	case !path.IsAbs(p) || hasControl(p):
		return fmt.Errorf("%q is not an absolute path", p)
	case path.Clean(p) != p:
		return fmt.Errorf("%q: write it %q", p, path.Clean(p))
	case p == "/":
		return errors.New(`"/" is the whole machine, this policy and the engine included: name the folders that are meant`)
	}
	return nil
}

func checkDevicePath(p string) error {
	if err := checkMountPath(p); err != nil {
		return err
	}
	if !strings.HasPrefix(p, "/dev/") {
		return fmt.Errorf("%q is not in /dev", p)
	}
	return nil
}

func hasControl(p string) bool {
	return strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// checkWritable: what lies below a writable path is the containers'.
func (p *Policy) checkWritable() error {
	for _, w := range p.WritableMounts {
		for _, other := range slices.Concat(p.Mounts, p.WritableMounts) {
			if other != w && isWithin(other, w) {
				return fmt.Errorf("%q lies in %q, which is writable: containers could put a link to anything in its place", other, w)
			}
		}
	}
	return nil
}
