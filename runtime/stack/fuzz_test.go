package stack

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func FuzzParseListeners(f *testing.F) {
	f.Add("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n" +
		"   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12345 1 0000000000000000 100 0 0 10 0\n")
	f.Add("   1: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 7 1")
	f.Fuzz(func(t *testing.T, text string) {
		for _, udp := range []bool{false, true} {
			for _, l := range parseListeners(strings.NewReader(text), udp) {
				if !l.address.IsValid() || l.udp != udp {
					t.Errorf("%+v", l)
				}
			}
		}
	})
}

func TestParseListeners(t *testing.T) {
	const text = "   0: 0100007F:1F90 00000000:0000 0A 0:0 00:0 0 1000 0 12345 1\n   1: 0200A8C0:0035 00000000:0000 01 0:0 00:0 0 0 0 7 1\n" +
		"   2: 0000000000000000FFFF00000100007F:0016 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 8 1\n"
	got := parseListeners(strings.NewReader(text), false)
	if len(got) != 2 || got[0].address.String() != "127.0.0.1" || got[0].port != 8080 || got[0].inode != "12345" || got[1].address.String() != "127.0.0.1" || got[1].port != 22 {
		t.Errorf("%+v", got)
	}
}

func FuzzParseRoutes(f *testing.F) {
	f.Add("eth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FEFFFF\t0\t0\t0\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, p := range parseRoutes(strings.NewReader(text)) {
			if !p.IsValid() || p.Bits() == 0 {
				t.Errorf("%v", p)
			}
		}
	})
}

func TestParseRoutes(t *testing.T) {
	got := parseRoutes(strings.NewReader("Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n" +
		"eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\neth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FEFFFF\n"))
	if len(got) != 1 || got[0].String() != "10.0.2.0/23" {
		t.Errorf("%v", got)
	}
}

// FuzzStore: whatever the file holds, it is an error or is read again as it was
// written.
func FuzzStore(f *testing.F) {
	f.Add([]byte(`{"stacks":{"s":{"version":3,"volumes":["a","b"],"subnets":{"default":"10.1.2.0/23"},"stopped":["x"],"completed":["y"],"removing":true,"data":true}}}`))
	f.Add([]byte(`{"stacks":{"s":null}}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, text []byte) {
		first, err := decodeKept(bytes.NewReader(text))
		if err != nil {
			return
		}
		again, err := (&store{kept: first}).encode()
		if err != nil {
			t.Fatal(err)
		}
		second, err := decodeKept(bytes.NewReader(again))
		if err != nil || !reflect.DeepEqual(second, first) {
			t.Errorf("%+v is read again as %+v, %v", first, second, err)
		}
	})
}

func TestStoreIsReadAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "stacks")
	s, err := openStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	kept := s.of("s")
	if !add(&kept.Volumes, "b") || !add(&kept.Volumes, "a") || add(&kept.Volumes, "b") || !drop(&kept.Volumes, "b") || drop(&kept.Volumes, "b") {
		t.Errorf("%q", kept.Volumes)
	}
	text, err := s.encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.write(text); err != nil {
		t.Fatal(err)
	}
	again, err := openStore(dir)
	if err != nil || !reflect.DeepEqual(again.of("s"), kept) {
		t.Errorf("%+v, %v", again, err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	if err := os.WriteFile(filepath.Join(dir, stateName), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openStore(dir); err == nil || !strings.Contains(err.Error(), stateName) {
		t.Errorf("a torn file: %v", err)
	}
}
