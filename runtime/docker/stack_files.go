package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime/stack"
)

const (
	// fillerRoot is where a filler sees what it fills.
	fillerRoot = "/hearth"
	// stackMemory is the folder of stacks' files in the store of secrets. It has no
	// dot, so it is none of an execution.
	stackMemory = "stacks"
)

// The modes of files that name none.
const (
	fileMode   = 0o444
	secretMode = 0o400
)

// fromMemory reports whether a file is mounted from memory instead of copied into the
// container: secrets, and what cannot be copied.
func fromMemory(spec *stack.Spec, f *stack.File) bool {
	if f.Secret || spec.ReadOnlyRoot {
		return true
	}
	for _, m := range spec.Tmpfs {
		if strings.HasPrefix(f.Target, m.Target+"/") {
			return true
		}
	}
	return false
}

// memoryDir is the folder in memory of a container by its name.
func (s *Stacks) memoryDir(container string) string {
	return filepath.Join(s.driver.secrets.dir, stackMemory, container)
}

func memoryFiles(spec *stack.Spec) (files []*stack.File) {
	for i := range spec.Files {
		if fromMemory(spec, &spec.Files[i]) {
			files = append(files, &spec.Files[i])
		}
	}
	return files
}

// makeMemory makes the folder in memory and empty files in it, which the engine
// finds when it makes the container; they are filled when it starts.
func (s *Stacks) makeMemory(spec *stack.Spec) error {
	files := memoryFiles(spec)
	if len(files) == 0 {
		return nil
	}
	if why := s.driver.noSecrets(); why != "" {
		return protocol.Errorf(protocol.CodePolicy, "secrets, and files of a container whose root is read-only, cannot be given here: %s", why)
	}
	dir := s.memoryDir(s.driver.stackContainer(spec.Stack, spec.Service.Name))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return storeError(err)
	}
	for i, f := range files {
		place := filepath.Join(dir, strconv.Itoa(i))
		if _, err := os.Lstat(place); err == nil {
			continue
		}
		if f.Folder {
			if err := os.Mkdir(place, 0o755); err != nil {
				return storeError(err)
			}
			continue
		}
		if err := os.WriteFile(place, nil, 0o600); err != nil {
			return storeError(err)
		}
	}
	return nil
}

// memoryMounts show a container its files in memory.
func (s *Stacks) memoryMounts(spec *stack.Spec) (mounts []mount.Mount) {
	dir := s.memoryDir(s.driver.stackContainer(spec.Stack, spec.Service.Name))
	for i, f := range memoryFiles(spec) {
		mounts = append(mounts, mount.Mount{
			Type: mount.TypeBind, Source: filepath.Join(dir, strconv.Itoa(i)), Target: f.Target, ReadOnly: true,
			BindOptions: &mount.BindOptions{Propagation: mount.PropagationRPrivate, NonRecursive: true},
		})
	}
	return mounts
}

// refillMemory writes the files in memory, which are gone after a reboot.
func (s *Stacks) refillMemory(ctx context.Context, id string, spec *stack.Spec) error {
	files := memoryFiles(spec)
	if len(files) == 0 {
		return nil
	}
	if err := s.makeMemory(spec); err != nil {
		return err
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for i, f := range files {
		if err := s.addToArchive(ctx, w, f, strconv.Itoa(i), id); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	defer clear(archive.Bytes())
	dir := s.memoryDir(s.driver.stackContainer(spec.Stack, spec.Service.Name))
	host := &container.HostConfig{Mounts: []mount.Mount{{
		Type: mount.TypeBind, Source: dir, Target: fillerRoot,
		BindOptions: &mount.BindOptions{Propagation: mount.PropagationRPrivate, NonRecursive: true},
	}}}
	err := s.withFiller(ctx, spec, host, func(filler string) error { return s.copyTo(ctx, filler, fillerRoot, archive.Bytes()) })
	if err != nil {
		return err
	}
	for i, f := range files {
		info, err := os.Stat(filepath.Join(dir, strconv.Itoa(i)))
		if err != nil || !f.Folder && info.Size() != int64(len(f.Data)) {
			return errOtherFolder()
		}
	}
	return nil
}

// dropMemory removes the files in memory of a container.
func (s *Stacks) dropMemory(container string) error {
	if s.driver.secrets.dir == "" || container == "" {
		return nil
	}
	return os.RemoveAll(s.memoryDir(container))
}

// copyFiles puts the other files into a container that has not started: so they
// are there also where the engine does not see hearth's folders.
func (s *Stacks) copyFiles(ctx context.Context, spec *stack.Spec, id string) error {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	some := false
	for i := range spec.Files {
		f := &spec.Files[i]
		if fromMemory(spec, f) {
			continue
		}
		some = true
		if err := s.addToArchive(ctx, w, f, strings.TrimPrefix(f.Target, "/"), id); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil || !some {
		return err
	}
	return s.copyTo(ctx, id, "/", archive.Bytes())
}

func (s *Stacks) copyTo(ctx context.Context, id, dir string, archive []byte) error {
	return s.driver.within(ctx, changeTimeout, "copy files into a container", func(ctx context.Context) error {
		return s.driver.client.Load().CopyToContainer(ctx, id, dir, bytes.NewReader(archive), container.CopyToContainerOptions{})
	})
}

// addToArchive adds a file, or a folder with what is in it, under that name.
func (s *Stacks) addToArchive(ctx context.Context, w *tar.Writer, f *stack.File, name, id string) error {
	uid, gid, err := s.ownerOfFile(ctx, f, id)
	if err != nil {
		return err
	}
	if f.Folder {
		return addFolder(w, f, name, uid, gid)
	}
	mode := int64(f.Mode)
	switch {
	case mode == 0 && f.Secret:
		mode = secretMode
	case mode == 0:
		mode = fileMode
	}
	head := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Uid: uid, Gid: gid, Size: int64(len(f.Data)), Format: tar.FormatPAX}
	if err := w.WriteHeader(head); err != nil {
		return err
	}
	_, err = w.Write(f.Data)
	return err
}

// ownerOfFile returns whom a file belongs to: root, of a secret the container's user.
func (s *Stacks) ownerOfFile(ctx context.Context, f *stack.File, id string) (uid, gid int, err error) {
	if gid, err = ownerNumber(f.GID); err != nil {
		return 0, 0, err
	}
	if f.UID == "" && f.Secret {
		uid, err = s.driver.userOf(ctx, id)
		return uid, gid, err
	}
	uid, err = ownerNumber(f.UID)
	return uid, gid, err
}

func ownerNumber(text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0, protocol.Errorf(protocol.CodeInvalid, "%q is not the number of a user or group, as the owner of a file: write a number", text)
	}
	return int(n), nil
}

// addFolder adds what is in a folder's archive below name. The files in it are
// plain ones and folders: nothing else travels.
func addFolder(w *tar.Writer, f *stack.File, name string, uid, gid int) error {
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755, Uid: uid, Gid: gid, Format: tar.FormatPAX}); err != nil {
		return err
	}
	files := tar.NewReader(bytes.NewReader(f.Data))
	for {
		head, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return protocol.Errorf(protocol.CodeInvalid, "the folder %s is no whole archive: %v", f.Name, err)
		}
		inner := path.Clean("/" + head.Name)
		if inner == "/" {
			continue
		}
		out := &tar.Header{Typeflag: head.Typeflag, Name: name + inner, Mode: int64(fs.FileMode(head.Mode).Perm()), Uid: uid, Gid: gid, Format: tar.FormatPAX}
		switch head.Typeflag {
		case tar.TypeDir:
			out.Name += "/"
		case tar.TypeReg:
			out.Size = head.Size
		default:
			continue
		}
		if err := w.WriteHeader(out); err != nil {
			return err
		}
		if _, err := io.Copy(w, files); err != nil {
			return fmt.Errorf("copy the folder %s: %w", f.Name, err)
		}
	}
}

