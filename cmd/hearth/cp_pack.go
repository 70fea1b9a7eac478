package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/hearth-edge/hearth/protocol"
)

// packing writes local files as an archive.
type packing struct {
	path     string // of the source, as far as it is read
	top      string // what it is called in the archive; empty with contents
	owners   bool
	contents bool

	files int
	size  protocol.Bytes
	left  int // what was left out
}

// newPacking finds out what is to be copied.
func newPacking(local string, f copyFlags) (*packing, error) {
	p := &packing{path: filepath.Clean(local), owners: f.archive, contents: contents(local)}
	whole, err := filepath.Abs(p.path)
	if err != nil {
		return nil, err
	}
	if p.top = filepath.Base(whole); p.top == "/" {
		p.contents = true
	}
	if f.follow {
		if p.path, err = filepath.EvalSymlinks(p.path); err != nil {
			return nil, err
		}
	}
	info, err := os.Lstat(p.path)
	if p.contents && err == nil {
		info, err = os.Stat(p.path)
	}
	switch {
	case err != nil:
		return nil, err
	case p.contents && !info.IsDir():
		return nil, fmt.Errorf("%s is a file: leave out the /. at its end", local)
	case !info.IsDir() && !info.Mode().IsRegular() && info.Mode()&fs.ModeSymlink == 0:
		return nil, fmt.Errorf("%s is no file, folder or link", local)
	}
	if file, err := os.Open(p.path); err != nil && info.Mode()&fs.ModeSymlink == 0 {
		return nil, err
	} else if err == nil {
		_ = file.Close()
	}
	return p, nil
}

// note says what was copied.
func (p *packing) note() string {
	text := fmt.Sprintf("copied %d files, %s", p.files, p.size)
	if p.left > 0 {
		text += fmt.Sprintf("; left out %d that are no files, folders or links", p.left)
	}
	return text
}

// write writes the archive.
func (p *packing) write(to io.Writer) error {
	out := tar.NewWriter(to)
	err := filepath.WalkDir(p.path, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(p.path, file)
		if err != nil {
			return err
		}
		name := path.Join(p.top, filepath.ToSlash(below))
		if p.contents {
			if name = filepath.ToSlash(below); name == "." {
				return nil
			}
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		return p.entry(out, file, name, info)
	})
	if err != nil {
		return err
	}
	return out.Close()
}

// entry writes one file, folder or link.
func (p *packing) entry(out *tar.Writer, file, name string, info fs.FileInfo) error {
	link := ""
	switch mode := info.Mode(); {
	case mode&fs.ModeSymlink != 0:
		var err error
		if link, err = os.Readlink(file); err != nil {
			return err
		}
	case !mode.IsDir() && !mode.IsRegular():
		p.left++
		return nil
	}
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	h.Name = name
	if info.IsDir() {
		h.Name += "/"
	} else {
		p.files++
	}
	h.Mode &= 0o777
	h.Uname, h.Gname = "", ""
	if !p.owners {
		h.Uid, h.Gid = 0, 0
	}
	if err := out.WriteHeader(h); err != nil || !info.Mode().IsRegular() {
		return err
	}
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	n, err := io.CopyN(out, in, h.Size)
	p.size += protocol.Bytes(n)
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%s became shorter while it was copied", file)
	}
	return err
}
