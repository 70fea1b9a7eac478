package compose

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestBadFiles: whatever a file holds, the answer is an error that says what is
// wrong and where, in bounded time and memory.
func TestBadFiles(t *testing.T) {
	t.Parallel()
	bomb := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := 1; i < 12; i++ {
		bomb += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	for name, c := range map[string]struct{ text, want string }{
		"empty":           {"", "compose.yaml:1: the file is empty: a compose file begins with"},
		"a comment":       {"# nothing\n", "the file is empty"},
		"text":            {"hello", "compose.yaml:1: the file holds no mapping"},
		"a list":          {"- services", "compose.yaml:1: the file holds no mapping"},
		"no services":     {"name: x\n", "services"},
		"services list":   {"services: [web]\n", "services"},
		"services null":   {"services:\n", "services"},
		"service null":    {"services: {web: }\n", "services.web"},
		"no YAML":         {"services:\n  web:\n\timage: x\n", "compose.yaml:3: this is no YAML"},
		"open quote":      {"services:\n  web: {image: \"x}\n", "this is no YAML"},
		"binary":          {"\x00\x01\x02\xff\xfe", "this is no YAML"},
		"two of a key":    {"services:\n  web: {image: x}\n  web: {image: y}\n", "already defined"},
		"10 MB":           {strings.Repeat("# a comment that goes on\n", 10<<20/25), "the file has more than 1024 KiB"},
		"a bomb":          {"x-bomb: &b\n" + indent(bomb, 2) + "services: {web: {image: x}}\n", "it expands to more than 100000 values"},
		"a cycle":         {"x-a: &a [*a]\nservices: {web: {image: x}}\n", ""},
		"a deep one":      {"services: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000), ""},
		"a wide one":      {"x-a: [" + strings.Repeat("1,", 200_000) + "]\nservices: {web: {image: x}}\n", "it expands to more than 100000 values"},
		"depends cycle":   {"services: {a: {image: x, depends_on: [b]}, b: {image: x, depends_on: [a]}}\n", "depend"},
		"includes itself": {"include: [compose.yaml]\nservices: {web: {image: x}}\n", "include cycle"},
		"old format":      {"web: {image: nginx}\n", "compose.yaml:1: web: unknown key: services stand under"},
		"image is a list": {"services: {web: {image: [x]}}\n", "compose.yaml:1: services.web.image"},
		"bad name":        {"services: {'a b': {image: x}}\n", ""},
		"number as a key": {"services: {web: {image: x, 5: y}}\n", "unknown key"},
		"bad template":    {"services: {web: {image: '${x'}}\n", "services.web.image"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := project(t, map[string]string{"compose.yaml": c.text})
			_, _, err := Load(t.Context(), Options{Dir: dir})
			if err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 4<<10 {
				t.Errorf("the error is\n%.500v\nwant %s", err, c.want)
			}
		})
	}
	dir := project(t, map[string]string{"compose.yaml": "services: {web: {image: x}}", ".env": "A='open\n", "d/x": ""})
	for want, opts := range map[string]Options{
		"read variables":               {Dir: dir},
		"no such file":                 {Files: []string{dir + "/d/none.yaml"}},
		"is a directory":               {Files: []string{dir}, Dir: dir + "/d"},
		"there is no compose.yaml in ": {Dir: dir + "/d"},
		"the file has more than":       {Files: []string{"/dev/zero"}, Dir: dir + "/d"},
		"is not a regular file":        {Files: []string{dir + "/compose.yaml"}, EnvFiles: []string{"/dev/zero"}},
	} {
		if _, _, err := Load(t.Context(), opts); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: the error is %v, want %s", opts, err, want)
		}
	}
}

// TestComposeGoFiles reads all files that compose-go is tested with. Each is a
// stack or an error; none is a panic, and none makes reading take long.
func TestComposeGoFiles(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/compose-spec/compose-go/v2").Output()
	if err != nil {
		t.Fatal(err)
	}
	files, stacks := 0, 0
	err = filepath.WalkDir(strings.TrimSpace(string(out)), func(path string, d os.DirEntry, err error) error {
		if ext := filepath.Ext(path); err != nil || d.IsDir() || ext != ".yaml" && ext != ".yml" {
			return err
		}
		files++
		for _, plan := range []bool{true, false} {
			st, _, err := Load(t.Context(), Options{Files: []string{path}, ProjectName: "test", Plan: plan})
			if err == nil && plan {
				stacks++
			}
			if err == nil && len(st.Services) == 0 {
				t.Errorf("%s is a stack of no service", path)
			}
			if err != nil && strings.Contains(err.Error(), "the file cannot be read:") {
				t.Errorf("%s: compose-go panics: %v", path, err)
			}
		}
		return nil
	})
	if err != nil || files < 50 || stacks < 20 {
		t.Errorf("%d files are read, %d of them as stacks (%v)", files, stacks, err)
	}
	t.Logf("%d files, %d stacks", files, stacks)
}

