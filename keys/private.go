package keys

import (
	"fmt"
	"io"
	"os"
	"syscall"
)

// maxPrivateFile bounds what is read where a key is expected.
const maxPrivateFile = 4096

// PrivateFolder makes the folder dir, or sees to it that it is for this user alone:
// one that others can look into is closed, which closed tells. One that is another
// user's, or that others may have put files into, is refused; so whose the files in
// it are, or what links lead out of it, is this user's doing.
func PrivateFolder(dir string) (closed bool, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return false, err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return false, err
	}
	mode := info.Mode().Perm()
	switch stat, ok := info.Sys().(*syscall.Stat_t); {
	case ok && int(stat.Uid) != os.Geteuid():
		return false, fmt.Errorf("the folder %s belongs to another user (%d): name another one, or run: chown %d %s", dir, stat.Uid, os.Geteuid(), dir)
	case mode&0o022 != 0:
		return false, fmt.Errorf("others may have put files into the folder %s (mode %04o): see whose they are, then run: chmod 700 %s", dir, mode, dir)
	case mode&0o077 == 0:
		return false, nil
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return false, fmt.Errorf("others can look into the folder %s (mode %04o): %w", dir, mode, err)
	}
	return true, nil
}

// ReadPrivate reads a small file that holds a key. One that others than its owner
// may read or write is refused; of a link, that goes for what it leads to.
func ReadPrivate(path string) ([]byte, error) {
	// What is no file, as a pipe that nobody writes to, is not waited for.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others (mode %04o); run: chmod 600 %s", path, info.Mode().Perm(), path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxPrivateFile+1))
	if err == nil && len(data) > maxPrivateFile {
		err = fmt.Errorf("%s is too long to hold a key", path)
	}
	return data, err
}