// subpaths are the mounts of folders in volumes.
func subpaths(spec *stack.Spec) (all []stack.Mount) {
	for _, m := range spec.Mounts {
		if m.Volume != "" && m.Subpath != "" {
			all = append(all, m)
		}
	}
	return all
}

// places returns where the volumes lie of which a folder is mounted.
func (s *Stacks) places(ctx context.Context, spec *stack.Spec) (map[string]string, error) {
	all := make(map[string]string)
	for _, m := range subpaths(spec) {
		if all[m.Volume] != "" {
			continue
		}
		v, err := s.volume(ctx, m.Volume)
		if err != nil {
			return nil, err
		}
		if v.Mountpoint == "" {
			return nil, protocol.Errorf(protocol.CodeStartFailed, "the engine does not say where the volume %s lies, of which a folder is mounted", m.Volume)
		}
		all[m.Volume] = v.Mountpoint
	}
	return all, nil
}

// makeFolders makes the folders in volumes that are mounted, where they are missing,
// and refuses a way to them with a symbolic link: a container that sees more of the
// volume could have made it, to see what is the node's.
func (s *Stacks) makeFolders(ctx context.Context, spec *stack.Spec) error {
	all := subpaths(spec)
	if len(all) == 0 {
		return nil
	}
	host := &container.HostConfig{}
	roots := make(map[string]string)
	for _, m := range all {
		if roots[m.Volume] == "" {
			roots[m.Volume] = fillerRoot + "/" + strconv.Itoa(len(roots))
			host.Mounts = append(host.Mounts, mount.Mount{
				Type: mount.TypeVolume, Source: m.Volume, Target: roots[m.Volume], VolumeOptions: &mount.VolumeOptions{NoCopy: true},
			})
		}
	}
	return s.withFiller(ctx, spec, host, func(filler string) error {
		for _, m := range all {
			if err := s.makeFolder(ctx, filler, roots[m.Volume], m); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Stacks) makeFolder(ctx context.Context, filler, root string, m stack.Mount) error {
	clean := path.Clean(m.Subpath)
	if path.IsAbs(clean) || clean == "." || clean == ".." || strings.HasPrefix(clean, "../") {
		return protocol.Errorf(protocol.CodeInvalid, "%q: %v", m.Subpath, errOutside)
	}
	at := root
	for _, part := range strings.Split(clean, "/") {
		parent := at
		at += "/" + part
		found, err := s.stat(ctx, filler, at)
		switch {
		case err != nil:
			return err
		case found == nil:
			var archive bytes.Buffer
			w := tar.NewWriter(&archive)
			head := &tar.Header{Typeflag: tar.TypeDir, Name: part + "/", Mode: 0o755, Format: tar.FormatPAX}
			if err := errors.Join(w.WriteHeader(head), w.Close()); err != nil {
				return err
			}
			if err := s.copyTo(ctx, filler, parent, archive.Bytes()); err != nil {
				return err
			}
		case found.Mode&fs.ModeSymlink != 0 || found.LinkTarget != "":
			return protocol.Errorf(protocol.CodePolicy, "%s in the volume %s leads elsewhere by the link %q: a folder of a volume that is mounted must be one", m.Subpath, m.Volume, found.LinkTarget)
		}
	}
	return nil
}
