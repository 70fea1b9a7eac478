package testnet_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hearth-edge/hearth/testnet"
)

const (
	module = "github.com/hearth-edge/hearth"
	libp2p = "github.com/libp2p/go-libp2p"
)

// A floor says what the packages below a path may and may not come to depend
// on, directly or not.
type floor struct {
	path string
	// own are the parts of the module that it may stand on.
	own []string
	// never are path prefixes of others' packages, each with the reason.
	never map[string]string
}

var floors = []floor{
	{"keys", []string{"keys"}, map[string]string{
		libp2p + "/p2p": "of libp2p only keys and peer IDs", "net/http": "no network", "github.com/docker": "no engine",
	}},
	{"protocol", []string{"keys", "protocol"}, map[string]string{
		libp2p: "a plain Stream is all it needs", "github.com/docker": "no engine",
	}},
	{"sched", []string{"keys", "protocol", "sched"}, map[string]string{
		libp2p: "no network", "github.com/docker": "no engine", "os/exec": "it decides and runs nothing",
	}},
	{"runtime", []string{"keys", "protocol", "runtime"}, map[string]string{
		libp2p + "/p2p": "it knows nothing of peers",
	}},
	{"p2p", []string{"keys", "protocol", "p2p"}, map[string]string{
		"github.com/docker": "it knows nothing of containers",
	}},
	{"cmd/hearth/compose", []string{"keys", "protocol", "cmd/hearth/compose"}, map[string]string{
		libp2p + "/p2p": "it reads files", "github.com/docker/docker": "it asks no engine",
	}},
	{"cmd/hearth/door", []string{"keys", "protocol", "cmd/hearth/door"}, map[string]string{
		libp2p + "/p2p": "it knows no mesh", "github.com/docker/docker": "it knows no engine", "html/template": "the page is no template, and it makes the program 4 MB larger",
	}},
	{"cmd/hearth/device", []string{"keys", "protocol", "sched", "runtime", "p2p", "cmd/hearth/device", "cmd/hearth/door"}, nil},
	{"cmd/hearth", []string{"keys", "protocol", "sched", "runtime", "p2p", "cmd/hearth"}, map[string]string{
		"github.com/miekg/dns": "p2p/mdns reads packets by x/net/dns/dnsmessage",
	}},
	{"testnet", []string{"keys", "protocol", "sched", "runtime", "p2p", "cmd/hearth", "testnet"}, nil},
}

type listed struct {
	ImportPath, Dir string
	GoFiles, Deps   []string
}

func packages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,GoFiles,Deps", "./...")
	cmd.Dir = testnet.Root(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		all = append(all, p)
	}
}

// TestFloors: a package depends only on floors below its own, however long the
// chain of imports.
func TestFloors(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		f := floorOf(p.ImportPath)
		if f == nil {
			t.Errorf("%s is on no floor: the top level holds only what the design names", p.ImportPath)
			continue
		}
		for _, dep := range p.Deps {
			if why := f.forbids(dep); why != "" {
				t.Errorf("%s comes to depend on %s: %s", p.ImportPath, dep, why)
			}
		}
	}
}

func floorOf(path string) *floor {
	for i := range floors {
		if within(path, module+"/"+floors[i].path) {
			return &floors[i]
		}
	}
	return nil
}

func (f *floor) forbids(dep string) string {
	if within(dep, module) {
		for _, own := range f.own {
			if within(dep, module+"/"+own) {
				return ""
			}
		}
		return "it is not on a floor below"
	}
	for prefix, why := range f.never {
		if within(dep, prefix) {
			return why
		}
	}
	return ""
}

func within(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, folder+"/")
}

// TestFloorsForbid shows that the rules can fail.
func TestFloorsForbid(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from, to string
		allowed  bool
	}{
		{"sched", module + "/p2p", false},
		{"p2p", module + "/runtime/docker", false},
		{"keys", module + "/protocol", false},
		{"protocol/pb", libp2p + "/core/host", false},
		{"cmd/hearth/device", module + "/cmd/hearth", false},
		{"cmd/hearth", module + "/testnet", false},
		{"cmd/hearth/door/web", module + "/sched", false},
		{"cmd/hearth/door/web", module + "/cmd/hearth/device", false},
		{"cmd/hearth/device", module + "/cmd/hearth/door/web", true},
		{"cmd/hearth/compose", module + "/sched", false},
		{"runtime/docker", "github.com/docker/docker/client", true},
		{"keys", libp2p + "/core/crypto", true},
		{"testnet/inproc", module + "/cmd/hearth/device", true},
	} {
		if why := floorOf(module + "/" + c.from).forbids(c.to); (why == "") != c.allowed {
			t.Errorf("%s on %s: allowed is %v, want %v (%s)", c.from, c.to, why == "", c.allowed, why)
		}
	}
}

// TestPackageComments: each package says once what it is.
func TestPackageComments(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		if strings.HasSuffix(p.ImportPath, "/pb") {
			continue // generated
		}
		var with []string
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			if f.Doc != nil {
				with = append(with, name)
			}
		}
		if len(p.GoFiles) > 0 && len(with) != 1 {
			t.Errorf("%s has %d package comments (%v), want 1", p.ImportPath, len(with), with)
		}
	}
}
