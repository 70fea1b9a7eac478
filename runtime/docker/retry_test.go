package docker

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// failures are the ways in which registries fail that may pass.
var failures = map[string]func(http.ResponseWriter){
	"unavailable": func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) },
	"page for people": func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusBadGateway)
		w.Write([]byte("<html>not found, access denied</html>"))
	},
	"cut off": func(w http.ResponseWriter) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			conn.Close()
		}
	},
	"reset": func(w http.ResponseWriter) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
		}
	},
}

// tryCount is a log in which the driver says that a fetch is tried again.
type tryCount struct {
	slog.Handler
	tries atomic.Int64
}

func (c *tryCount) Enabled(context.Context, slog.Level) bool { return true }

func (c *tryCount) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "try" {
			c.tries.Store(a.Value.Int64())
		}
		return true
	})
	return nil
}

// TestPullIsTriedAgain has a registry that fails until the engine has been told
// to try for the third time.
func TestPullIsTriedAgain(t *testing.T) {
	for name, failure := range failures {
		t.Run(name, func(t *testing.T) {
			count := &tryCount{Handler: slog.DiscardHandler}
			d := newTestDriver(t, func(c *Config) { c.Log = slog.New(count) })
			r := newRegistry(t)
			d.pause = time.Millisecond
			r.push(t, "weak", goruntime.GOARCH, 2*megabyte)
			ref := r.ref("weak")
			dropLater(t, d, ref)
			// The last try waits for its own announcement to have been seen.
			announced := make(chan struct{})
			told := sync.OnceFunc(func() { close(announced) })
			r.fail = func(w http.ResponseWriter) bool {
				if count.tries.Load() == pullTries {
					<-announced
					return false
				}
				failure(w)
				return true
			}
			var retries []string
			var last protocol.Progress
			err := d.Pull(testContext(t), ref, func(step runtime.PullStep) {
				if step.Current < last.Current || step.Layers < last.Layers {
					t.Errorf("progress went from %+v to %+v", last, step.Progress)
				}
				last = step.Progress
				if step.Retry != "" {
					retries = append(retries, step.Retry)
				}
				if strings.HasPrefix(step.Retry, "try 3 of 3: ") {
					told()
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if len(retries) == 0 || last.Current < 2*megabyte || last.LayersDone != 1 {
				t.Errorf("told of %q, and in the end %+v", retries, last)
			}
		})
	}
}

func TestPullIsNotTriedForEver(t *testing.T) {
	for name, failure := range failures {
		t.Run(name, func(t *testing.T) {
			d, r := newTestDriver(t), newRegistry(t)
			d.pause = time.Millisecond
			var failed atomic.Int32
			r.fail = func(w http.ResponseWriter) bool {
				failed.Add(1)
				failure(w)
				return true
			}
			err := d.Pull(testContext(t), r.ref("weak"), nil)
			wantError(t, err, protocol.CodePullFailed, r.ref("weak"), "(tries: 3)")
			if failed.Load() < pullTries {
				t.Errorf("the registry was asked %d times", failed.Load())
			}
		})
	}
}

// TestPullPatience: no try begins too late.
func TestPullPatience(t *testing.T) {
	d, r := newTestDriver(t), newRegistry(t)
	d.pause = pullPatience + time.Second
	r.fail = func(w http.ResponseWriter) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	wantError(t, d.Pull(testContext(t), r.ref("weak"), nil), protocol.CodePullFailed, "(tries: 1)")
}

// fakeEngine is an engine that has no image and whose pulls end with an error.
type fakeEngine struct {
	message string
	pulls   atomic.Int32
}

func (e *fakeEngine) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	switch {
	case strings.HasSuffix(req.URL.Path, "/_ping"):
		w.Header().Set("API-Version", "1.41")
	case strings.HasSuffix(req.URL.Path, "/images/create"):
		e.pulls.Add(1)
		json.NewEncoder(w).Encode(map[string]string{"error": e.message})
	default:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		json.NewEncoder(w).Encode(map[string]string{"message": "no such thing"})
	}
}

// TestPullErrorsThatEngineTells has an engine say what is hard to bring about.
func TestPullErrorsThatEngineTells(t *testing.T) {
	for message, want := range map[string]struct {
		code  protocol.Code
		tries int32
	}{
		"failed to register layer: write /x: no space left on device":                                {protocol.CodeDiskFull, 1},
		"toomanyrequests: You have reached your pull rate limit":                                     {protocol.CodePullFailed, 1},
		"unauthorized: authentication required":                                                      {protocol.CodePullFailed, 1},
		"pull access denied for x, repository does not exist":                                        {protocol.CodeImageNotFound, 1},
		"failed to register layer: layers from manifest don't match image configuration":             {protocol.CodePullFailed, 1},
		"Get \"https://x/v2/\": dial tcp: lookup x: i/o timeout":                                     {protocol.CodePullFailed, 1},
		"Get \"https://x/v2/\": dial tcp: lookup x on 127.0.0.53:53: no such host":                   {protocol.CodePullFailed, 1},
		"Get \"https://x/v2/\": dial tcp 192.0.2.1:443: i/o timeout":                                 {protocol.CodePullFailed, pullTries},
		"Get \"https://x/v2/\": net/http: TLS handshake timeout":                                     {protocol.CodePullFailed, pullTries},
		"unexpected status from HEAD request to https://x/v2/y/manifests/z: 503 Service Unavailable": {protocol.CodePullFailed, pullTries},
		"read tcp 10.0.0.2:1->10.0.0.3:443: read: connection reset by peer":                          {protocol.CodePullFailed, pullTries},
		"filesystem layer verification failed for digest sha256:00":                                  {protocol.CodePullFailed, pullTries},
		"unexpected EOF": {protocol.CodePullFailed, pullTries},
	} {
		t.Run(message, func(t *testing.T) {
			engine := &fakeEngine{message: message}
			socket := filepath.Join(t.TempDir(), "e.sock")
			listener, err := net.Listen("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: engine}}
			server.Start()
			defer server.Close()
			d := newTestDriver(t, func(c *Config) { c.Host = "unix://" + socket })
			defer d.Close()
			d.pause = time.Millisecond
			wantError(t, d.Pull(testContext(t), "thing", nil), want.code)
			if got := engine.pulls.Load(); got != want.tries {
				t.Errorf("tried %d times, want %d", got, want.tries)
			}
		})
	}
}
