package web

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/hearth-edge/hearth/cmd/hearth/door"
	"github.com/hearth-edge/hearth/protocol"
)

//go:embed page openapi.yaml
var files embed.FS

// contentPolicy lets the page load what this device serves and nothing else: no
// script or style within it, no frame around it.
const contentPolicy = "default-src 'self'; img-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// kinds are the content types of the page's files, by the end of their names.
var kinds = map[string]string{
	".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
	".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8", ".yaml": "application/yaml",
}

// A file is one of the page, as it is sent.
type file struct{ name, kind, tag string }

// pageFiles lists the embedded files, by the path that they are asked by.
func pageFiles() map[string]file {
	out := make(map[string]file)
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := files.ReadFile(name)
		sum := sha256.Sum256(text)
		f := file{name, kinds[path.Ext(name)], `"` + hex.EncodeToString(sum[:8]) + `"`}
		switch at := strings.TrimPrefix(name, "page/"); at {
		case "index.html":
			out["/"] = f
		case "openapi.yaml":
			out["/v1/openapi.yaml"] = f
		default:
			out["/"+at] = f
		}
		return err
	})
	if err != nil {
		panic(err) // they are embedded
	}
	return out
}

// servePage answers with the page's files, which are nobody's secret. Nothing is read
// before somebody opens the page.
func servePage(mux *http.ServeMux) {
	all := sync.OnceValue(pageFiles)
	serve := func(w http.ResponseWriter, r *http.Request) {
		f, ok := all()[r.URL.Path]
		if !ok || r.Method != http.MethodGet && r.Method != http.MethodHead {
			door.ProblemOf(protocol.Errorf(protocol.CodeNotFound, "there is no %s here: the page is at /", r.URL.Path)).Write(w)
			return
		}
		f.serve(w, r)
	}
	mux.HandleFunc("/", serve)
	mux.HandleFunc("GET /v1/openapi.yaml", serve)
}

func (f file) serve(w http.ResponseWriter, r *http.Request) {
	text, err := files.ReadFile(f.name)
	if err != nil {
		door.ProblemOf(err).Write(w)
		return
	}
	h := w.Header()
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("Content-Type", f.kind)
	h.Set("Cache-Control", "no-cache") // it is asked whether the file is still this one
	h.Set("ETag", f.tag)
	if r.Header.Get("If-None-Match") == f.tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(text)))
	_, _ = w.Write(text) // who went does not see it
}
