package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// settle gives back the memory that only starting took: the heap's, and the pages
// of the program itself that are mapped. Those that are in use come back from the
// page cache as they are touched.
func settle() error {
	debug.FreeOSMemory()
	maps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return err
	}
	defer func() { _ = maps.Close() }()
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range programRanges(bufio.NewScanner(maps), exe) {
		if _, _, e := unix.Syscall(unix.SYS_MADVISE, r.start, r.end-r.start, unix.MADV_DONTNEED); e != 0 {
			errs = append(errs, fmt.Errorf("madvise: %w", e))
		}
	}
	return errors.Join(errs...)
}

type memoryRange struct{ start, end uintptr }

// programRanges returns the mappings of exe in smaps which cannot be written to and
// have no page that differs from the file: what is dropped of them is not lost.
func programRanges(smaps *bufio.Scanner, exe string) []memoryRange {
	var found []memoryRange
	var now memoryRange
	for smaps.Scan() {
		words := strings.Fields(smaps.Text())
		if len(words) >= 6 && strings.Contains(words[0], "-") {
			now = memoryRange{}
			if strings.HasPrefix(words[1], "r-") && words[5] == exe {
				now = parseRange(words[0])
			}
		}
		switch {
		case len(words) < 2:
		case (words[0] == "Anonymous:" || words[0] == "Swap:") && words[1] != "0":
			now = memoryRange{}
		case words[0] == "VmFlags:" && now.start != 0: // the last line of a mapping
			found = append(found, now)
		}
	}
	return found
}

func parseRange(text string) memoryRange {
	low, high, _ := strings.Cut(text, "-")
	start, err := strconv.ParseUint(low, 16, strconv.IntSize)
	end, err2 := strconv.ParseUint(high, 16, strconv.IntSize)
	if err != nil || err2 != nil || start >= end {
		return memoryRange{}
	}
	return memoryRange{uintptr(start), uintptr(end)}
}
