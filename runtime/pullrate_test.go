package runtime

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

func TestTransfer(t *testing.T) {
	start := time.Now()
	tests := []struct {
		name  string
		steps []protocol.Bytes // one a second
		want  float64
	}{
		{"nothing came", nil, 0},
		{"from the beginning", []protocol.Bytes{0, 4 << 20, 10 << 20}, 5 << 20},
		{"joined in half-way", []protocol.Bytes{50 << 20, 60 << 20}, 10 << 20},
		{"too little to tell", []protocol.Bytes{0, minTransfer - 1}, 0},
		{"no time went by", []protocol.Bytes{10 << 20}, 0},
	}
	for _, test := range tests {
		var moved transfer
		now := start
		for i, bytes := range test.steps {
			now = start.Add(time.Duration(i) * time.Second)
			moved.step(now, bytes)
		}
		if got := moved.rate(now); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

func TestPullRateIsAveragedAndKeptSparingly(t *testing.T) {
	var r pullRate
	for i, step := range []struct {
		pulled     float64
		rate       protocol.Bytes
		worthwhile bool
	}{
		{1000, 1000, true},
		{1200, 1100, false},
		{1300, 1200, false}, // a fifth more than what was kept, and no more
		{1300, 1250, true},
		{0.1, 625, true},
	} {
		if got := r.add(step.pulled); r.rate != step.rate || got != step.worthwhile {
			t.Errorf("step %d: rate %d, kept %t; want %+v", i, r.rate, got, step)
		}
	}
}

func TestPullRateOutlivesTheProcess(t *testing.T) {
	dir := t.TempDir()
	for _, rate := range []protocol.Bytes{1 << 20, 77} {
		if err := savePullRate(dir, rate); err != nil {
			t.Fatal(err)
		}
		if got := loadPullRate(dir); got != (pullRate{rate, rate}) {
			t.Errorf("%+v, want %d", got, rate)
		}
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("%v, %v", files, err)
	}
	for _, text := range []string{"", "{", `{"bytes_per_second":-1}`, `{"bytes_per_second":18446744073709551615}`, "[]"} {
		if err := os.WriteFile(filepath.Join(dir, rateFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := loadPullRate(dir); got != (pullRate{}) {
			t.Errorf("%q: %+v", text, got)
		}
	}
	if err := savePullRate(filepath.Join(dir, "missing"), 1); err == nil {
		t.Error("no error where it cannot be kept")
	}
}
