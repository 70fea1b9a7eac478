package compose

import (
	"fmt"
	"hash/fnv"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/docker/go-units"

	"github.com/hearth-edge/hearth/protocol"
)

// projectVolume is the volume of a stack that mounts the project's folder as a
// whole.
const projectVolume = "project"

// volumes checks the named volumes that services mount.
func (r *reader) volumes() {
	for _, name := range r.project.VolumeNames() {
		v := r.project.Volumes[name]
		at := []string{"volumes", name}
		if v.Driver != "" && v.Driver != "local" {
			r.refuse(append(at, "driver"), fmt.Sprintf("there is no volume driver %s", clip(v.Driver)), "leave it out, or mount the storage on the node and name its absolute path")
			continue
		}
		if len(v.DriverOpts) == 0 {
			r.stack.Volumes = append(r.stack.Volumes, protocol.StackVolume{Name: name})
			continue
		}
		if boundFolder(v) == "" {
			r.refuse(append(at, "driver_opts"), "a volume is a folder of its node", "mount the storage on the node and name its absolute path under the service's volumes:")
		}
	}
}

// boundFolder returns the folder that a volume of the local driver binds, or "".
func boundFolder(v types.VolumeConfig) string {
	device, bind := v.DriverOpts["device"], slices.Contains(strings.Split(v.DriverOpts["o"], ","), "bind")
	if v.Driver != "local" && v.Driver != "" || !bind {
		return ""
	}
	return device
}

// writableFolders returns the folders of the project that some service writes
// to: they are volumes for all services.
func (r *reader) writableFolders() map[string]bool {
	folders := make(map[string]bool)
	for _, name := range r.project.ServiceNames() {
		for _, v := range r.project.Services[name].Volumes {
			if v.Type == types.VolumeTypeVolume {
				v.Source = boundFolder(r.project.Volumes[v.Source])
			} else if v.Type != types.VolumeTypeBind {
				continue
			}
			if v.Source != "" && relative(v.Source) && !v.ReadOnly {
				folders[filepath.Clean(v.Source)] = true
			}
		}
	}
	return folders
}

