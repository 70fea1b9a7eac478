package compose

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hearth-edge/hearth/protocol"
)

// TestNames: a stack is called as asked for, as COMPOSE_PROJECT_NAME says, as the
// file says, or as its folder, in that order.
func TestNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, file, env, want string
	}{
		{"", "", "", "home"},
		{"", "name: My.App_2\n", "", "myapp_2"},
		{"", "name: ${X:-from-default}\n", "", "from-default"},
		{"", "name: file\n", "COMPOSE_PROJECT_NAME=Env", "env"},
		{"Asked.For", "name: file\n", "COMPOSE_PROJECT_NAME=env", "askedfor"},
		{"...", "", "", ""},
		{strings.Repeat("a", 64), "", "", ""},
	} {
		dir := project(t, map[string]string{"compose.yml": c.file + "services: {web: {image: x}}\n"})
		st, _, err := Load(t.Context(), Options{Dir: dir, ProjectName: c.name, Env: []string{c.env}})
		if string(st.Name) != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%+v: the name is %q (%v)", c, st.Name, err)
		}
	}
}

// TestServiceNamesWithDotsAndCapitals: they stay as they are, in keys as well.
func TestServiceNamesWithDotsAndCapitals(t *testing.T) {
	t.Parallel()
	dir := project(t, map[string]string{"compose.yaml": "services:\n  My.Web_1:\n    image: x\n    depends_on: [a.b]\n  a.b:\n    image: y\n    scale: 2\n"})
	_, _, err := Load(t.Context(), Options{Dir: dir})
	if err == nil || !strings.HasPrefix(err.Error(), "compose.yaml:7: services.a.b.scale:") {
		t.Errorf("the error is %v", err)
	}
	dir = project(t, map[string]string{"compose.yaml": "services:\n  My.Web_1:\n    image: x\n    ports: ['${NOPE?set it}:80']\n"})
	if _, _, err = Load(t.Context(), Options{Dir: dir}); err == nil || !strings.HasPrefix(err.Error(), "compose.yaml:4: services.My.Web_1.ports:") {
		t.Errorf("the error is %v", err)
	}
}

// TestVariables: the environment wins over files, of which the last one wins;
// .env is read only where no other file is named.
func TestVariables(t *testing.T) {
	t.Parallel()
	dir := project(t, map[string]string{
		"compose.yaml": "services:\n  web:\n    image: ${IMAGE}:${TAG:-latest}\n    env_file: [svc.env, {path: none.env, required: false}]\n    environment: ['FROM=${FROM}', PASSED]\n",
		".env":         "IMAGE=dotenv\nFROM=dotenv\n",
		"a.env":        "IMAGE=a\nFROM=a\n",
		"b.env":        "FROM=b\n",
		"svc.env":      "# a comment\nSVC=${FROM}-1\nQUOTED='a b'\n",
	})
	for _, c := range []struct {
		opts  Options
		image string
		env   []string
	}{
		{Options{}, "dotenv:latest", []string{"FROM=dotenv", "QUOTED=a b", "SVC=dotenv-1"}},
		{Options{Env: []string{"IMAGE=shell", "PASSED=yes"}}, "shell:latest", []string{"FROM=dotenv", "PASSED=yes", "QUOTED=a b", "SVC=dotenv-1"}},
		{Options{EnvFiles: []string{dir + "/a.env", dir + "/b.env"}}, "a:latest", []string{"FROM=b", "QUOTED=a b", "SVC=b-1"}},
	} {
		c.opts.Dir = dir
		st, _, err := Load(t.Context(), c.opts)
		if err != nil {
			t.Fatal(err)
		}
		if s := st.Services[0]; s.Image != c.image || !slices.Equal(s.Env, c.env) {
			t.Errorf("%+v: image %s, env %q", c.opts, s.Image, s.Env)
		}
	}
	if _, _, err := Load(t.Context(), Options{Dir: dir, EnvFiles: []string{dir + "/none"}}); err == nil {
		t.Error("an env file that is missing is no error")
	}
}

