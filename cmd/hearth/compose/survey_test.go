package compose

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write testdata/survey.txtar anew")

// surveyFiles is how many files the set has, so that a share is a number of them.
const surveyFiles = 100

// A form is one way to write a key that home users write, with the share of
// files, in percent, that do so. What is rarer than 1 % is in one file.
type form struct {
	share float64
	text  string // keys of a service
	top   string // keys of the file
	// files lie beside the compose file: NAME=CONTENT.
	files []string
}

// survey has the keys and forms of 726 files of home users. "@NAME", "@OTHER"
// and "@N" become the service's name, another service's and a number of their own.
var survey = []form{
	{share: 40, text: "restart: unless-stopped"},
	{share: 30, text: "restart: always"},
	{share: 24, text: "restart: on-failure"},
	{share: 2, text: "restart: ${RESTART_POLICY:-always}"},
	{share: 1, text: "restart: \"no\""},
	{share: 1, text: "restart: on-failure:3"},
	{share: 60, text: "volumes:\n- ${APP_DATA_DIR}/data/@NAME:/data\n- ${APP_DATA_DIR}/config:/config"},
	{share: 15, text: "volumes:\n- /mnt/storage/@NAME:/data\n- /etc/localtime:/etc/localtime:ro"},
	{share: 6, text: "volumes:\n- type: bind\n  source: /DATA/AppData/$AppID/config\n  target: /config\n- type: bind\n  source: /DATA/Media\n  target: /media\n  read_only: true\n  bind: {create_host_path: true}"},
	{share: 4, text: "volumes:\n- ./data:/data\n- ./data/log:/var/log"},
	{share: 2, text: "volumes:\n- ./@NAME.conf:/etc/@NAME.conf:ro", files: []string{"@NAME.conf=listen 80\n"}},
	{share: 1, text: "volumes:\n- ./conf.d:/etc/@NAME.d:ro", files: []string{"conf.d/a.conf=a\n", "conf.d/b/c.conf=b\n"}},
	{share: 1, text: "volumes:\n- data:/var/lib/@NAME", top: "volumes:\n  data:"},
	{share: 1, text: "volumes:\n- type: volume\n  source: cache\n  target: /cache\n  volume: {nocopy: true}", top: "volumes:\n  cache:\n    driver: local"},
	{share: 1, text: "volumes:\n- /app/node_modules"},
	{share: 2, text: "volumes:\n- /var/run/docker.sock:/var/run/docker.sock:ro"},
	{share: 1, text: "volumes:\n- /proc:/host/proc:ro\n- /sys:/host/sys:ro\n- /:/rootfs:ro,rslave"},
	{share: 1, text: "volumes:\n- type: tmpfs\n  target: /cache\n  tmpfs: {size: 64m}"},
	{share: 50, text: "environment:\n- TZ=${TZ}\n- PUID=1000\n- PGID=${PGID:-1000}"},
	{share: 39, text: "environment:\n  TZ: $TZ\n  PORT: 8080\n  DEBUG: \"false\"\n  URL: http://${HOST:-localhost}:@N"},
	{share: 1, text: "environment:\n- TZ"},
	{share: 28, text: "ports:\n- \"@N:80\""},
	{share: 19, text: "ports:\n- target: 8080\n  published: \"@N\"\n  protocol: tcp"},
	{share: 5, text: "ports:\n- @N:53/udp\n- \"${WEB_PORT:-8443}:443\""},
	{share: 1, text: "ports:\n- 127.0.0.1:@N:80"},
	{share: 1, text: "ports:\n- @N0-@N2:6881-6883"},
	{share: 46, text: "container_name: @NAME_app"},
	{share: 30, text: "user: \"1000:1000\""},
	{share: 1, text: "user: ${PUID:-1000}"},
	{share: 19, text: "depends_on: [@OTHER]"},
	{share: 8, text: "depends_on:\n  @OTHER:\n    condition: service_healthy"},
	{share: 2, text: "depends_on:\n  @OTHER:\n    condition: service_started"},
	{share: 1, text: "depends_on:\n  @OTHER:\n    condition: service_completed_successfully"},
	{share: 25, text: "stop_grace_period: 1m"},
	{share: 21, text: "expose:\n- \"3000\"\n- 3001"},
	{share: 13, text: "network_mode: bridge"},
	{share: 6, text: "network_mode: host"},
	{share: 1, text: "network_mode: service:@OTHER"},
	{share: 12, text: "command: [\"serve\", \"--port=80\"]"},
	{share: 6, text: "command: serve --name \"a b\" --token ${TOKEN}"},
	{share: 1, text: "command: >\n  sh -c \"echo $$HOME &&\n  exec serve\""},
	{share: 17, text: "deploy:\n  resources:\n    reservations:\n      memory: 128M"},
	{share: 2, text: "deploy:\n  resources:\n    limits:\n      cpus: \"0.5\"\n      memory: 1G\n      pids: 200"},
	{share: 1, text: "deploy:\n  resources:\n    reservations:\n      devices:\n      - driver: nvidia\n        count: all\n        capabilities: [gpu]"},
	{share: 1, text: "deploy:\n  placement:\n    constraints: [node.labels.disk == ssd]"},
	{share: 1, text: "deploy:\n  restart_policy: {condition: on-failure, delay: 5s, window: 120s}"},
	{share: 8, text: "healthcheck:\n  test: [\"CMD\", \"curl\", \"-f\", \"http://localhost\"]\n  interval: 30s\n  timeout: 5s\n  retries: 5"},
	{share: 5, text: "healthcheck:\n  test: [\"CMD-SHELL\", \"pg_isready -U $${POSTGRES_USER}\"]\n  interval: 1m30s\n  start_period: 20s"},
	{share: 1, text: "healthcheck:\n  test: wget -q localhost || exit 1"},
	{share: 1, text: "healthcheck:\n  disable: true"},
	{share: 9, text: "hostname: @NAME"},
	{share: 5, text: "networks: [front]", top: "networks:\n  front:"},
	{share: 1, text: "networks:\n  front:\n    aliases: [@NAME-alias]\n  back:", top: "networks:\n  front:\n    driver: bridge\n  back:\n    internal: true"},
	{share: 2, text: "networks:\n  lan:\n    ipv4_address: 172.20.0.9", top: "networks:\n  lan:\n    ipam:\n      config:\n      - subnet: 172.20.0.0/16"},
	{share: 1, text: "networks: [proxy]", top: "networks:\n  proxy:\n    external: true"},
	{share: 3, text: "privileged: true"},
	{share: 3, text: "privileged: false"},
	{share: 6, text: "init: true"},
	{share: 5, text: "entrypoint: [\"/entry.sh\"]"},
	{share: 1, text: "entrypoint: /entry.sh --verbose"},
	{share: 3, text: "cap_add:\n- NET_ADMIN"},
	{share: 1, text: "cap_add: [NET_ADMIN, SYS_MODULE]\ncap_drop: [ALL]"},
	{share: 2, text: "security_opt:\n- no-new-privileges:true"},
	{share: 1, text: "security_opt: [\"seccomp:unconfined\", \"apparmor=unconfined\"]"},
	{share: 2, text: "env_file: .env"},
	{share: 1, text: "env_file:\n- @NAME.env\n- path: none.env\n  required: false", files: []string{"@NAME.env=FROM_FILE=yes\nQUOTED=\"a b\"\n"}},
	{share: 1, text: "extra_hosts:\n- host.docker.internal:host-gateway"},
	{share: 1, text: "extra_hosts:\n  nas: 192.168.1.9"},
	{share: 2, text: "shm_size: 256mb"},
	{share: 1, text: "devices:\n- /dev/dri:/dev/dri"},
	{share: 1, text: "devices:\n- /dev/serial/by-id/usb-stick:/dev/ttyUSB0"},
	{share: 2, text: "read_only: true"},
	{share: 1, text: "cpu_shares: 50"},
	{share: 1, text: "cpus: 1.5\nmem_limit: 512m\nmem_reservation: 128m"},
	{share: 1, text: "ulimits:\n  nofile: {soft: 1024, hard: 65536}\n  memlock: -1"},
	{share: 1, text: "tmpfs: /tmp"},
	{share: 1, text: "tmpfs:\n- /run:size=16m,mode=1777\n- /tmp"},
	{share: 1, text: "tty: true\nstdin_open: true"},
	{share: 1, text: "sysctls:\n- net.ipv4.conf.all.src_valid_mark=1"},
	{share: 1, text: "sysctls:\n  net.ipv6.conf.all.disable_ipv6: 0"},
	{share: 1, text: "links:\n- @OTHER"},
	{share: 1, text: "links:\n- @OTHER:database"},
	{share: 1, text: "logging:\n  driver: json-file\n  options: {max-size: 10m}"},
	{share: 1, text: "working_dir: /app"},
	{share: 1, text: "dns: 1.1.1.1"},
	{share: 1, text: "dns: [1.1.1.1, 9.9.9.9]"},
	{share: 1, text: "configs:\n- source: main\n  target: /etc/main.conf", top: "configs:\n  main:\n    content: |\n      zone=${TZ}"},
	{share: 1, text: "configs: [side]", top: "configs:\n  side:\n    file: ./side.conf", files: []string{"side.conf=a=b\n"}},
	{share: 1, text: "secrets: [token]", top: "secrets:\n  token:\n    file: ./token.txt", files: []string{"token.txt=t0ken"}},
	{share: 1, text: "secrets:\n- source: env\n  target: /run/env\n  mode: 0400", top: "secrets:\n  env:\n    environment: TOKEN"},
	{share: 1, text: "pid: host\nipc: host"},
	{share: 1, text: "runtime: nvidia"},
	{share: 1, text: "gpus: all"},
	{share: 1, text: "stop_signal: SIGINT\npids_limit: 100"},
	{share: 1, text: "profiles: [extra]"},
	{share: 4, text: "labels:\n- com.example.app=@NAME"},
	{share: 2, text: "labels:\n  traefik.enable: true\n  traefik.http.routers.@NAME.rule: Host(`@NAME.local`)"},
	{share: 1, text: "platform: linux/amd64"},
	{share: 1, text: "pull_policy: always"},
	{share: 1, text: "group_add: [video, \"109\"]"},
	{share: 4, text: "build: ."},
	{share: 2, text: "x-app:\n  title: {en_us: @NAME}", top: "x-casaos:\n  main: @NAME\n  port_map: \"8080\""},
	{share: 15, top: "version: \"3.7\""},
	{share: 40, top: "name: @NAME-stack"},
}

