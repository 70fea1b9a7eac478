package web

import (
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"strings"
	"testing"
)

// TestPage: the page's files are served to everybody, may load nothing but each other,
// and are asked for once.
func TestPage(t *testing.T) {
	r := start(t)
	anybody := func(q *http.Request) { q.Header.Del("Authorization") }
	for _, c := range []struct{ path, kind, text string }{
		{"/", "text/html; charset=utf-8", `<div id="app">`}, {"/app.js", "text/javascript; charset=utf-8", "render("},
		{"/vendor/preact.js", "text/javascript; charset=utf-8", "export{"}, {"/vendor/LICENSES.txt", "text/plain; charset=utf-8", "MIT License"},
		{"/base.css", "text/css; charset=utf-8", ":root"}, {"/icon.svg", "image/svg+xml", "<svg"}, {"/v1/openapi.yaml", "application/yaml", "openapi: 3.1"},
	} {
		got := r.ask("GET", c.path, "", anybody)
		got.wants(t, c.path, 200, c.text)
		if got.Header.Get("Content-Type") != c.kind || got.Header.Get("X-Content-Type-Options") != "nosniff" ||
			!strings.HasPrefix(got.Header.Get("Content-Security-Policy"), "default-src 'self';") || !strings.Contains(got.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
			t.Errorf("%s: headers %v", c.path, got.Header)
		}
		again := r.ask("GET", c.path, "", anybody, func(q *http.Request) { q.Header.Set("If-None-Match", got.Header.Get("ETag")) })
		again.wants(t, c.path+" again", 304, "")
	}
	for _, at := range []string{"/nothing", "/page/index.html", "/app.js/", "/..%2f..%2fetc/passwd", "/index.html", "/vendor/"} {
		r.ask("GET", at, "", anybody).wants(t, at, 404, "not_found")
	}
	r.ask("POST", "/", "", anybody).wants(t, "POST /", 404, "")
}

// TestPageWhole: what a file of the page loads is there, nothing stands within the
// HTML that the policy forbids, and no file is so long that nobody reads it.
func TestPageWhole(t *testing.T) {
	all := pageFiles()
	loads := regexp.MustCompile(`(?:from |href=|src=)"(\.?/?[\w/.]+\.(?:js|css|svg))"`)
	loaded := map[string]bool{"/": true, "/vendor/LICENSES.txt": true, "/v1/openapi.yaml": true}
	err := fs.WalkDir(files, "page", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		for _, m := range loads.FindAllStringSubmatch(string(text), -1) {
			at := path.Join("/", m[1])
			loaded[at] = true
			if _, ok := all[at]; !ok {
				t.Errorf("%s loads %s, which is not there", name, at)
			}
		}
		if !strings.Contains(name, "vendor") && strings.Count(string(text), "\n") > 400 {
			t.Errorf("%s has more than 400 lines", name)
		}
		for _, never := range []string{"innerHTML", "dangerouslySet", "insertAdjacentHTML", "document.write", "eval(", "http://", "<style", "onclick="} {
			if strings.Contains(string(text), never) && !strings.Contains(name, "vendor") && name != "page/icon.svg" {
				t.Errorf("%s has %s in it", name, never)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for at := range all {
		if !loaded[at] {
			t.Errorf("%s is loaded by nothing", at)
		}
	}
}

// TestEverything: the output of all that runs is one stream, with whose it is.
func TestEverything(t *testing.T) {
	r := start(t)
	r.ask("POST", "/v1/requests", `{"id":"one","service":{"image":"work:1","tags":{"name":"first"}}}`)
	r.app.requests["one"].event(running())
	out, stop := r.stream("/v1/output")
	defer stop()
	write := func(id, text string) {
		t.Helper()
		if err := r.app.requests[requestID(id)].Output(t.Context(), 1, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	write("one", "hello\n")
	if line := out.next(); line["request"] != "one" || line["name"] != "first" || line["text"] != "hello\n" || line["stream"] != "stdout" {
		t.Errorf("told %v", line)
	}
	r.ask("POST", "/v1/requests", `{"id":"two","service":{"image":"work:1"}}`)
	r.app.requests["two"].event(running())
	write("two", "here too\n")
	if line := out.next(); line["request"] != "two" || line["name"] != "two" || line["text"] != "here too\n" {
		t.Errorf("then told %v", line)
	}
}