// TestSeveralFiles: later files override earlier ones; includes, extends,
// profiles, merges and !reset do what compose does.
func TestSeveralFiles(t *testing.T) {
	t.Parallel()
	dir := project(t, map[string]string{
		"compose.yaml":          "include: [sub/more.yaml]\nx-base: &base {restart: always, labels: {a: b}}\nservices:\n  web:\n    <<: *base\n    image: one\n    ports: ['80:80']\n    extends: {file: base/base.yaml, service: base}\n  debug: {image: d, profiles: [debug], privileged: true, build: .}\n",
		"compose.override.yaml": "services:\n  web: {image: two, ports: !reset [], cap_add: [NET_ADMIN]}\n",
		"sub/more.yaml":         "services:\n  db: {image: redis, volumes: ['./data:/data']}\n",
		"base/base.yaml":        "services:\n  base: {user: '5', volumes: ['./conf:/conf'], build: {context: .}}\n",
	})
	st, _, err := Load(t.Context(), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if len(st.Services) != 2 {
		t.Fatalf("the services are %s", toJSON(t, st.Services))
	}
	db, web := st.Services[0], st.Services[1]
	if db.Mounts[0].Source != "sub" || db.Mounts[0].Subpath != "data" {
		t.Errorf("the included mount is %s", toJSON(t, db.Mounts))
	}
	if web.Image != "two" || len(web.Ports) != 0 || web.User != "5" || web.Restart != protocol.RestartAlways || web.CapAdd[0] != "NET_ADMIN" || web.Mounts[0].Source != "base" {
		t.Errorf("web is %s", toJSON(t, web))
	}
	if st, _, err = Load(t.Context(), Options{Dir: dir, Profiles: []string{"debug"}}); err != nil || len(st.Services) != 3 {
		t.Errorf("with the profile: %s, %v", toJSON(t, st.Services), err)
	}
	if st, _, err = Load(t.Context(), Options{Dir: dir, Files: []string{dir + "/compose.yaml"}, Env: []string{"COMPOSE_PROFILES=debug,x"}}); err != nil || len(st.Services) != 3 || len(st.Services[2].Ports) != 1 {
		t.Errorf("one file alone: %s, %v", toJSON(t, st.Services), err)
	}
}

// TestComposeFileVariable: COMPOSE_FILE names the files where the user named
// none, in .env as well.
func TestComposeFileVariable(t *testing.T) {
	t.Parallel()
	dir := project(t, map[string]string{".env": "COMPOSE_FILE=a.yaml:b/b.yaml\n", "a.yaml": "services: {web: {image: one}}", "b/b.yaml": "services: {web: {image: two}}", "compose.yaml": "services: {web: {image: three}}"})
	for _, c := range []struct {
		opts Options
		want string
	}{
		{Options{Dir: dir}, "two"},
		{Options{Dir: dir, Env: []string{"COMPOSE_FILE=a.yaml"}}, "one"},
		{Options{Files: []string{dir + "/compose.yaml"}}, "three"},
	} {
		if st, _, err := Load(t.Context(), c.opts); err != nil || st.Services[0].Image != c.want {
			t.Errorf("%+v: %s (%v), want %s", c.opts, toJSON(t, st), err, c.want)
		}
	}
}

// TestRefusalNamesTheFileThatHasTheKey: an included or extended one as well.
func TestRefusalNamesTheFileThatHasTheKey(t *testing.T) {
	t.Parallel()
	dir := project(t, map[string]string{
		"compose.yaml":   "include: [sub/more.yaml]\nservices:\n  web:\n    image: x\n    extends: {file: base/base.yaml, service: base}\n",
		"sub/more.yaml":  "services:\n  db:\n    image: redis\n    userns_mode: host\n",
		"base/base.yaml": "services:\n  base:\n    uts: host\n",
	})
	_, _, err := Load(t.Context(), Options{Dir: dir})
	for _, want := range []string{"more.yaml:4: services.db.userns_mode:", "base.yaml:3: services.web.uts:"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is\n%v\nwant %s", err, want)
		}
	}
	dir = project(t, map[string]string{
		"compose.yaml":  "include:\n- path: [sub/more.yaml]\n  project_directory: .\nservices: {web: {image: x}}\n",
		"sub/more.yaml": "services:\n  db:\n    imgae: redis\n",
	})
	if _, _, err = Load(t.Context(), Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "more.yaml:3: services.db.imgae: unknown key: did you mean image?") {
		t.Errorf("the error is %v", err)
	}
}

