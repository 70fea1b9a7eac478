package main

import (
	"archive/tar"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hearth-edge/hearth/protocol"
)

const (
	// maxExtracted bounds the files and folders of one copy, maxDepth how deep
	// they lie.
	maxExtracted = 1 << 20
	maxDepth     = 256
	// spaceReserve is how much of the disk a copy leaves free.
	spaceReserve = 64 << 20
)

// extraction writes an archive of a container's files, which is not to be trusted.
// Nothing of it comes to lie anywhere but at its one place, whatever names and
// links it holds.
type extraction struct {
	// local is that place; below says that it is a folder that is there, below which
	// the archive's one file or folder goes.
	local string
	below bool
	// contents leaves out the folder at the archive's top.
	contents bool
	// folder says that local must be one.
	folder bool
	owners bool

	top     string   // the archive's own name of what is at its top
	single  bool     // that is no folder
	made    bool     // local was made by this copy
	root    *os.Root // the folder that all goes into
	folders []*tar.Header
	files   int
	size    protocol.Bytes
	left    int // what was left out
}

// newExtraction finds out what is at the destination.
func newExtraction(local string, contents, folder, owners bool) (*extraction, error) {
	x := &extraction{local: filepath.Clean(local), contents: contents, owners: owners}
	slash := strings.HasSuffix(local, "/")
	info, err := os.Stat(local)
	switch {
	case err == nil && info.IsDir():
		x.below = true
	case err == nil && (slash || contents):
		return nil, fmt.Errorf("%s is a file, not a folder", local)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	case err != nil:
		if above, err := os.Stat(filepath.Dir(x.local)); err != nil || !above.IsDir() {
			return nil, &failure{err: fmt.Errorf("there is no folder %s", filepath.Dir(x.local)), hint: "make it first"}
		}
		x.folder = slash || folder
	}
	return x, nil
}

// Close lets go of the folder.
func (x *extraction) Close() {
	if x.root != nil {
		_ = x.root.Close()
	}
}

// note says what was copied.
func (x *extraction) note() string {
	text := fmt.Sprintf("copied %d files, %s", x.files, x.size)
	if x.left > 0 {
		text += fmt.Sprintf("; left out %d that are no files, folders or links", x.left)
	}
	return text
}

// extract writes the archive.
func (x *extraction) extract(from io.Reader) error {
	in := tar.NewReader(from)
	for n := 0; ; n++ {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return x.finish()
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errArchiveLost, err)
		}
		if n >= maxExtracted {
			return fmt.Errorf("the container sends more than %d files", maxExtracted)
		}
		if err := x.entry(h, in); err != nil {
			return err
		}
	}
}

// entry writes one file, folder or link.
func (x *extraction) entry(h *tar.Header, data io.Reader) error {
	name := path.Clean(h.Name)
	if path.IsAbs(name) || name == ".." || strings.HasPrefix(name, "../") || strings.Count(name, "/") > maxDepth {
		return fmt.Errorf("the container sends %q, which leads out of what is copied", h.Name)
	}
	top, rest, _ := strings.Cut(name, "/")
	if x.root == nil {
		if top == "." {
			return errors.New("the container sends no name for what is copied")
		}
		x.top = top
		if err := x.begin(h); err != nil {
			return err
		}
		if h.Typeflag == tar.TypeDir {
			if h.Name = "."; x.made {
				x.folders = append(x.folders, h)
			}
			return nil
		}
		return x.write(filepath.Base(x.local), h, data)
	}
	if top != x.top || x.single {
		return fmt.Errorf("the container sends %q beside what is copied", h.Name)
	}
	if rest == "" {
		rest = "."
	}
	return x.write(rest, h, data)
}

