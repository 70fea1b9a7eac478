package runtime

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
)

// maxLinks is how many symbolic links are followed, as the kernel does.
const maxLinks = 40

// A File is what a path leads to.
type File struct {
	// Path of it, without symbolic links.
	Path string
	// Via are the places of the symbolic links that were followed, themselves
	// without any but the last.
	Via []string
	// Mode and Group of it.
	Mode  fs.FileMode
	Group int
}

var errTooManyLinks = errors.New("too many symbolic links")

// LookFile finds a file by an absolute path, and tells every link on the way.
func LookFile(name string) (File, error) {
	return follow(name, os.Lstat, os.Readlink)
}

// follow is LookFile on any file system.
func follow(name string, lstat func(string) (fs.FileInfo, error), readlink func(string) (string, error)) (File, error) {
	var via []string
	at, left := "/", path.Clean("/"+name)
	for {
		left = strings.TrimLeft(left, "/")
		if left == "" {
			break
		}
		part, rest, _ := strings.Cut(left, "/")
		left = rest
		switch part {
		case ".":
			continue
		case "..":
			at = path.Dir(at) // at has no links: its parent is just that
			continue
		}
		next := path.Join(at, part)
		info, err := lstat(next)
		if err != nil {
			return File{}, err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			at = next
			continue
		}
		via = append(via, next)
		if len(via) > maxLinks {
			return File{}, &fs.PathError{Op: "follow", Path: name, Err: errTooManyLinks}
		}
		link, err := readlink(next)
		if err != nil {
			return File{}, err
		}
		if path.IsAbs(link) {
			at = "/"
		}
		left = link + "/" + left
	}
	info, err := lstat(at)
	if err != nil {
		return File{}, err
	}
	f := File{Path: at, Via: via, Mode: info.Mode()}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		f.Group = int(stat.Gid)
	}
	return f, nil
}

func isDevice(m fs.FileMode) bool { return m&fs.ModeDevice != 0 }