// conflicts are keys that do not stand beside others.
var conflicts = map[string][]string{
	"network_mode": {"networks", "ports", "expose", "links"},
	"networks":     {"network_mode"}, "ports": {"network_mode"}, "expose": {"network_mode"}, "links": {"network_mode"},
	"runtime": {"gpus"},
}

// A draft is a file that is being generated.
type draft struct {
	services []*draftService
	top      []string
	tops     map[string]bool // keys of the file that are taken
	files    map[string]string
}

type draftService struct {
	name string
	text []string
	keys map[string]bool
}

// generate returns the files of the survey: each form in its share of them, in
// files that otherwise have what others have.
func generate() []*txtar.Archive {
	random := rand.New(rand.NewPCG(726, 1567))
	drafts := make([]*draft, surveyFiles)
	for i := range drafts {
		drafts[i] = &draft{tops: make(map[string]bool), files: map[string]string{".env": "TZ=Europe/Berlin\nAPP_DATA_DIR=/srv/app\nAppID=app\nTOKEN=t0p\n"}}
		for j := range serviceCount(i) {
			drafts[i].services = append(drafts[i].services, &draftService{name: []string{"web", "db", "cache", "worker", "Proxy.1", "init_job"}[j], keys: make(map[string]bool)})
		}
	}
	for number, f := range survey {
		left := max(1, int(f.share*surveyFiles/100))
		for _, i := range random.Perm(surveyFiles) {
			if left > 0 && drafts[i].add(f, number, random) {
				left--
			}
		}
		if left > 0 {
			panic(fmt.Sprintf("%d files have no room for %q", left, f.text+f.top))
		}
	}
	var all []*txtar.Archive
	for _, d := range drafts {
		all = append(all, d.archive())
	}
	return all
}