// FuzzLoad: no text makes the reader panic, hang or return a stack that cannot
// be sent.
func FuzzLoad(f *testing.F) {
	for _, text := range []string{
		"services: {web: {image: x}}",
		"services:\n  web:\n    image: ${A:-x}\n    ports: ['80:80', {target: 1, published: '2'}]\n    volumes: ['./a:/a', 'b:/b:ro']\n    healthcheck: {test: x, interval: 1s}\nvolumes: {b: }\n",
		"x-a: &a {image: x}\nservices: {a: {<<: *a, deploy: {resources: {limits: {cpus: '1'}}}}, b: {extends: a}}",
		"name: a\nservices: {a: {image: x, networks: {n: {ipv4_address: 10.0.0.5}}}}\nnetworks: {n: {ipam: {config: [{subnet: 10.0.0.0/24}]}}}",
		"services: {a: {image: x, ulimits: {nofile: 5}, sysctls: [a=b], extra_hosts: ['a:1.1.1.1'], tmpfs: ['/a:size=5'], gpus: all}}",
	} {
		f.Add([]byte(text), false)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte, plan bool) {
		file := filepath.Join(dir, fmt.Sprintf("compose-%d.yaml", os.Getpid()))
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		st, _, err := Load(t.Context(), Options{Files: []string{file}, ProjectName: "fuzz", Plan: plan})
		if err == nil && st.Validate() != nil {
			t.Errorf("%q is a stack that no device takes: %v", data, st.Validate())
		}
		if err != nil && strings.Contains(err.Error(), "the file cannot be read:") {
			t.Errorf("%q: %v", data, err)
		}
	})
}

// oddValues are put in place of values.
var oddValues = []string{
	"", "null", "~", "[]", "{}", "-1", "0", "99999999999999999999", "1.5", "true", `""`, "' '", "a: b", "[a, {b: c}]", "{a: {b: [c]}}", "*none", "&a x",
	"!reset []", "!override {}", "!!binary x", "$X", "${X}", "${X:?no}", "${", ":", "::", "a:b:c:d", "/", "..", "../..", "./", ".", "/dev/null", "\\x", "é\u202e", "2026-11-30", "0x1F", "1e999", "-5s", "host", "service:web", "all",
}

// TestMangledFiles puts odd values into files that are good: each is a stack that
// devices take, or is refused with a line, a key and a reason.
func TestMangledFiles(t *testing.T) {
	t.Parallel()
	const seed, rounds = 16, 400
	random := rand.New(rand.NewPCG(seed, seed))
	all := generate()
	dir := project(t, nil)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "compose.yaml")
	stacks := 0
	for i := range rounds {
		lines := strings.Split(string(all[random.IntN(len(all))].Files[0].Data), "\n")
		for range 1 + random.IntN(2) {
			at := random.IntN(len(lines))
			odd := oddValues[random.IntN(len(oddValues))]
			switch key, _, ok := strings.Cut(lines[at], ": "); {
			case ok:
				lines[at] = key + ": " + odd
			case strings.HasSuffix(lines[at], ":"):
				lines[at] += " " + odd
			default:
				body, _, _ := strings.Cut(lines[at], "- ")
				lines[at] = body + "- " + odd
			}
		}
		text := strings.Join(lines, "\n")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		st, _, err := Load(t.Context(), Options{Files: []string{file}, Plan: i%2 == 0})
		if err == nil {
			stacks++
			if err := st.Validate(); err != nil {
				t.Errorf("round %d: a stack that no device takes: %v\n%s", i, err, text)
			}
			continue
		}
		refused, ok := errors.AsType[Refusals](err)
		if !ok && !strings.Contains(err.Error(), "makes no stack's name") {
			t.Errorf("round %d: %v is no refusal\n%s", i, err, text)
		}
		for _, r := range refused {
			if r.File == "" || r.Line == 0 || r.Reason == "" || strings.Contains(r.Reason, "cannot be read") {
				t.Errorf("round %d: %+v lacks where or why\n%s", i, r, text)
			}
		}
	}
	if stacks < rounds/50 || stacks > rounds*9/10 {
		t.Errorf("%d of %d are stacks", stacks, rounds)
	}
}
