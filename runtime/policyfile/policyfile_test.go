package policyfile

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/hearth-edge/hearth/runtime"
)

const everything = `# all of it
allow_from = ["laptop", "12D3KooWx"]
allow_self = false
exec = ["laptop"]
forward = []
copy = ["tv", "desk"]
images = [
  "docker.io/library/*", # a comment
  'ghcr.io/me/app:1',
]
require_digest = true
registries = ["default", "nas.local:5000"]
networks = ["none", "host", "web"]
mounts = ["/srv/photos"]
writable_mounts = ["/srv/out", "/srv/sp\u0061ce and \"quotes\""]
devices = ["/dev/ttyUSB0"]
accelerators = ["gpu"]
default_capabilities = ["CHOWN"]
capabilities = ["NET_RAW"]
privileged_images = ["ghcr.io/me/all"]
host_namespaces = ["pid"]
unconfined = ["seccomp", "apparmor"]
publish_public = true
run_as_nonroot = true
read_only_root = true
default_cpus = 0.5
max_cpus = 1_0
default_memory = "256m"
max_memory = "2g"
max_disk = "10g"
max_timeout = "12h"
"pids" = 0x40
limits = ["cpus"]
logs = "1m"
`

func TestEverything(t *testing.T) {
	got, err := Parse([]byte(everything))
	if err != nil {
		t.Fatal(err)
	}
	want := runtime.Policy{
		AllowFrom: []string{"laptop", "12D3KooWx"}, Exec: []string{"laptop"}, Forward: []string{}, Copy: []string{"tv", "desk"}, Images: []string{"docker.io/library/*", "ghcr.io/me/app:1"}, RequireDigest: true,
		Registries: []string{"default", "nas.local:5000"},
		Networks:   []string{"none", "host", "web"}, Mounts: []string{"/srv/photos"}, WritableMounts: []string{"/srv/out", `/srv/space and "quotes"`},
		Devices: []string{"/dev/ttyUSB0"}, AcceleratorKinds: []string{"gpu"}, DefaultCapabilities: []string{"CHOWN"}, Capabilities: []string{"NET_RAW"}, RunAsNonRoot: true, ReadOnlyRoot: true,
		PrivilegedImages: []string{"ghcr.io/me/all"}, HostNamespaces: []string{"pid"}, Unconfined: []string{"seccomp", "apparmor"}, PublishPublic: true,
		DefaultCPUs: 0.5, MaxCPUs: 10, DefaultMemory: 256 << 20, MaxMemory: 2 << 30, MaxDisk: 10 << 30, MaxTimeout: 12 * time.Hour, Pids: 64, Limits: []string{"cpus"}, Logs: 1 << 20,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	again, err := Parse([]byte(Write(got)))
	if err != nil || !reflect.DeepEqual(again, got) {
		t.Errorf("%v, %+v from\n%s", err, again, Write(got))
	}
	v := reflect.ValueOf(got)
	for i := range v.NumField() {
		if v.Field(i).IsZero() && v.Type().Field(i).Name != "AllowSelf" {
			t.Errorf("no key leads to the field %s", v.Type().Field(i).Name)
		}
	}
}

func TestExample(t *testing.T) {
	p, err := Parse([]byte(Example()))
	if err != nil || !reflect.DeepEqual(p, runtime.DefaultPolicy()) {
		t.Errorf("as it is: %+v, %v", p, err)
	}
	if p, err = Parse(nil); err != nil || !reflect.DeepEqual(p, runtime.DefaultPolicy()) {
		t.Errorf("an empty file: %+v, %v", p, err)
	}
	// With every key in force it is a policy, too.
	all := regexp.MustCompile(`(?m)^#(\w)`).ReplaceAllString(Example(), "$1")
	p, err = Parse([]byte(all))
	if err != nil || strings.Contains(Write(p), "#") {
		t.Errorf("%v:\n%s", err, all)
	}
	for i, line := range strings.Split(Example(), "\n") {
		if len(line) > 82 {
			t.Errorf("line %d has %d characters", i+1, len(line))
		}
	}
}

func TestMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"\n\nmount = [\"/srv\"]":                  "policy:3: mount is not a key of a policy: is mounts meant?",
		"capabilitys = []":                        "policy:1: capabilitys is not a key of a policy: is capabilities meant?",
		"frobnicate = 1":                          "policy:1: frobnicate is not a key of a policy: 'hearth policy example' shows them all",
		"\"a\\u001bb\" = 1":                       `policy:1: a\x1bb is not a key of a policy: 'hearth policy example' shows them all`,
		"pids = 1\n[limits]\n":                    "policy:2: [limits]: a policy has no tables: write KEY = VALUE",
		"[[mounts]]\n":                            "policy:1: [mounts]: a policy has no tables: write KEY = VALUE",
		"mounts.path = 1":                         "policy:1: mounts.path is not a key of a policy: is mounts meant?",
		"pids = 1\npids = 2":                      "policy:2: pids was given in line 1 already",
		"pids = 0":                                "policy:1: pids: 0 is out of bounds for pids: 1 to 4194304",
		"pids = \"1\"":                            "policy:1: pids: write a whole number",
		"mounts = \"/srv\"":                       `policy:1: mounts: write a list of texts, such as ["a", "b"]`,
		"mounts = [1]":                            `policy:1: mounts: write a list of texts, such as ["a", "b"]`,
		"\nmounts = [\n\"srv\"]":                  `policy:2: mounts: "srv" is not an absolute path`,
		"require_digest = \"no\"":                 "policy:1: require_digest: write true or false",
		"max_memory = 512":                        `policy:1: max_memory: write a size, such as "512m" or "2g"`,
		"max_memory = \"-1\"":                     `policy:1: max_memory: write a size, such as "512m" or "2g"`,
		"max_cpus = nan":                          "policy:1: max_cpus: write a number of cores, such as 2 or 0.5",
		"max_cpus = -1":                           "policy:1: max_cpus: write a number of cores, such as 2 or 0.5",
		"max_timeout = \"soon\"":                  `policy:1: max_timeout: write a time, such as "90s" or "2h"`,
		"capabilities = [\"ALL\"]":                `policy:1: capabilities: "ALL" is no capability: 'man 7 capabilities' lists them; each is named by itself, without CAP_`,
		"pids = 1\nlogs = ":                       "policy:2: this is not TOML",
		"pids = 1\nnetworks = [\"bridge\"\npids=": "policy:3: this is not TOML",
		"not a policy":                            "policy:1: this is not TOML",
		"max_cpus = 1\ndefault_cpus = 2":          "policy:2: default_cpus: default_cpus (2) is more than max_cpus (1)",
	} {
		_, err := Parse([]byte(text))
		if _, ok := errors.AsType[*Error](err); !ok || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q:\n%v\nwant\n%s", text, err, want)
		}
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	in := filepath.Join(dir, Name)
	if p, from, err := Find("", dir); err != nil || from != "" || !reflect.DeepEqual(p, runtime.DefaultPolicy()) {
		t.Errorf("none: %+v from %q, %v", p, from, err)
	}
	if _, _, err := Find(filepath.Join(dir, "other"), dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("one that was named is missing: %v", err)
	}
	write := func(text string, mode fs.FileMode) {
		t.Helper()
		if err := errors.Join(os.WriteFile(in, []byte(text), 0o600), os.Chmod(in, mode)); err != nil {
			t.Fatal(err)
		}
	}
	write("pids = 5", 0o644)
	for _, file := range []string{"", in} {
		if p, from, err := Find(file, dir); err != nil || from != in || p.Pids != 5 {
			t.Errorf("%+v from %q, %v", p, from, err)
		}
	}
	fails := func(what, words string) {
		t.Helper()
		if p, _, err := Find("", dir); err == nil || !strings.Contains(err.Error(), words) || !reflect.DeepEqual(p, runtime.Policy{}) {
			t.Errorf("%s: %+v, %v", what, p, err)
		}
	}
	write("pids = 5", 0o620)
	fails("writable by a group", "chmod go-w")
	write("pids = 5", 0o602)
	fails("writable by all", "chmod go-w")
	write("pid = 5", 0o600)
	fails("a bad one", in+":1: pid is not a key")
	write(strings.Repeat("#", maxSize+1), 0o600)
	fails("a long one", "longer than")
	write("pids = 5", 0o600)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	fails("in a folder that is writable by all", "chmod go-w")
	if err := errors.Join(os.Chmod(dir, 0o700), os.Remove(in), os.Mkdir(in, 0o700)); err != nil {
		t.Fatal(err)
	}
	fails("a folder", "is not a file")
	if os.Geteuid() == 0 {
		if err := os.Remove(in); err != nil {
			t.Fatal(err)
		}
		write("pids = 5", 0o600)
		if err := os.Chown(in, 12345, -1); err != nil {
			t.Fatal(err)
		}
		fails("somebody else's", "12345")
	}
}