// begin makes the place ready for what is at the archive's top.
func (x *extraction) begin(h *tar.Header) (err error) {
	folder := h.Typeflag == tar.TypeDir
	switch {
	case !folder && x.contents:
		return errors.New("the source is a file: leave out the /. at its end")
	case !folder && x.folder:
		return fmt.Errorf("there is no folder %s", x.local)
	case x.below && !x.contents:
		x.local = filepath.Join(x.local, x.top)
	}
	if !folder {
		x.single = true
		x.root, err = os.OpenRoot(filepath.Dir(x.local))
		return err
	}
	// What is there may be a link that somebody else made: only a folder will do.
	info, err := os.Lstat(x.local)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.Mkdir(x.local, 0o700); err != nil {
			return err
		}
		x.made = true
	case err != nil:
		return err
	case !info.IsDir() && (!x.below || !x.contents):
		return fmt.Errorf("%s is there and is no folder", x.local)
	}
	x.root, err = os.OpenRoot(x.local)
	return err
}

// write writes one entry below the root.
func (x *extraction) write(name string, h *tar.Header, data io.Reader) error {
	switch h.Typeflag {
	case tar.TypeDir:
		made := x.root.Mkdir(name, 0o700)
		if made != nil && !errors.Is(made, fs.ErrExist) {
			return made
		}
		if info, err := x.root.Lstat(name); err != nil || !info.IsDir() {
			return fmt.Errorf("%s is there and is no folder", filepath.Join(x.root.Name(), name))
		}
		if h.Name = name; made == nil { // what was there keeps its mode and owner
			x.folders = append(x.folders, h)
		}
		return nil
	case tar.TypeReg:
		return x.file(name, h, data)
	case tar.TypeSymlink:
		if err := x.replace(name); err != nil {
			return err
		}
		if err := x.root.Symlink(h.Linkname, name); err != nil {
			return err
		}
		x.files++
		return x.own(name, h)
	case tar.TypeLink:
		top, to, _ := strings.Cut(path.Clean(h.Linkname), "/")
		if top != x.top || to == "" || x.single {
			return fmt.Errorf("the container sends a link to %q, which leads out of what is copied", h.Linkname)
		}
		if err := x.replace(name); err != nil {
			return err
		}
		x.files++
		return x.root.Link(to, name)
	}
	x.left++
	return nil
}

// replace makes room for a link. A folder stays.
func (x *extraction) replace(name string) error {
	info, err := x.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%s is there and is a folder", filepath.Join(x.root.Name(), name))
	}
	return x.root.Remove(name)
}

// file writes a file, whole or not at all.
func (x *extraction) file(name string, h *tar.Header, data io.Reader) (err error) {
	if free, known := freeSpace(x.root.Name()); known && uint64(h.Size) > max(free, spaceReserve)-spaceReserve {
		return fmt.Errorf("%s takes %s, and the disk has %s: it is not copied", h.Name, protocol.Bytes(h.Size), protocol.Bytes(free))
	}
	temporary := path.Join(path.Dir(name), ".hearth-cp-"+rand.Text()[:12])
	file, err := x.root.OpenFile(temporary, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = x.root.Remove(temporary)
		}
	}()
	_, err = io.Copy(file, data)
	if err != nil && !errors.Is(err, fs.ErrClosed) {
		if _, local := errors.AsType[*fs.PathError](err); !local {
			err = fmt.Errorf("%w: %w", errArchiveLost, err)
		}
	}
	err = errors.Join(err, file.Chmod(h.FileInfo().Mode().Perm()), file.Close())
	if err != nil {
		return err
	}
	if err := x.own(temporary, h); err != nil {
		return err
	}
	_ = x.root.Chtimes(temporary, h.ModTime, h.ModTime) // the time is for people
	if err := x.replace(name); err != nil {
		return err
	}
	x.files, x.size = x.files+1, x.size+protocol.Bytes(h.Size)
	return x.root.Rename(temporary, name)
}

// own gives a file its owner, where that is wanted.
func (x *extraction) own(name string, h *tar.Header) error {
	if !x.owners {
		return nil
	}
	return x.root.Lchown(name, h.Uid, h.Gid)
}

// finish gives folders what would have kept files from being written into them.
func (x *extraction) finish() error {
	if x.root == nil {
		return errArchiveLost
	}
	for _, h := range slices.Backward(x.folders) {
		if err := x.root.Chmod(h.Name, h.FileInfo().Mode().Perm()); err != nil {
			return err
		}
		if err := x.own(h.Name, h); err != nil {
			return err
		}
		_ = x.root.Chtimes(h.Name, h.ModTime, h.ModTime)
	}
	return nil
}