// serviceCount has 35 of 100 files hold one service, and the others 2 to 6.
func serviceCount(i int) int {
	switch {
	case i < 35:
		return 1
	case i < 74:
		return 2
	case i < 88:
		return 3
	case i < 95:
		return 4
	}
	return 6
}

// add puts a form into one of the file's services, where it has room.
func (d *draft) add(f form, number int, random *rand.Rand) bool {
	at := random.IntN(len(d.services))
	s := d.services[at]
	if strings.Contains(f.text, "@OTHER") && at == 0 {
		return false // only earlier services are depended on, so that none does on itself
	}
	keys, tops := topKeys(f.text), topKeys(f.top)
	for _, k := range keys {
		if s.keys[k] || slices.ContainsFunc(conflicts[k], func(c string) bool { return s.keys[c] }) {
			return false
		}
	}
	for _, k := range tops {
		if d.tops[k] {
			return false
		}
	}
	if s.keys["profiles"] && len(d.services) == 1 || slices.Contains(keys, "profiles") && at != len(d.services)-1 {
		return false
	}
	other := "web"
	if at > 0 {
		other = d.services[random.IntN(at)].name
	}
	fill := strings.NewReplacer("@NAME", strings.ToLower(strings.ReplaceAll(s.name, ".", "-")), "@OTHER", other, "@N0", fmt.Sprint(20000+10*number), "@N2", fmt.Sprint(20002+10*number), "@N", fmt.Sprint(8000+number*10+at))
	if f.text != "" {
		s.text = append(s.text, fill.Replace(f.text))
	}
	if f.top != "" {
		d.top = append(d.top, fill.Replace(f.top))
	}
	for _, k := range keys {
		s.keys[k] = true
	}
	for _, k := range tops {
		d.tops[k] = true
	}
	for _, file := range f.files {
		name, content, _ := strings.Cut(file, "=")
		d.files[fill.Replace(name)] = content
	}
	return true
}

