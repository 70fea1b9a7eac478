package main

import (
	"bufio"
	"slices"
	"strings"
	"testing"
)

// Only what is the same as in the file is dropped: not what can be written, was
// written before it was protected, is swapped out, or is another file's.
func TestWhatIsDroppedOfTheProgram(t *testing.T) {
	mapping := func(head, anonymous, swap string) string {
		return head + "\nRss: 4 kB\nAnonymous: " + anonymous + " kB\nSwap: " + swap + " kB\nVmFlags: rd mr\n"
	}
	smaps := mapping("00400000-00bdd000 r-xp 00000000 fe:00 77 /usr/bin/hearth", "0", "0") +
		mapping("00bde000-012da000 r--p 007de000 fe:00 77 /usr/bin/hearth", "0", "0") +
		mapping("012db000-0134b000 rw-p 00eda000 fe:00 77 /usr/bin/hearth", "0", "0") +
		mapping("0134b000-01350000 r--p 00eda000 fe:00 77 /usr/bin/hearth", "8", "0") +
		mapping("01350000-01360000 r--p 00eda000 fe:00 77 /usr/bin/hearth", "0", "8") +
		mapping("7f000000-7f001000 r-xp 00000000 fe:00 78 /lib/libc.so", "0", "0") +
		mapping("7ffd0000-7ffd2000 r-xp 00000000 00:00 0", "0", "0")
	got := programRanges(bufio.NewScanner(strings.NewReader(smaps)), "/usr/bin/hearth")
	if want := []memoryRange{{0x400000, 0xbdd000}, {0xbde000, 0x12da000}}; !slices.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
}

func TestSettle(t *testing.T) {
	if err := settle(); err != nil {
		t.Fatal(err)
	}
}
