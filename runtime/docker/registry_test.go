package docker

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	goruntime "runtime"
	"strings"
	"sync"
	"testing"

	"github.com/hearth-edge/hearth/protocol"
)

const (
	typeManifest = "application/vnd.docker.distribution.manifest.v2+json"
	typeList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	typeConfig   = "application/vnd.docker.container.image.v1+json"
	typeLayer    = "application/vnd.docker.image.rootfs.diff.tar"
)

// testRegistry is as much of an image registry as a pull needs. It listens on
// 127.0.0.1, from where engines pull without TLS.
type testRegistry struct {
	server *httptest.Server
	// user and password are asked for where they are set, by who hands out tokens
	// where tokens is set.
	user, password string
	tokens         bool
	// see, where it is set, is called before a request for a manifest is answered.
	see func(*http.Request)
	// gate is called in the middle of a layer.
	gate func()
	over chan struct{} // closed when the test ends
	// fail answers a request for a manifest in the registry's stead, or
	// reports false.
	fail func(http.ResponseWriter) bool

	mu        sync.Mutex
	manifests map[string]content // by tag and by digest
	blobs     map[string]content
	served    int // manifests handed out
}

type content struct {
	kind string
	data []byte
}

func newRegistry(t *testing.T) *testRegistry {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return newRegistryOn(t, listener)
}

// newRegistryOn is newRegistry for an engine that reaches the listener.
func newRegistryOn(t *testing.T, listener net.Listener) *testRegistry {
	r := &testRegistry{manifests: make(map[string]content), blobs: make(map[string]content)}
	r.server = &httptest.Server{Listener: listener, Config: &http.Server{Handler: r}}
	r.server.Start()
	r.over = make(chan struct{})
	t.Cleanup(func() {
		close(r.over) // an engine of 20.10 keeps the connection of a pull it gave up
		r.server.Close()
	})
	return r
}

// ref returns how an image in the registry is named.
func (r *testRegistry) ref(tag string) string {
	return r.host() + "/hearth-drivertest/thing:" + tag
}

func (r *testRegistry) host() string { return strings.TrimPrefix(r.server.URL, "http://") }

