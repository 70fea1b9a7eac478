package main

import (
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// clockCode is added to Go's package runtime. The variables are written from
// outside while the program runs; the environment sets the wall clock from the
// program's first moment on.
const clockCode = `
// What the wall clock is ahead, and how long the monotonic clock stood still.
var testnetWall, testnetAsleep int64

func init() {
	text, sign := gogetenv("TESTNET_WALL"), int64(1)
	for i := 0; i < len(text); i++ {
		if i == 0 && text[i] == '-' {
			sign = -1
			continue
		}
		testnetWall = testnetWall*10 + int64(text[i]-'0')
	}
	testnetWall *= sign
}

func testnetNow() (sec int64, nsec int32, mono int64) {
	sec, nsec, _ = time_now()
	total := int64(nsec) + testnetWall%1e9
	sec += testnetWall/1e9 + total/1e9
	if total %= 1e9; total < 0 {
		sec, total = sec-1, total+1e9
	}
	return sec, int32(total), nanotime()
}
`

// The places of Go's runtime that the clocks go through, and what they become.
var clockPatches = []struct{ file, old, new string }{
	{"time.go", "\treturn time_now()\n", "\treturn testnetNow()\n"},
	{"time_nofake.go", "\treturn nanotime1()\n", "\treturn nanotime1() - testnetAsleep\n"},
}

// writeOverlay writes the changed files of the installed Go's runtime and the
// list of them, whose path it returns.
func writeOverlay(dir string) (string, error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("find Go: %w", err)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	replace := map[string]string{}
	for i, p := range clockPatches {
		source := filepath.Join(strings.TrimSpace(string(root)), "src", "runtime", p.file)
		data, err := os.ReadFile(source)
		if err != nil {
			return "", err
		}
		text := string(data)
		if strings.Count(text, p.old) != 1 {
			return "", fmt.Errorf("this version of Go reads its clocks in another way: %s has not one line %q", source, strings.TrimSpace(p.old))
		}
		text = strings.Replace(text, p.old, p.new, 1)
		if i == 0 {
			text += clockCode
		}
		replace[source] = filepath.Join(dir, p.file+".txt")
		if err := writeChanged(replace[source], text); err != nil {
			return "", err
		}
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, writeChanged(path, string(list))
}

// writeChanged leaves a file that is right already alone.
func writeChanged(path, text string) error {
	if old, err := os.ReadFile(path); err == nil && string(old) == text {
		return nil
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

// setClock writes one of the variables of clockCode in a running process.
func setClock(pid int, which string, offset time.Duration) error {
	name, known := map[string]string{"wall": "runtime.testnetWall", "asleep": "runtime.testnetAsleep"}[which]
	if !known {
		return errUsage
	}
	address, order, err := symbol(fmt.Sprintf("/proc/%d/exe", pid), name)
	if err != nil {
		return fmt.Errorf("process %d: %w", pid, err)
	}
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer mem.Close()
	var word [8]byte
	order.PutUint64(word[:], uint64(offset))
	if _, err := mem.WriteAt(word[:], int64(address)); err != nil {
		return fmt.Errorf("set the clock of process %d: %w", pid, err)
	}
	return nil
}

func symbol(path, name string) (uint64, binary.ByteOrder, error) {
	f, err := elf.Open(path)
	if err != nil {
		return 0, nil, err
	}
	defer f.Close()
	if f.Type != elf.ET_EXEC {
		return 0, nil, fmt.Errorf("the addresses of %s are not fixed", path)
	}
	symbols, _ := f.Symbols() // an error is that there are none
	for _, s := range symbols {
		if s.Name == name && s.Size == 8 {
			return s.Value, f.ByteOrder, nil
		}
	}
	return 0, nil, fmt.Errorf("its clocks cannot be set: it was not built with the overlay")
}
