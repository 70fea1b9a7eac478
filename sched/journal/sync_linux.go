package journal

import (
	"os"
	"syscall"
)

// sync returns once the file's content is on disk.
func (f *logFile) sync() error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if err == nil {
			return nil
		}
		if err != syscall.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
