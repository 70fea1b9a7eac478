package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/hearth-edge/hearth/protocol"
)

const peerID = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp"

// realMesh is a mesh as homes have it, with long names and busy devices.
func realMesh() []protocol.Device {
	var ds []protocol.Device
	for i, name := range []string{"raspberrypi-kitchen", "raspberrypi-Ab3x", "living-room-mediacenter", "nas", "anna-thinkpad-x1-carbon"} {
		ds = append(ds, protocol.Device{Self: i == 0, Age: 123456 * time.Millisecond, RTT: 1234567, Address: "/ip4/192.168.178.112/tcp/40123", Status: protocol.Status{
			Node: peerID, Name: name, Role: protocol.RoleNode, Score: 1234.56, CPUs: 15.75, MemoryFree: 127<<30 + 1<<25,
			Running: 128, Queued: 1024, Arch: "arm64", OS: "linux", Accelerators: []string{"gpu", "npu"}, Temperature: 61, Draining: i == 3,
			Throttled: 0.25, PullRate: 5 << 20, DiskFree: 1 << 40, Labels: map[string]string{"room": "kitchen", "disk": "ssd"},
			Addresses: []string{"/ip6/2001:db8:85a3:8d3:1319:8a2e:370:7348/tcp/40123"},
		}})
	}
	return append(ds, protocol.Device{Age: time.Second, Status: protocol.Status{Node: peerID, Name: "tv"}})
}

func realDetail() protocol.RequestDetail {
	now := time.Date(2026, 11, 30, 7, 0, 0, 123e6, time.UTC)
	event := func(s protocol.State, reason string) protocol.Event {
		return protocol.Event{
			State: s, Attempt: 2, Node: peerID, NodeName: "living-room-mediacenter", At: now, Reason: reason,
			Container: strings.Repeat("c0ffee", 10) + "abcd",
		}
	}
	failed := event(protocol.StateFailed, "the engine could not start the container: exec: \"/usr/local/bin/entrypoint.sh\": permission denied")
	failed.Code = protocol.CodeStartFailed
	placing := event(protocol.StatePlacing, "raspberrypi-kitchen is busy: 4 running, 2 queued, 4 fit at a time")
	placing.QueuePlace = 12
	return protocol.RequestDetail{
		RequestInfo: protocol.RequestInfo{
			ID: "k3vq7xwz2mfn5tbd4hyc", Orchestrator: peerID, OrchestratorName: "anna-thinkpad-x1-carbon",
			Image: "ghcr.io/home-assistant/raspberrypi4-64-homeassistant:2026.11.1", Args: []string{"python", "-m", "homeassistant", "--config", "/config"},
			Detached: true, Last: failed, Accepted: now, Started: now.Add(time.Second), Ended: now.Add(time.Hour),
		},
		Service: protocol.Service{
			Image: "ghcr.io/home-assistant/raspberrypi4-64-homeassistant:2026.11.1", Args: []string{"python", "-m", "homeassistant", "--config", "/config", "--log-file", "/dev/stdout"},
			Env:    []string{"TZ=Europe/Berlin", "LD_PRELOAD=/usr/local/lib/libjemalloc.so.2", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"},
			Mounts: []protocol.Mount{{Source: "/srv/home-assistant/config", Target: "/config", Writable: true}, {Source: "/etc/localtime", Target: "/etc/localtime"}},
			CPUs:   1.5, Memory: 512 << 20, Timeout: time.Hour, Constraints: protocol.Constraints{Node: "living-room-mediacenter", Labels: map[string]string{"arch": "arm64"}},
		},
		Events: []protocol.Event{{State: protocol.StateAccepted, At: now}, placing, event(protocol.StateRunning, ""), failed},
		Decisions: []protocol.Decision{{Unnamed: 12, Candidates: []protocol.Candidate{
			{Node: peerID, Name: "anna-thinkpad-x1-carbon", Self: true, Score: 1234.56, Estimate: 83 * time.Second, Work: 82340 * time.Millisecond, Network: 1234567, Cold: 12340 * time.Millisecond, Chance: 1, Chosen: true},
			{Node: peerID, Name: "raspberrypi-kitchen", Score: 12.3, Code: protocol.CodeConstraint, Excluded: "is linux/amd64, and the image is made for linux/arm/v7, linux/arm64 and linux/s390x"},
			{Node: peerID, Code: protocol.CodeBusy, Excluded: "has told no score yet: it has just joined"},
		}}},
	}
}

func realList() []protocol.RequestInfo {
	d := realDetail()
	queued := d.RequestInfo
	queued.Last = d.Events[1]
	return []protocol.RequestInfo{d.RequestInfo, queued}
}

// Every table of a real mesh fits a terminal of 80 columns, with nothing lost
// that users type, and no reason.
func TestTablesFitEightyColumns(t *testing.T) {
	d := realDetail()
	for _, c := range []struct {
		name string
		rows [][]string
		keep []string
	}{
		{"nodes", deviceRows(realMesh(), false), []string{"anna-thinkpad-x1-carbon", "draining", "1234.56", "127 GiB"}},
		{"ps", requestRows(realList(), time.Now(), false), []string{"k3vq7xwz2mfn5tbd4hyc"}},
		{"inspect", inspectionRows(&d, false), []string{"homeassistant:2026.11.1", "/srv/home-assistant/config at", "living-room-mediacenter", "permission denied"}},
		{"life", lifeRows(&d, false), []string{"07:00:00.123", "permission denied", "4 fit at a time"}},
		{"explain", decisionRows(&d.Decisions[0]), []string{"anna-thinkpad-x1-carbon *", "linux/s390x", "it has just joined", "chosen", "and 12 more"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			if err := writeTable(&out, c.rows, terminalWidth); err != nil {
				t.Fatal(err)
			}
			t.Log("\n" + out.String())
			for line := range strings.Lines(out.String()) {
				if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > terminalWidth {
					t.Errorf("%d columns: %s", n, line)
				}
			}
			plain := strings.Join(strings.Fields(out.String()), " ")
			for _, want := range c.keep {
				if !strings.Contains(plain, want) {
					t.Errorf("%q is lost", want)
				}
			}
		})
	}
}

// What goes into a file or a pipe is whole, one line a row.
func TestTableInAFileIsWhole(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	long := strings.Repeat("word ", 50) + "end"
	if err := table(file, [][]string{{"A", "B", "C"}, {"a", long, long}}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("A  B%s  C\na  %s  %s\n", strings.Repeat(" ", len(long)-1), long, long)
	if string(got) != want {
		t.Errorf("%q", got)
	}
}

func TestTableNeverLosesARow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cell := rapid.StringMatching(`[a-z ]{0,40}`)
		rows := rapid.SliceOfN(rapid.SliceOfN(cell, 0, 7), 0, 8).Draw(t, "rows")
		width := rapid.SampledFrom([]int{0, 80, 200}).Draw(t, "width")
		var out bytes.Buffer
		if err := writeTable(&out, rows, width); err != nil {
			t.Fatal(err)
		}
		lines, want := strings.Count(out.String(), "\n"), 0
		for _, row := range rows {
			if len(row) > 0 {
				want++
				last := strings.Join(strings.Fields(row[len(row)-1]), " ")
				if !strings.Contains(strings.Join(strings.Fields(out.String()), " "), last) {
					t.Fatalf("%q is lost in\n%s", last, out.String())
				}
			}
		}
		if lines < want || width == 0 && lines != want {
			t.Fatalf("%d lines of %d rows", lines, want)
		}
	})
}

