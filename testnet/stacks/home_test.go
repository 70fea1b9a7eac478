package stacks_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/testnet"
	"github.com/hearth-edge/hearth/testnet/netns"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := testnet.Cleanup(); err != nil {
		fmt.Fprintln(os.Stderr, "clean up after the tests:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// The labels of what belongs to a stack.
const (
	labelStack   = "dev.hearth.stack"
	labelService = "dev.hearth.service"
)

// composeFile is what the home runs: %[1]s is the image.
const composeFile = `name: home
x-common: &common {image: %[1]s, restart: unless-stopped}
services:
  web:
    <<: *common
    command: [/docker/nginx]
    ports: ["8080:80"]
  cache:
    <<: *common
    command: [/docker/redis]
    volumes: ["cache:/data"]
    healthcheck: {test: [CMD, redis-cli, ping], interval: 1s, timeout: 5s, retries: 30}
  app:
    <<: *common
    command: [sh, -c, "while :; do redis-cli -h cache incr hits; sleep 0.2; done"]
    depends_on: {cache: {condition: service_healthy}}
  db:
    <<: *common
    command: [/docker/database]
    stop_signal: SIGINT
    volumes: ["db:/var/lib/postgresql/data"]
    healthcheck: {test: [CMD, psql, -h, 127.0.0.1, -U, postgres, -c, select 1], interval: 1s, timeout: 5s, retries: 60}
  writer:
    <<: *common
    command: [/docker/writer]
    depends_on: {db: {condition: service_healthy}}
  broker:
    <<: *common
    command: [mosquitto, -c, /docker/mosquitto.conf]
  sensor:
    <<: *common
    command: [sh, -c, "n=0; while :; do n=$$((n+1)); mosquitto_pub -h broker -t t -m $$n; sleep 0.5; done"]
    depends_on: [broker]
  listener:
    <<: *common
    command: [mosquitto_sub, -h, broker, -t, t]
    depends_on: [broker]
  cron:
    <<: *common
    command: [sh, -c, "while :; do echo tick >>/data/ticks; sleep 0.5; done"]
    volumes: ["ticks:/data"]
  scanner:
    <<: *common
    command: [redis-server, --port, "7777", --save, ""]
    network_mode: host
volumes: {cache: {}, db: {}, ticks: {}}
`

// services are all of the home's.
var services = []string{"web", "cache", "app", "db", "writer", "broker", "sensor", "listener", "cron", "scanner"}

// home is one device that runs the stack.
type home struct {
	*testing.T
	host   *netns.Host
	engine *testnet.Engine
	node   *testnet.Node
}

func newHome(t *testing.T) *home {
	t.Helper()
	image := testnet.StacksImage(t)
	host := netns.New(t).AddHost("nas")
	h := &home{T: t, host: host, engine: host.StartEngine(t)}
	h.engine.Load(image)
	state := testnet.ShortTempDir(t)
	if err := os.WriteFile(filepath.Join(state, "policy.toml"), []byte("networks = [\"bridge\", \"host\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.node = host.StartNode(t, testnet.Options{Secret: testnet.NewSecret(t), State: state, Engine: h.engine})
	h.node.WaitAble(1)
	file := filepath.Join(t.TempDir(), "compose.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, composeFile, image), 0o600); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if r := h.node.Hearth("stack", "up", "-f", file, "--wait"); r.Code != 0 {
		t.Fatalf("stack up ended with %d: %s%s", r.Code, r.Stdout, r.Stderr)
	}
	t.Logf("up after %v", time.Since(began))
	return h
}

// id is the one container of a service.
func (h *home) id(service string) string {
	h.Helper()
	found := h.engine.Containers(labelStack+"=home", labelService+"="+service)
	if len(found) != 1 {
		h.Fatalf("%d containers of %s", len(found), service)
	}
	return found[0].ID
}

// ask runs a program in the container of a service; empty where that fails.
func (h *home) ask(service string, command ...string) string {
	h.Helper()
	r := h.run(append([]string{"docker", "-H", "unix://" + h.engine.Socket, "exec", h.id(service)}, command...)...)
	return strings.TrimSpace(r)
}

// run runs a program on the host and returns what it prints; empty where it fails.
func (h *home) run(command ...string) string {
	ctx, cancel := context.WithTimeout(h.Context(), 10*time.Second)
	defer cancel()
	out, err := h.host.Command(ctx, command[0], command[1:]...).Output()
	if err != nil {
		return ""
	}
	return string(out)
}

func number(text string) int {
	n, _ := strconv.Atoi(strings.TrimSpace(text))
	return n
}

func (h *home) page() bool {
	return h.run("busybox", "timeout", "3", "busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:8080/") == "served by www-data\n"
}

// counters tell how far each service is that does something.
func (h *home) counters() map[string]int {
	h.Helper()
	last := func(service string) int {
		return number(h.run("docker", "-H", "unix://"+h.engine.Socket, "logs", "--tail", "1", h.id(service)))
	}
	return map[string]int{
		"cache": number(h.ask("cache", "redis-cli", "get", "hits")),
		"db":    number(h.ask("db", "psql", "-h", "127.0.0.1", "-U", "postgres", "-qtAc", "select max(n) from t")),
		"cron":  number(h.ask("cron", "sh", "-c", "wc -l </data/ticks")),
		// What is heard begins anew with the sensor.
		"listener": last("listener"),
	}
}

// works waits until all of the home works: each answers, and goes on from where it
// was before.
func (h *home) works(what string, before map[string]int) map[string]int {
	h.Helper()
	h.until(what+": the page", h.page)
	h.until(what+": the service on the host's network", func() bool {
		return strings.Contains(h.run("sh", "-c", `printf 'PING\r\nQUIT\r\n' | busybox timeout 2 busybox nc 127.0.0.1 7777`), "PONG")
	})
	first := h.counters()
	var now map[string]int
	for name := range first {
		h.until(fmt.Sprintf("%s: %s goes on", what, name), func() bool {
			now = h.counters()
			switch {
			case name == "listener":
				return now[name] > 0 && now[name] != first[name]
			case now[name] == 0: // it does not answer yet
				return false
			case now[name] < before[name]:
				h.Fatalf("%s: %s has lost what it had: %d, and %d before", what, name, now[name], before[name])
			}
			return now[name] > first[name]
		})
	}
	for _, service := range services {
		h.id(service) // one, and no more
	}
	return now
}

func (h *home) until(what string, done func() bool) {
	h.Helper()
	deadline := time.Now().Add(time.Minute)
	for !done() {
		if time.Now().After(deadline) {
			h.Fatalf("not within a minute: %s\n%s", what, h.node.Hearth("stack", "ps", "home").Stdout)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// pid is the first process of a service's container.
func (h *home) pid(service string) int {
	h.Helper()
	found := h.engine.Containers(labelStack+"=home", labelService+"="+service)
	if len(found) != 1 {
		h.Fatalf("%d containers of %s", len(found), service)
	}
	return found[0].PID
}

func (h *home) kill(pid int) {
	h.Helper()
	if pid == 0 {
		h.Fatal("it does not run")
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		h.Fatal(err)
	}
}

// committed are the numbers that the writer was told are committed.
func (h *home) committed() []string {
	h.Helper()
	var all []string
	for line := range strings.Lines(h.engine.Docker("logs", h.id("writer"))) {
		if n, ok := strings.CutPrefix(strings.TrimSpace(line), "committed "); ok && n != "" {
			all = append(all, n)
		}
	}
	return all
}

// TestRealSoftwareSurvives: nginx, Redis with an application, PostgreSQL that is
// written to, Mosquitto with two clients, a job that works by the clock, and a
// service on the host's network survive kill -9 of each container, of hearth, of the
// engine, and of all at once.
func TestRealSoftwareSurvives(t *testing.T) {
	h := newHome(t)
	now := h.works("at first", nil)

	for _, service := range services {
		began, pid := time.Now(), h.pid(service)
		h.kill(pid)
		h.until(service+" runs again", func() bool { p := h.pid(service); return p != 0 && p != pid })
		t.Logf("%s runs %v after it was killed", service, time.Since(began).Round(10*time.Millisecond))
	}
	now = h.works("after each container was killed", now)

	for range 3 {
		h.engine.Docker("kill", h.id("db"))
		h.until("the database answers", func() bool {
			return h.ask("db", "psql", "-h", "127.0.0.1", "-U", "postgres", "-qtAc", "select 1") == "1"
		})
	}
	now = h.works("after the database was killed in a loop", now)

	h.node.Kill()
	h.kill(h.pid("web")) // while nobody looks
	h.node = h.node.Restart()
	now = h.works("after hearth was killed", now)

	h.engine.Kill()
	h.engine.Restart()
	now = h.works("after the engine was killed", now)

	// A power cut: nobody is told of any end.
	var pids []int
	for _, service := range services {
		pids = append(pids, h.pid(service))
	}
	h.node.Kill()
	h.engine.Kill()
	for _, pid := range pids {
		h.kill(pid)
	}
	began := time.Now()
	h.engine.Restart()
	h.node = h.node.Restart()
	h.works("after a power cut", now)
	t.Logf("all works %v after power was back", time.Since(began).Round(10*time.Millisecond))

	committed, there := h.committed(), make(map[string]bool) // it is still written to
	for _, n := range strings.Fields(h.ask("db", "psql", "-h", "127.0.0.1", "-U", "postgres", "-qtAc", "select n from t")) {
		there[n] = true
	}
	for _, n := range committed {
		if !there[n] {
			t.Errorf("%s was committed, and is lost", n)
		}
	}
	if len(committed) < 10 {
		t.Errorf("only %d rows were committed: the test shows nothing", len(committed))
	}
	if r := h.node.Hearth("stack", "down", "home", "--data", "--yes"); r.Code != 0 {
		t.Errorf("stack down ended with %d: %s", r.Code, r.Stderr)
	}
	if left := h.engine.Docker("ps", "-aq") + h.engine.Docker("volume", "ls", "-q"); left != "" {
		t.Errorf("left behind: %s", left)
	}
}