// TestFilesTravel: small read-only files and folders, configs and secrets are
// part of the stack; what two services mount is there once.
func TestFilesTravel(t *testing.T) {
	t.Parallel()
	dir := project(t, map[string]string{
		"compose.yaml": `services:
  a:
    image: x
    volumes: ['./nginx.conf:/etc/nginx.conf:ro', './conf.d:/conf.d:ro', './run.sh:/run.sh:ro', './data:/data']
    configs: [text]
    secrets: [token, {source: file, target: /key, mode: 0400}]
  b:
    image: x
    volumes: ['./nginx.conf:/n:ro', './data:/data:ro', './data/sub:/sub:ro']
configs: {text: {content: 'hello ${WHO}'}}
secrets: {token: {environment: TOKEN}, file: {file: secret.txt}}
`,
		"nginx.conf": "server {}", "conf.d/a.conf": "a", "conf.d/sub/b.conf": "b", "run.sh": "#!/bin/sh", "secret.txt": "s3cret", "data/sub/x": "1",
	})
	if err := os.Chmod(filepath.Join(dir, "run.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	st, warnings, err := Load(t.Context(), Options{Dir: dir, Env: []string{"TOKEN=t0ken", "WHO=you"}})
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]protocol.StackFile)
	for _, f := range st.Files {
		files[f.Name] = f
	}
	for name, want := range map[string]string{"nginx.conf": "server {}", "run.sh": "#!/bin/sh", "configs/text": "hello you", "secrets/token": "t0ken", "secrets/file": "s3cret"} {
		if f := files[name]; string(f.Data) != want || f.Secret != strings.HasPrefix(name, "secrets/") || f.Folder {
			t.Errorf("%s is %+v", name, f)
		}
	}
	if got := unpack(t, files["conf.d"].Data); len(st.Files) != 6 || !files["conf.d"].Folder || got != "a.conf=a sub/= sub/b.conf=b" {
		t.Errorf("%d files travel, the folder holds %s", len(st.Files), got)
	}
	if len(st.Volumes) != 1 || st.Volumes[0] != (protocol.StackVolume{Name: "data", Path: "data"}) {
		t.Errorf("the volumes are %+v", st.Volumes)
	}
	if b := st.Services[1].Mounts; b[1].Kind != protocol.MountVolume || !b[1].ReadOnly || b[2].Subpath != "sub" {
		t.Errorf("what another service writes is mounted as %s", toJSON(t, b))
	}
	if m := st.Services[0].Mounts; m[2].Mode != 0o555 || m[5].Target != "/run/secrets/token" || m[6].Target != "/key" || m[6].Mode != 0o400 {
		t.Errorf("the files are mounted as %s", toJSON(t, m))
	}
	if !slices.ContainsFunc(warnings, func(w Warning) bool { return strings.Contains(w.Text, "the folder data has files here") }) {
		t.Errorf("nothing tells that the volume begins empty: %v", warnings)
	}
}

func unpack(t *testing.T, data []byte) string {
	t.Helper()
	var parts []string
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return strings.Join(parts, " ")
		}
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(r)
		parts = append(parts, h.Name+"="+string(body))
	}
}

// TestFilesThatDoNotTravel: what is too large, written or no file is refused
// with what to do.
func TestFilesThatDoNotTravel(t *testing.T) {
	t.Parallel()
	half := strings.Repeat("x", maxTravel/2+1)
	dir := project(t, map[string]string{"big": half + half, "half1": half, "half2": half, "d/big": half + half, "conf": "x", "d2/a": "a"})
	if err := os.Symlink("..", filepath.Join(dir, "d2/loop")); err != nil {
		t.Fatal(err)
	}
	for mounts, want := range map[string]string{
		"'./big:/b:ro'":                  "it has more than 4 MiB, which is what files may travel together: put what is larger into a volume",
		"'./half1:/b:ro', ./half2:/c:ro": "with half2 the files of the stack have more than 4 MiB together",
		"'./d:/d:ro'":                    "it has more than 4 MiB",
		"'./d2:/d:ro'":                   "loop is a link to a folder",
		"'./conf:/conf'":                 "the file conf would be written, and files only travel to the node: add :ro",
	} {
		if err := os.WriteFile(filepath.Join(dir, "compose.yaml"), fmt.Appendf(nil, "services: {web: {image: x, volumes: [%s]}}", mounts), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Load(t.Context(), Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: the error is\n%v\nwant %s", mounts, err, want)
		}
	}
}

// TestPlanNeedsNoSideFiles: for a plan, what must be there to bring the stack up
// is told, and stops nothing.
func TestPlanNeedsNoSideFiles(t *testing.T) {
	t.Parallel()
	dir := project(t, map[string]string{"compose.yaml": `services:
  web:
    image: x
    env_file: none.env
    environment: ['A=${REQUIRED:?say it}']
    volumes: ['./none:/n:ro', '${WHERE}:/w', '${ELSE}/x:/x']
    secrets: [s, e]
secrets: {s: {file: none.txt}, e: {environment: NONE}}
`})
	st, warnings, err := Load(t.Context(), Options{Dir: dir, Plan: true})
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for _, w := range warnings {
		text += w.String() + "\n"
	}
	for _, want := range []string{
		"compose.yaml:4: an env_file is not read: there is no file none.env", "compose.yaml:5: the variable REQUIRED is not set",
		"compose.yaml:6: there is no none beside the file", "compose.yaml:6: the variable WHERE is not set", "the variable NONE is not set: it must be here",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the warnings are\n%swant %s", text, want)
		}
	}
	if len(st.Services[0].Mounts) != 5 {
		t.Errorf("the mounts are %s", toJSON(t, st.Services[0].Mounts))
	}
	if _, _, err = Load(t.Context(), Options{Dir: dir}); err == nil {
		t.Error("it can be brought up")
	}
}

