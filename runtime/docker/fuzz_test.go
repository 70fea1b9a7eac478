package docker

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/docker/docker/api/types/container"

	"github.com/hearth-edge/hearth/protocol"
)

// FuzzProgress: whatever the engine says of a pull, its account comes to an end,
// and no progress goes back or beyond its total.
func FuzzProgress(f *testing.F) {
	f.Add([]byte(`{"status":"Pulling fs layer","id":"a"}{"status":"Downloading","id":"a","progressDetail":{"current":5,"total":9}}{"status":"Pull complete","id":"a"}`))
	f.Add([]byte(`{"error":"no such image"}`))
	f.Add([]byte(`{"status":"Downloading","id":"a","progressDetail":{"current":-5,"total":-9}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 64<<10 {
			return
		}
		var last protocol.Progress
		_ = follow(bytes.NewReader(data), make(map[string]*layer), func(p protocol.Progress) {
			if p.Current < last.Current && p.Total >= last.Total || p.LayersDone > p.Layers {
				t.Errorf("%+v after %+v", p, last)
			}
			last = p
		})
	})
}

// FuzzCredentials: whatever a docker config holds, reading it ends, and what comes
// of it is as the engine wants it. It may name programs to ask, which are not
// fuzzed.
func FuzzCredentials(f *testing.F) {
	f.Add([]byte(`{"auths":{"registry.local":{"auth":"dXNlcjpwYXNz"}}}`), "registry.local")
	f.Add([]byte(`{"auths":{"https://index.docker.io/v1/":{"identitytoken":"t"}}}`), hubKey)
	f.Add([]byte(`{"auths":{"a":{"auth":"!"}}}`), "a")
	dir := f.TempDir()
	f.Setenv("PATH", "")
	f.Fuzz(func(t *testing.T, data []byte, key string) {
		if lower := bytes.ToLower(data); bytes.Contains(lower, []byte("cred")) || bytes.ContainsRune(lower, '\\') {
			return
		}
		if err := os.WriteFile(filepath.Join(dir, "config.json"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		auth, err := lookUp(dir, key)
		if err == nil && bytes.ContainsAny([]byte(auth), "\r\n ") {
			t.Errorf("%q cannot be in a header", auth)
		}
	})
}

// FuzzLabels: whatever labels a container has, it is recovered as one that could
// have been started, or left alone.
func FuzzLabels(f *testing.F) {
	for _, seed := range []map[string]string{
		{labelRequest: "r", labelAttempt: "1", labelCPUs: "0.5", labelMemory: "1024", labelTimeout: "1m0s", labelLease: "7s", labelOrchestrator: "n"},
		{labelRequest: "../x", labelAttempt: "-1", labelCPUs: "NaN", labelMemory: "1e9", labelTimeout: "-1h", labelLease: "x"},
		{labelRequest: "r", labelAttempt: "0", labelCPUs: "-Inf", labelMemory: "0", labelTimeout: "0s"},
	} {
		text, err := json.Marshal(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, "running")
	}
	f.Fuzz(func(t *testing.T, data []byte, state string) {
		var labels map[string]string
		if json.Unmarshal(data, &labels) != nil {
			return
		}
		r, err := recovered(container.Summary{ID: "c", Labels: labels, State: state})
		if err != nil {
			return
		}
		if !(r.CPUs >= 0 && r.CPUs < 1e6) || r.Timeout < 0 || r.Lease < 0 || r.ID.Attempt == 0 || int64(r.Memory) < 0 {
			t.Errorf("recovered %+v", r)
		}
		if _, err := protocol.ParseRequestID(string(r.ID.Request)); err != nil {
			t.Errorf("request %q: %v", r.ID.Request, err)
		}
	})
}
