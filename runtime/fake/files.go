package fake

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// maxFiles is how much a container's files may hold.
const maxFiles = 64 << 20

// files are those that were copied into a container; it has a folder /tmp.
type files struct {
	mu  sync.Mutex // guards the rest
	all map[string]file
	// size of all data.
	size int
}

type file struct {
	header tar.Header
	data   []byte
}

func (f *files) init() {
	if f.all == nil {
		f.all = map[string]file{
			"/":    {header: tar.Header{Typeflag: tar.TypeDir, Mode: 0o755}},
			"/tmp": {header: tar.Header{Typeflag: tar.TypeDir, Mode: 0o1777}},
		}
	}
}

// resolve follows symbolic links at the end of a path.
func (f *files) resolve(name string) (to string, found file, err error) {
	for range 8 {
		found, ok := f.all[name]
		if !ok {
			return "", file{}, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
		}
		if found.header.Typeflag != tar.TypeSymlink {
			return name, found, nil
		}
		to := found.header.Linkname
		if !path.IsAbs(to) {
			to = path.Join(path.Dir(name), to)
		}
		name = to
	}
	return "", file{}, errors.New("too many links")
}

// Stat implements runtime.Access.
func (d *Driver) Stat(ctx context.Context, name, at string) (runtime.PathStat, error) {
	c, err := d.running(ctx, name)
	if err != nil {
		return runtime.PathStat{}, err
	}
	f := &c.files
	f.mu.Lock()
	defer f.mu.Unlock()
	f.init()
	to, found, err := f.resolve(path.Clean(at))
	if err != nil {
		return runtime.PathStat{}, err
	}
	stat := runtime.PathStat{Mode: found.header.FileInfo().Mode(), Size: protocol.Bytes(len(found.data))}
	if to != path.Clean(at) {
		stat.Link = to
	}
	return stat, nil
}

// CopyFrom implements runtime.Access.
func (d *Driver) CopyFrom(ctx context.Context, name, at string) (io.ReadCloser, error) {
	c, err := d.running(ctx, name)
	if err != nil {
		return nil, err
	}
	f := &c.files
	f.mu.Lock()
	defer f.mu.Unlock()
	f.init()
	at = path.Clean(at)
	if _, ok := f.all[at]; !ok {
		return nil, fmt.Errorf("%s: %w", at, fs.ErrNotExist)
	}
	var archive bytes.Buffer
	out := tar.NewWriter(&archive)
	for _, name := range slices.Sorted(maps.Keys(f.all)) {
		rest, ok := strings.CutPrefix(name, at)
		if !ok || rest != "" && rest[0] != '/' && at != "/" {
			continue
		}
		h := f.all[name].header
		h.Name = path.Join(path.Base(at), rest)
		if h.Typeflag == tar.TypeDir {
			h.Name += "/"
		}
		if err := out.WriteHeader(&h); err != nil {
			return nil, err
		}
		if _, err := out.Write(f.all[name].data); err != nil {
			return nil, err
		}
	}
	return io.NopCloser(&archive), out.Close()
}

// CopyInto implements runtime.Access.
func (d *Driver) CopyInto(ctx context.Context, name, dir string, archive io.Reader) error {
	c, err := d.running(ctx, name)
	if err != nil {
		return err
	}
	f := &c.files
	f.mu.Lock()
	f.init()
	dir, found, err := f.resolve(path.Clean(dir))
	f.mu.Unlock()
	if err != nil {
		return err
	}
	if found.header.Typeflag != tar.TypeDir {
		return protocol.Errorf(protocol.CodeConflict, "%s is no folder", dir)
	}
	in := tar.NewReader(archive)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		data, err := io.ReadAll(io.LimitReader(in, maxFiles+1))
		if err == nil {
			err = f.put(path.Join(dir, path.Clean("/"+h.Name)), h, data)
		}
		if err != nil {
			return err
		}
	}
}

// put keeps one file.
func (f *files) put(name string, h *tar.Header, data []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	old, there := f.all[name]
	if there && (old.header.Typeflag == tar.TypeDir) != (h.Typeflag == tar.TypeDir) {
		return protocol.Errorf(protocol.CodeConflict, "%s: a file never takes the place of a folder, or the other way", name)
	}
	if f.size += len(data) - len(old.data); f.size > maxFiles {
		return protocol.Errorf(protocol.CodeDiskFull, "the fake engine keeps at most %d bytes", maxFiles)
	}
	f.all[name] = file{header: *h, data: data}
	return nil
}
