package p2p

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// bootFile counts the starts of the device.
const bootFile = "boot"

// nextBoot returns the number of this start. It is greater than the number of
// every earlier start. A counter on disk makes it so, because the clock of a
// home device may go backwards. The clock only sets the first value, for
// devices without the file.
func nextBoot(dir string, log *slog.Logger) uint64 {
	clock := uint64(uint32(time.Now().Unix()))
	if dir == "" {
		return clock
	}
	path := filepath.Join(dir, bootFile)
	boot := clock
	data, err := os.ReadFile(path)
	if err == nil {
		var last uint64
		if last, err = strconv.ParseUint(strings.TrimSpace(string(data)), 10, 32); err == nil {
			boot = last + 1
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("the count of starts is damaged and begins anew", "file", path, "err", err)
	}
	if err := writeFile(path, fmt.Appendf(nil, "%d\n", boot)); err != nil {
		log.Warn("the count of starts could not be saved; after a restart other devices may ignore this one's scores for a while", "file", path, "err", err)
		return max(boot, clock)
	}
	return boot
}

// writeFile replaces a file so that a power cut leaves the old or the new one.
func writeFile(path string, data []byte) (err error) {
	temp := path + ".new"
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		_ = os.Remove(temp)
		return err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}