// topKeys are the keys of a fragment that are not indented.
func topKeys(text string) []string {
	var keys []string
	for line := range strings.Lines(text) {
		if k, _, ok := strings.Cut(line, ":"); ok && line[0] != ' ' && line[0] != '-' {
			keys = append(keys, k)
		}
	}
	return keys
}

func (d *draft) archive() *txtar.Archive {
	var b strings.Builder
	for _, t := range d.top {
		b.WriteString(t + "\n")
	}
	b.WriteString("services:\n")
	for _, s := range d.services {
		fmt.Fprintf(&b, "  %s:\n", s.name)
		if !s.keys["build"] {
			fmt.Fprintf(&b, "    image: example/%s:${TAG:-1.0}\n", strings.ToLower(s.name))
		}
		for _, t := range s.text {
			b.WriteString(indent(t, 4))
		}
	}
	a := &txtar.Archive{Files: []txtar.File{{Name: "compose.yaml", Data: []byte(b.String())}}}
	for _, name := range slices.Sorted(maps.Keys(d.files)) {
		data := d.files[name]
		if !strings.HasSuffix(data, "\n") {
			data += "\n" // as the archive has it
		}
		a.Files = append(a.Files, txtar.File{Name: name, Data: []byte(data)})
	}
	return a
}

// TestSurvey reads the set that testdata/survey.txtar keeps, and compares each
// stack with the one beside it: each key of home users' files in each of its
// forms, in proportion. With -update the set is made anew; what a stack is then
// shows in the diff.
func TestSurvey(t *testing.T) {
	t.Parallel()
	kept := filepath.Join("testdata", "survey.txtar")
	if *update {
		writeSurvey(t, kept)
	}
	archive, err := txtar.ParseFile(kept)
	if err != nil {
		t.Fatal(err)
	}
	cases := make(map[string]map[string]string)
	for _, f := range archive.Files {
		number, name, _ := strings.Cut(f.Name, "/")
		if cases[number] == nil {
			cases[number] = make(map[string]string)
		}
		cases[number][name] = string(f.Data)
	}
	for i, a := range generate() {
		for _, f := range a.Files {
			if number := fmt.Sprintf("%03d", i); cases[number][f.Name] != string(f.Data) {
				t.Errorf("%s/%s is not what the survey makes: run this test with -update", number, f.Name)
			}
		}
	}
	planned, built := 0, 0
	for number, files := range cases {
		got := outcome(t, files)
		if got != files["stack.json"] {
			t.Errorf("%s is\n%swant\n%s", number, got, files["stack.json"])
		}
		if strings.HasPrefix(got, "{") {
			planned++
		} else if builds(got) {
			built++
		}
	}
	if len(cases) != surveyFiles || planned+built < surveyFiles*95/100 {
		t.Errorf("of %d files %d are stacks and %d are refused for their build, want 95 %%", len(cases), planned, built)
	}
	t.Logf("%d files: %d stacks, %d refused for their build", len(cases), planned, built)
}

func builds(refusals string) bool {
	for line := range strings.Lines(refusals) {
		if !strings.Contains(line, ".build: ") {
			return false
		}
	}
	return true
}

// outcome returns the stack's JSON and its warnings, or why there is none.
func outcome(t *testing.T, files map[string]string) string {
	beside := maps.Clone(files)
	delete(beside, "stack.json")
	st, warnings, err := Load(t.Context(), Options{Dir: project(t, beside)})
	if err != nil {
		return err.Error() + "\n"
	}
	text := toJSON(t, st) + "\n"
	for _, w := range warnings {
		text += "# " + w.String() + "\n"
	}
	return text
}

func writeSurvey(t *testing.T, path string) {
	all := &txtar.Archive{Comment: []byte("Generated by TestSurvey -update: " + fmt.Sprint(surveyFiles) + " compose files and what becomes of them.\n")}
	for i, a := range generate() {
		files := make(map[string]string)
		for _, f := range a.Files {
			files[f.Name] = string(f.Data)
		}
		a.Files = append(a.Files, txtar.File{Name: "stack.json", Data: []byte(outcome(t, files))})
		for _, f := range a.Files {
			all.Files = append(all.Files, txtar.File{Name: fmt.Sprintf("%03d/%s", i, f.Name), Data: f.Data})
		}
	}
	if err := os.WriteFile(path, txtar.Format(all), 0o644); err != nil {
		t.Fatal(err)
	}
}