func digestOf(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// push adds an image with one layer of size random bytes, and returns the
// manifest's digest.
func (r *testRegistry) push(t *testing.T, tag, arch string, size int) string {
	t.Helper()
	file := make([]byte, size)
	rand.Read(file)
	var layer bytes.Buffer
	archive := tar.NewWriter(&layer)
	if err := archive.WriteHeader(&tar.Header{Name: "file", Mode: 0o644, Size: int64(size)}); err != nil {
		t.Fatal(err)
	}
	archive.Write(file)
	archive.Close()
	return r.pushLayer(t, tag, arch, typeLayer, layer.Bytes(), digestOf(layer.Bytes()))
}

// pushBomb adds an image with one file of so many zeros, and returns how few
// bytes they take on their way.
func (r *testRegistry) pushBomb(t *testing.T, tag string, size int64) int {
	t.Helper()
	var layer bytes.Buffer
	packed, err := gzip.NewWriterLevel(&layer, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.New()
	archive := tar.NewWriter(io.MultiWriter(packed, sum))
	if err := archive.WriteHeader(&tar.Header{Name: "file", Mode: 0o644, Size: size}); err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 1<<20); size > 0; size -= int64(len(block)) {
		archive.Write(block)
	}
	archive.Close()
	packed.Close()
	r.pushLayer(t, tag, goruntime.GOARCH, typeLayer+".gzip", layer.Bytes(), fmt.Sprintf("sha256:%x", sum.Sum(nil)))
	return layer.Len()
}

// pushLayer adds an image with that layer, which unpacks to what has the digest.
func (r *testRegistry) pushLayer(t *testing.T, tag, arch, kind string, layer []byte, unpacked string) string {
	config := marshal(t, map[string]any{
		"architecture": arch, "os": "linux", "config": map[string]any{},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{unpacked}},
	})
	describe := func(kind string, data []byte) map[string]any {
		r.blobs[digestOf(data)] = content{kind, data}
		return map[string]any{"mediaType": kind, "size": len(data), "digest": digestOf(data)}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	manifest := marshal(t, map[string]any{
		"schemaVersion": 2, "mediaType": typeManifest,
		"config": describe(typeConfig, config), "layers": []any{describe(kind, layer)},
	})
	return r.tag(tag, content{typeManifest, manifest})
}

// pushList adds a list that has the image for these platforms, written as
// OS/ARCH[/VARIANT], only.
func (r *testRegistry) pushList(t *testing.T, tag string, platforms ...string) {
	t.Helper()
	var manifests []any
	for i, platform := range platforms {
		parts := append(strings.Split(platform, "/"), "")
		image := r.push(t, tag+"-"+strings.ReplaceAll(platform, "/", "-"), parts[1], 10+i*10_000)
		manifests = append(manifests, map[string]any{
			"mediaType": typeManifest, "digest": image, "size": len(r.manifests[image].data),
			"platform": map[string]any{"os": parts[0], "architecture": parts[1], "variant": parts[2]},
		})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tag(tag, content{typeList, marshal(t, map[string]any{
		"schemaVersion": 2, "mediaType": typeList, "manifests": manifests,
	})})
}

// moved returns how much a fetch of the image moves.
func (r *testRegistry) moved(t *testing.T, tag string) protocol.Bytes {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var m struct{ Layers []struct{ Digest string } }
	if err := json.Unmarshal(r.manifests[tag].data, &m); err != nil || len(m.Layers) != 1 {
		t.Fatal(tag, err)
	}
	return protocol.Bytes(len(r.blobs[m.Layers[0].Digest].data))
}

func (r *testRegistry) tag(tag string, c content) string {
	r.manifests[tag] = c
	r.manifests[digestOf(c.data)] = c
	return digestOf(c.data)
}

func (r *testRegistry) find(path string) (c content, found, blob bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := path[strings.LastIndex(path, "/")+1:]
	if strings.Contains(path, "/blobs/") {
		c, found = r.blobs[name]
		return c, found, true
	}
	if strings.Contains(path, "/manifests/") {
		c, found = r.manifests[name]
	}
	return c, found, false
}

// scope is what a token must be for.
const scope = "repository:hearth-drivertest/thing:pull"

func (r *testRegistry) authorized(req *http.Request) bool {
	user, password, _ := req.BasicAuth()
	return user == r.user && password == r.password
}

// admits reports whether the request comes with what is asked for.
func (r *testRegistry) admits(req *http.Request) bool {
	if r.tokens {
		return req.Header.Get("Authorization") == "Bearer "+digestOf([]byte(scope))
	}
	return r.authorized(req)
}

// ServeHTTP implements http.Handler.
func (r *testRegistry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	if r.tokens && req.URL.Path == "/token" && r.authorized(req) {
		fmt.Fprintf(w, `{"token":%q}`, digestOf([]byte(req.FormValue("scope"))))
		return
	}
	if !r.admits(req) {
		challenge := `Basic realm="test"`
		if r.tokens && req.URL.Path != "/token" {
			challenge = fmt.Sprintf(`Bearer realm="%s/token",service="test",scope=%q`, r.server.URL, scope)
		}
		w.Header().Set("WWW-Authenticate", challenge)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`)
		return
	}
	if req.URL.Path == "/v2/" {
		return
	}
	c, found, blob := r.find(req.URL.Path)
	if !blob && r.see != nil {
		r.see(req)
	}
	if !blob && r.fail != nil && r.fail(w) {
		return
	}
	if !found {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}`)
		return
	}
	w.Header().Set("Content-Type", c.kind)
	w.Header().Set("Content-Length", fmt.Sprint(len(c.data)))
	w.Header().Set("Docker-Content-Digest", digestOf(c.data))
	if req.Method == http.MethodHead {
		return
	}
	if !blob {
		r.mu.Lock()
		r.served++
		r.mu.Unlock()
	}
	half := 0
	if c.kind == typeLayer && r.gate != nil {
		half = len(c.data) / 2
		w.Write(c.data[:half])
		w.(http.Flusher).Flush()
		r.gate()
	}
	w.Write(c.data[half:])
}
