package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/system"
	"github.com/docker/docker/client"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/runtimetest"
)

const noMemoryLimit = "Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded."

// rewritten is the machine's engine with other answers: alter gets each answer
// of JSON by its path.
func rewritten(t *testing.T, alter func(path string, answer map[string]any)) (host func(*Config)) {
	t.Helper()
	engine, err := client.NewClientWithOpts(client.FromEnv)
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	behind := strings.TrimPrefix(engine.DaemonHost(), "unix://")
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: "docker"}) },
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", behind)
		}},
		ModifyResponse: func(resp *http.Response) error {
			path := resp.Request.URL.Path
			if !strings.HasSuffix(path, "/info") && !strings.HasSuffix(path, "/containers/create") {
				return nil
			}
			var answer map[string]any
			if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
				return err
			}
			alter(path, answer)
			text, err := json.Marshal(answer)
			resp.Body = io.NopCloser(bytes.NewReader(text))
			resp.ContentLength = int64(len(text))
			resp.Header.Del("Content-Length")
			return err
		},
	}
	socket := filepath.Join(t.TempDir(), "e.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: proxy}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	return func(c *Config) { c.Host = "unix://" + socket }
}

// TestLimitDroppedByTheEngine: what the engine says only in a warning keeps the
// container from being used, unless its owner runs containers without.
func TestLimitDroppedByTheEngine(t *testing.T) {
	const tag = "hearth-drivertest:limits"
	runtimetest.BusyboxImage(t, tag)
	var log bytes.Buffer
	d := newTestDriver(t, rewritten(t, func(path string, answer map[string]any) {
		if strings.HasSuffix(path, "/create") {
			answer["Warnings"] = []string{noMemoryLimit}
		} else {
			answer["MemoryLimit"] = false
		}
	}), func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	info, err := d.Info(testContext(t))
	if err != nil || !slices.Equal(info.NoLimits, []string{"memory"}) {
		t.Fatalf("%v, %v", info.NoLimits, err)
	}
	spec := testSpec(tag, "true")
	spec.Limits = []string{"memory", "pids"}
	for range 2 {
		_, _, err = d.Create(testContext(t), spec)
		wantError(t, err, protocol.CodePolicy, "memory", `limits = ["pids"]`)
		if _, err := d.client.Load().ContainerInspect(testContext(t), d.name(spec.ID)); !cerrdefs.IsNotFound(err) {
			t.Errorf("the container without a limit: %v", err)
		}
	}
	spec.Limits = []string{"pids"}
	_, stdio, err := d.Create(testContext(t), spec)
	if err != nil {
		t.Fatal(err)
	}
	stdio.Output.Close()
	if err := d.Remove(testContext(t), spec.ID); err != nil {
		t.Error(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "Limitation discarded"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, log.String())
	}
}

func TestLimitsOfAnEngine(t *testing.T) {
	for want, info := range map[string]system.Info{
		"":                 {MemoryLimit: true, CPUCfsQuota: true, PidsLimit: true},
		"memory":           {CPUCfsQuota: true, PidsLimit: true},
		"cpus pids":        {MemoryLimit: true},
		"memory cpus pids": {},
	} {
		if got := strings.Join(missingLimits(&info), " "); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for warning, want := range map[string]string{
		noMemoryLimit: "memory",
		"Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.":        "pids",
		"Your kernel does not support pids limit capabilities or the cgroup is not mounted. PIDs limit discarded.":        "pids",
		"Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.":                                     "cpus",
		"Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.": "",
		"Your kernel does not support OomKillDisable. OomKillDisable discarded.":                                          "",
	} {
		if got := droppedLimit(warning); got != want {
			t.Errorf("%q of: %s", got, warning)
		}
	}
	host := &container.HostConfig{Resources: container.Resources{NanoCPUs: 5, Memory: 6}}
	if leaveOut(host, []string{runtime.LimitMemory}); host.NanoCPUs != 5 || host.Memory != 6 {
		t.Errorf("%+v", host.Resources)
	}
	if leaveOut(host, []string{runtime.LimitCPUs}); host.NanoCPUs != 0 || host.Memory != 6 {
		t.Errorf("%+v", host.Resources)
	}
}