// FuzzParse: whatever is in the file, the policy is one that makes sense, comes
// back from what Write makes of it, and is what a whole TOML decoder reads.
func FuzzParse(f *testing.F) {
	f.Add([]byte(everything))
	f.Add([]byte(Example()))
	f.Add([]byte(regexp.MustCompile(`(?m)^#(\w)`).ReplaceAllString(Example(), "$1")))
	for _, text := range []string{
		"", "\ufeffpids = 1", "pids = 1\r\nlogs = \"2m\"\r\n", "pids=0b11", "pids=0o17", "pids=017", "pids=+5", "max_cpus=1e1", "max_cpus=+inf", "max_cpus=1",
		"images = []", "networks = [\"\"\"\nbridge\"\"\"]", "mounts = ['/srv',\n]", "max_memory=\"1e3\"", "max_timeout = 1979-05-27T07:32:00Z", "[a]\n[[b]]\n", "a.b={c=[1]}",
		"mounts = [[[[[", "images=[\"\\ud800\"]", "pids = 1 pids = 2", "\x00", "allow_from=[\"a\"\x01]",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := Parse(bytes.Clone(text))
		if err != nil {
			bad, ok := errors.AsType[*Error](err)
			if lines := bytes.Count(text, []byte("\n")) + 1; !ok || bad.Line < 1 || bad.Line > lines || strings.ContainsAny(bad.Text, "\x1b\x00") {
				t.Fatalf("%#v for %d lines", err, lines)
			}
			return
		}
		if err := p.Validate(); err != nil {
			t.Fatal(err)
		}
		if again, err := Parse([]byte(Write(p))); err != nil || !reflect.DeepEqual(again, p) {
			t.Fatalf("%+v came back as %+v, %v", p, again, err)
		}
		var whole map[string]any
		if err := toml.Unmarshal(text, &whole); err != nil {
			t.Fatalf("accepted, though it is not TOML: %v", err)
		}
		if pids, ok := whole["pids"]; ok && pids != p.Pids {
			t.Fatalf("%v read as %d", pids, p.Pids)
		}
		if lent, ok := whole["mounts"].([]any); ok && len(lent) != len(p.Mounts) {
			t.Fatalf("%v read as %q", lent, p.Mounts)
		}
	})
}