// TestPlacement: one node and one value of each label for the whole stack.
func TestPlacement(t *testing.T) {
	t.Parallel()
	st, _, err := loadService(t, "platform: linux/arm64/v8\ndeploy: {placement: {constraints: ['node.labels.disk == ssd', node.hostname==attic]}}\nx-hearth-uses: [mail/smtp]", "x-hearth-node: attic\nx-hearth-uses: [db/pg, mail/smtp]\n")
	if err != nil {
		t.Fatal(err)
	}
	c := st.Constraints
	if c.Node != "attic" || len(c.Labels) != 2 || c.Labels["arch"] != "arm64" || c.Labels["disk"] != "ssd" || !slices.Equal(st.Uses, []string{"db/pg", "mail/smtp"}) {
		t.Errorf("the stack is %s", toJSON(t, st))
	}
	if _, _, err = loadService(t, "platform: linux/arm64", "  b: {image: x, platform: linux/amd64}\n"); err == nil || !strings.Contains(err.Error(), "another key wants arch to be") {
		t.Errorf("the error is %v", err)
	}
}

func TestSingle(t *testing.T) {
	t.Parallel()
	st, _, err := Single(Service{
		Name: "My.Web", Image: "nginx", Command: []string{"a", "b"}, Ports: []string{"8080:80", "127.0.0.1:53:53/udp"},
		Volumes: []string{"data:/data", "/srv:/srv:ro"}, Env: []string{"A=b", "HOME", "NOPE"}, Environ: []string{"HOME=/root"},
		Devices: []string{"/dev/a:/dev/b:r"}, Labels: []string{"x=y"}, Memory: "512m", CPUs: 0.5, CapAdd: []string{"net_admin"}, Restart: "unless-stopped",
	})
	want := `{"name":"myweb","services":[{"name":"myweb","image":"nginx","command":["a","b"],"env":["A=b","HOME=/root"],"restart":"always",` +
		`"ports":[{"published":8080,"target":80},{"host_ip":"127.0.0.1","published":53,"target":53,"udp":true}],` +
		`"mounts":[{"kind":"volume","source":"data","target":"/data"},{"kind":"bind","source":"/srv","target":"/srv","read_only":true}],` +
		`"cpus":0.5,"memory":536870912,"devices":[{"source":"/dev/a","target":"/dev/b","permissions":"r"}],"cap_add":["NET_ADMIN"],"labels":{"x":"y"}}],"volumes":[{"name":"data"}]}`
	if err != nil || toJSON(t, st) != want {
		t.Errorf("the stack is %s, want %s (%v)", toJSON(t, st), want, err)
	}
	for want, bad := range map[string]Service{
		"makes no stack's name":         {Name: "...", Image: "x"},
		"name one with --image":         {Name: "x"},
		"-p 99999:80":                   {Name: "x", Image: "x", Ports: []string{"99999:80"}},
		"leads nowhere on another node": {Name: "x", Image: "x", Volumes: []string{"./a:/a"}},
		"write it like 512m":            {Name: "x", Image: "x", Memory: "much"},
		"write it like /dev/ttyUSB0":    {Name: "x", Image: "x", Devices: []string{"ttyUSB0"}},
		"there is no mode":              {Name: "x", Image: "x", Network: "lan"},
		"is no policy":                  {Name: "x", Image: "x", Restart: "often"},
		"is no place in a container":    {Name: "x", Image: "x", Volumes: []string{"data"}},
	} {
		if _, _, err := Single(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: the error is %v, want %s", bad, err, want)
		}
	}
}