// filled returns a T of which the field at path, and no other, is set.
func filled[T any](t *testing.T, path []int) T {
	var v T
	f := reflect.ValueOf(&v).Elem().FieldByIndex(path)
	switch f.Kind() {
	case reflect.String:
		f.SetString("zebra")
	case reflect.Bool:
		f.SetBool(true)
	case reflect.Int, reflect.Int64:
		f.SetInt(int64(77 * time.Second))
	case reflect.Uint8:
		f.SetUint(1)
	case reflect.Uint16, reflect.Uint32, reflect.Uint64:
		f.SetUint(7)
	case reflect.Float64:
		f.SetFloat(0.75)
	case reflect.Map:
		f.Set(reflect.ValueOf(map[string]string{"zebra": "yes"}))
	case reflect.Slice:
		f.Set(reflect.MakeSlice(f.Type(), 1, 1))
		if e := f.Index(0); e.Kind() == reflect.String {
			e.SetString("zebra")
		} else if e.Kind() == reflect.Struct && e.Field(0).Kind() == reflect.String {
			e.Field(0).SetString("zebra")
		}
	default:
		t.Fatalf("a field of kind %s: say here how to set it", f.Kind())
	}
	return v
}

// leaves lists the fields of a struct, those of structs within one by one.
func leaves(typ reflect.Type) (paths [][]int, names []string) {
	for i := range typ.NumField() {
		f := typ.Field(i)
		if f.Type.Kind() != reflect.Struct {
			paths, names = append(paths, []int{i}), append(names, f.Name)
			continue
		}
		inner, innerNames := leaves(f.Type)
		for j := range inner {
			paths, names = append(paths, append([]int{i}, inner[j]...)), append(names, f.Name+"."+innerNames[j])
		}
	}
	return paths, names
}

// What a service may ask for, inspect tells: above all what a container was given
// of its node.
func TestInspectTellsAllOfAService(t *testing.T) {
	show := func(s protocol.Service) string {
		return fmt.Sprint(inspectionRows(&protocol.RequestDetail{Service: s}, false))
	}
	paths, names := leaves(reflect.TypeFor[protocol.Service]())
	for i, path := range paths {
		if show(filled[protocol.Service](t, path)) == show(protocol.Service{}) {
			t.Errorf("hearth inspect does not tell %s", names[i])
		}
	}
}