func relative(source string) bool {
	return !filepath.IsAbs(source) && !strings.HasPrefix(source, "~") && !strings.Contains(source, `\`)
}

// mounts adds all that the service mounts.
func (s *serviceReader) mounts() {
	for _, v := range s.in.Volumes {
		s.volume(v)
	}
	for _, t := range s.in.Tmpfs {
		s.tmpfs(t)
	}
	s.configs()
	s.secrets()
	s.out.ShmSize = s.bytes(s.in.ShmSize, "shm_size")
}

// mount adds one mount.
func (s *serviceReader) mount(m protocol.StackMount, name string) {
	text := m.Target
	m.Target = path.Clean(m.Target)
	switch {
	case !path.IsAbs(m.Target) || m.Target == "/":
		s.refuseItem(text, s.path(name), fmt.Sprintf("%q is no place in a container", clip(text)), "write an absolute path like /data")
	case slices.ContainsFunc(s.out.Mounts, func(o protocol.StackMount) bool { return o.Target == m.Target }):
		s.refuseItem(text, s.path(name), fmt.Sprintf("%s is mounted twice", clip(m.Target)), "leave one of the mounts out")
	default:
		s.out.Mounts = append(s.out.Mounts, m)
	}
}

func (s *serviceReader) volume(v types.ServiceVolumeConfig) {
	m := protocol.StackMount{Kind: protocol.MountVolume, Source: v.Source, Target: v.Target, ReadOnly: v.ReadOnly}
	switch v.Type {
	case types.VolumeTypeVolume:
		if v.Volume != nil {
			m.NoCopy, m.Subpath = v.Volume.NoCopy, strings.TrimPrefix(path.Clean("/"+v.Volume.Subpath), "/")
		}
		if folder := boundFolder(s.project.Volumes[v.Source]); folder != "" {
			m.Source = folder
			s.bind(m, v)
			return
		}
		if v.Source == "" {
			m.Source = volumeName(s.in.Name + "-" + strings.Trim(v.Target, "/"))
			if !s.claim(m.Source, "", v.Target) {
				return
			}
		}
		s.mount(m, "volumes")
	case types.VolumeTypeBind:
		s.bind(m, v)
	case types.VolumeTypeTmpfs:
		m.Kind = protocol.MountTmpfs
		if v.Tmpfs != nil {
			m.Size, m.Mode = s.bytes(v.Tmpfs.Size, "volumes"), v.Tmpfs.Mode
		}
		s.mount(m, "volumes")
	default:
		s.refuseItem(v.Target, s.path("volumes"), fmt.Sprintf("%s is not mounted", clip(v.Type)), "use a volume, a bind or a tmpfs")
	}
}

// bind mounts a folder or a file by its path. One that is relative is the
// project's, and becomes a volume of the stack or travels with it.
func (s *serviceReader) bind(m protocol.StackMount, v types.ServiceVolumeConfig) {
	at := s.path("volumes")
	switch {
	case m.Source == "":
		s.refuseItem(v.Target, at, "the bind has no source", "name a folder, or use a volume")
	case strings.HasPrefix(m.Source, "~"):
		s.refuseItem(m.Source, at, "~ is another folder on each node", "write the path in full, or ./ for a volume of the stack")
	case strings.Contains(m.Source, `\`) || len(m.Source) > 1 && m.Source[1] == ':':
		s.refuseItem(v.Target, at, fmt.Sprintf("%q is a path of Windows", clip(m.Source)), "write ./ for a volume of the stack")
	case filepath.IsAbs(m.Source):
		m.Kind, m.Source, m.NoCopy = protocol.MountBind, filepath.Clean(m.Source), false
		if v.Bind != nil {
			m.Propagation = v.Bind.Propagation
		}
		s.mount(m, "volumes")
	default:
		s.projectPath(m, filepath.Clean(m.Source))
	}
}

// projectPath mounts a path beside the compose file.
func (s *serviceReader) projectPath(m protocol.StackMount, rel string) {
	at := s.path("volumes")
	info, err := os.Stat(filepath.Join(s.dir, rel))
	missing := err != nil
	travels := m.ReadOnly && !s.written(rel)
	switch {
	case !missing && info.Mode().IsRegular() && !m.ReadOnly:
		s.refuseItem(m.Source, at, fmt.Sprintf("the file %s would be written, and files only travel to the node", clip(rel)), "add :ro if the service only reads it, or mount its folder")
		return
	case !missing && info.Mode().IsRegular(), travels && !missing && info.IsDir():
		s.travelMount(m, rel)
		return
	case !missing && !info.IsDir():
		s.refuseItem(m.Source, at, fmt.Sprintf("%s is neither a file nor a folder", clip(rel)), "name its absolute path on the node")
		return
	case travels && !s.plan:
		s.refuseItem(m.Source, at, fmt.Sprintf("there is no %s beside the file", clip(rel)), "put it there, or leave :ro out to have a volume")
		return
	case travels:
		s.warnings = append(s.warnings, Warning{s.src.locateItem(m.Source, at...), fmt.Sprintf("there is no %s beside the file: it must be there when the stack is brought up", clip(rel))})
		s.addFile(protocol.StackFile{Name: rel}, at)
		m.Kind, m.Source = protocol.MountFile, rel
		s.mount(m, "volumes")
		return
	}
	s.projectVolume(m, rel, missing)
}

// written reports whether some service writes to a folder, to one above it or to
// one below it.
func (s *serviceReader) written(rel string) bool {
	for w := range s.writable {
		if w == rel || w == "." || rel == "." || strings.HasPrefix(rel+"/", w+"/") || strings.HasPrefix(w+"/", rel+"/") {
			return true
		}
	}
	return false
}

// projectVolume mounts a folder of the project as a volume. The volume stands
// for the outermost folder, whichever of those below it are mounted: so the data
// stay where they are when a later version of the file mounts more of them.
func (s *serviceReader) projectVolume(m protocol.StackMount, rel string, missing bool) {
	at := s.path("volumes")
	if rel == ".." || strings.HasPrefix(rel, "../") {
		s.refuseItem(m.Source, at, fmt.Sprintf("%s is outside the project's folder", clip(rel)), "move it beside the file, or name its absolute path, which the node's policy must lend")
		return
	}
	if missing && filepath.Ext(rel) != "" && filepath.Ext(rel) == path.Ext(m.Target) {
		s.warnings = append(s.warnings, Warning{s.src.locateItem(m.Source, at...), fmt.Sprintf("there is no %s beside the file: it is taken for a folder", clip(rel))})
	}
	if rel != "." && s.writable["."] { // data it has in a volume of its own would be lost sight of
		s.refuseItem(m.Source, at, fmt.Sprintf(". and %s are both mounted: . would be a volume that does not have what the one of %s has", clip(rel), clip(rel)), "mount the subfolders only")
		return
	}
	source := m.Source
	folder, below, _ := strings.Cut(rel, "/")
	m.Source = volumeName(folder)
	if rel == "." {
		m.Source = projectVolume
	}
	// An image's files do not show through a bind, so they are not copied.
	m.Subpath, m.NoCopy = path.Join(below, m.Subpath), true
	first := s.folders[m.Source] == ""
	if !s.claim(m.Source, folder, source) {
		return
	}
	if entries, err := os.ReadDir(filepath.Join(s.dir, folder)); first && err == nil && len(entries) > 0 && folder != "." {
		s.warnings = append(s.warnings, Warning{s.src.locateItem(source, at...), fmt.Sprintf("the folder %s has files here, and the stack's volume begins without them: copy them with `hearth cp`", clip(folder))})
	}
	s.mount(m, "volumes")
}

// claim adds a volume that the file does not name itself.
func (s *serviceReader) claim(name, folder, text string) bool {
	if old, ok := s.folders[name]; ok && old == folder && folder != "" {
		return true
	}
	if slices.ContainsFunc(s.stack.Volumes, func(v protocol.StackVolume) bool { return v.Name == name }) {
		s.refuseItem(text, s.path("volumes"), fmt.Sprintf("its volume would be called %s as another one", name), "give the named volume or the folder another name")
		return false
	}
	s.folders[name] = folder
	s.stack.Volumes = append(s.stack.Volumes, protocol.StackVolume{Name: name, Path: folder})
	return true
}

// volumeName makes a volume's name of a path: characters that it cannot have
// become '-', and what is too long ends in a hash.
func volumeName(p string) string {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
	out := strings.Map(func(c rune) rune {
		if strings.ContainsRune(allowed, c) {
			return c
		}
		return '-'
	}, p)
	if out != "" && strings.ContainsAny(out[:1], "._-") {
		out = "dot" + out
	}
	if len(out) > maxName {
		h := fnv.New32a()
		_, _ = h.Write([]byte(p))
		out = out[:maxName-9] + "-" + fmt.Sprintf("%08x", h.Sum32())
	}
	return out
}

// tmpfs reads PATH[:OPTION,…].
func (s *serviceReader) tmpfs(text string) {
	target, options, _ := strings.Cut(text, ":")
	m := protocol.StackMount{Kind: protocol.MountTmpfs, Target: target}
	for o := range strings.SplitSeq(options, ",") {
		name, value, _ := strings.Cut(o, "=")
		bad := false
		switch name {
		case "", "rw", "nosuid", "nodev", "noexec", "noatime":
		case "exec", "suid", "dev":
			bad = true
		case "ro":
			m.ReadOnly = true
		case "size":
			size, err := units.RAMInBytes(value)
			bad = err != nil || size < 0
			m.Size = protocol.Bytes(max(size, 0))
		case "mode":
			mode, err := strconv.ParseUint(value, 8, 32)
			bad = err != nil
			m.Mode = uint32(mode)
		case "uid":
			m.UID = value
		case "gid":
			m.GID = value
		default:
			bad = true
		}
		if bad {
			s.refuseItem(text, s.path("tmpfs"), fmt.Sprintf("the option %q is not given to a tmpfs", clip(o)), "use size, mode, uid and gid")
			return
		}
	}
	s.mount(m, "tmpfs")
}
