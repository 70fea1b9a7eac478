package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/cmd/hearth/device"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime/fake"
	"github.com/hearth-edge/hearth/testnet/inproc"
)

// digest is that of hello-world in edge-home-orchestration-go's guides.
const digest = "sha256:fc6a51919cfeb2e6763f62b6d9e8815acbf7cd2e476ea353743570610737b752"

// edgeMesh starts devices of which the first answers edge-home-orchestration-go's
// clients, and returns its address. All have the images of that project's guides.
func edgeMesh(t *testing.T, count int, configure func(i int, cfg *device.Config)) (*inproc.Mesh, string) {
	t.Helper()
	mesh := inproc.Start(t, count, inproc.Options{Configure: func(i int, cfg *device.Config) {
		if i == 0 {
			cfg.Edge = &device.EdgeConfig{Addr: "127.0.0.1:0", Parse: parseRunLine}
		}
		if configure != nil {
			configure(i, cfg)
		}
	}})
	for _, n := range mesh.Nodes {
		n.Engine.AddImage("hello-world", fake.Image{})
		n.Engine.AddImage("hello-world@"+digest, fake.Image{})
	}
	return mesh, mesh.Nodes[0].EdgeAPI()
}

// An edgeAnswer is what that project's clients read, and the keys that are Hearth's.
type edgeAnswer struct {
	Message, ServiceName, SecureCmpName string
	RemoteTargetInfo                    *edgeTarget
	RequestID                           protocol.RequestID
	Reason                              string
}

type edgeTarget struct{ ExecutionType, Target string }

// UnmarshalJSON takes the empty text that stands there in other answers.
func (e *edgeTarget) UnmarshalJSON(raw []byte) error {
	type plain edgeTarget
	if string(raw) == `""` {
		return nil
	}
	return json.Unmarshal(raw, (*plain)(e))
}

// curl runs a line of the guides as it stands there: only where it leads is another
// port.
func curl(t *testing.T, addr, line string, env ...string) (status string, answer edgeAnswer) {
	t.Helper()
	home := t.TempDir()
	rc := fmt.Sprintf("silent\nconnect-to = \"127.0.0.1:56001:%s\"\nwrite-out = \"\\n%%{http_code}\"\n", addr)
	if err := os.WriteFile(filepath.Join(home, ".curlrc"), []byte(rc), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", line)
	cmd.Env = append(append(os.Environ(), "CURL_HOME="+home), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", line, err, out)
	}
	i := strings.LastIndexByte(string(out), '\n')
	status = string(out[i+1:])
	if status == "200" {
		if err := json.Unmarshal(out[:i], &answer); err != nil {
			t.Fatalf("%s: %v: %s", line, err, out)
		}
	}
	return status, answer
}

// The lines of docs/platforms/x86_64_linux/x86_64_linux.md and docs/secure_manager.md
// at 9c70a05.
const (
	lineHello  = `curl -X POST "127.0.0.1:56001/api/v1/orchestration/services" -H "accept: application/json" -H "Content-Type: application/json" -d "{ \"ServiceName\": \"hello-world\", \"ServiceInfo\": [{ \"ExecutionType\": \"container\", \"ExecCmd\": [ \"docker\", \"run\", \"-v\", \"/var/run:/var/run:rw\", \"hello-world\"]}]}"`
	lineDigest = `curl -X POST "127.0.0.1:56001/api/v1/orchestration/services" -H "accept: application/json" -H "Content-Type: application/json" -H "Authorization: $EDGE_ORCHESTRATION_TOKEN" -d "{ \"ServiceName\": \"hello-world\", \"ServiceInfo\": [{ \"ExecutionType\": \"container\", \"ExecCmd\": [ \"docker\", \"run\", \"-v\", \"/var/run:/var/run:rw\", \"hello-world@sha256:fc6a51919cfeb2e6763f62b6d9e8815acbf7cd2e476ea353743570610737b752\"]}]}"`
	lineAdd    = `curl -X POST "127.0.0.1:56001/api/v1/orchestration/securemgr" -H "accept: application/json" -H "Content-Type: application/json" -H "Authorization: $EDGE_ORCHESTRATION_TOKEN" -d "{ \"SecureMgr\": \"Verifier\", \"CmdType\": \"addHashCWL\", \"Desc\": [{ \"ContainerHash\": \"fc6a51919cfeb2e6763f62b6d9e8815acbf7cd2e476ea353743570610737b752\"}, { \"ContainerHash\": \"fc6a51919cfeb2e6763f62b6d9e8815acbf7cd2e476ea353743570610737b751\"}]}"`
	lineDel    = `curl -X POST "127.0.0.1:56001/api/v1/orchestration/securemgr" -H "accept: application/json" -H "Content-Type: application/json" -H "Authorization: $EDGE_ORCHESTRATION_TOKEN" -d "{ \"SecureMgr\": \"Verifier\", \"CmdType\": \"delHashCWL\", \"Desc\": [{ \"ContainerHash\": \"fc6a51919cfeb2e6763f62b6d9e8815acbf7cd2e476ea353743570610737b752\"}]}"`
	lineDelAll = `curl -X POST "127.0.0.1:56001/api/v1/orchestration/securemgr" -H "accept: application/json" -H "Content-Type: application/json" -H "Authorization: $EDGE_ORCHESTRATION_TOKEN" -d "{ \"SecureMgr\": \"Verifier\", \"CmdType\": \"delAllHashCWL\"}"`
	linePrint  = `curl -X POST "127.0.0.1:56001/api/v1/orchestration/securemgr" -H "accept: application/json" -H "Content-Type: application/json" -H "Authorization: $EDGE_ORCHESTRATION_TOKEN" -d "{ \"SecureMgr\": \"Verifier\", \"CmdType\": \"printAllHashCWL\"}"`
)

// The guide's lines ask for the folder of the engine's socket, which no owner lends:
// the client hears so, and why. The same lines with a folder that is lent run.
func TestGuidesServiceLines(t *testing.T) {
	folder := t.TempDir()
	mesh, addr := edgeMesh(t, 1, func(_ int, cfg *device.Config) { cfg.Policy.WritableMounts = []string{folder} })
	for _, line := range []string{lineHello, lineDigest} {
		status, a := curl(t, addr, line)
		if status != "200" || a.Message != "NOT_ALLOWED_COMMAND" || a.ServiceName != "hello-world" || a.RemoteTargetInfo == nil ||
			a.RemoteTargetInfo.Target != "" || !strings.Contains(a.Reason, `node1: does not lend "/var/run"`) {
			t.Errorf("%s\n%s %+v", line, status, a)
		}
		for _, line := range []string{
			strings.Replace(line, "/var/run:", folder+":", 1),
			strings.Replace(strings.Replace(line, "/var/run:", folder+":", 1), `services"`, `services/"`, 1),
		} {
			status, a = curl(t, addr, line)
			if status != "200" || a.Message != "ERROR_NONE" || a.ServiceName != "hello-world" || a.RemoteTargetInfo == nil ||
				a.RemoteTargetInfo.ExecutionType != "container" || a.RemoteTargetInfo.Target != "127.0.0.1" {
				t.Errorf("%s\n%s %+v", line, status, a)
				continue
			}
			d, err := mesh.Nodes[0].App.Inspect(t.Context(), a.RequestID)
			if err != nil {
				t.Fatal(err)
			}
			s := d.Service
			if len(s.Mounts) != 1 || s.Mounts[0] != (protocol.Mount{Source: folder, Target: "/var/run", Writable: true}) ||
				s.Tags["edge.service"] != "hello-world" || len(s.Env) != 1 || s.Env[0] != "REQUEST=127.0.0.1" {
				t.Errorf("another service was run: %+v", s)
			}
		}
	}
	// The example of its swagger file, whose other types have nobody to run them.
	body := `{"ServiceName":"container_service","ServiceInfo":[{"ExecutionType":"native","ExecCmd":["hellow-world"]},
		{"ExecutionType":"container","ExecCmd":["docker","run","hello-world"]},{"ExecutionType":"android","ExecCmd":["com.example.hello-world"]}]}`
	if a := post(t, addr, body); a.Message != "ERROR_NONE" || a.ServiceName != "container_service" {
		t.Errorf("%+v", a)
	}
}

func TestGuidesSecureManagerLines(t *testing.T) {
	_, addr := edgeMesh(t, 1, nil)
	for line, want := range map[string]string{
		lineAdd: "NOT_ALLOWED_COMMAND", lineDel: "NOT_ALLOWED_COMMAND", lineDelAll: "NOT_ALLOWED_COMMAND", linePrint: "ERROR_NONE",
		strings.Replace(lineAdd, "b751", "b75", 1): "INVALID_PARAMETER",
	} {
		if status, a := curl(t, addr, line); status != "200" || a.Message != want || a.SecureCmpName != "verifier" {
			t.Errorf("%s\n%s %+v, want %s", line, status, a, want)
		}
	}
}

// With token each client shows one that may run, as that project's secure mode has it:
// without a scheme.
func TestEdgeAPIAsksForAToken(t *testing.T) {
	state := ""
	_, addr := edgeMesh(t, 1, func(_ int, cfg *device.Config) {
		cfg.Edge.NeedToken, state = true, cfg.StateDir
	})
	_, reader, err := (&cli{state: state}).tokens().New("reader", protocol.RightRead, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, runner, err := (&cli{state: state}).tokens().New("runner", protocol.RightRun, 0)
	if err != nil {
		t.Fatal(err)
	}
	for token, want := range map[string]string{"": "401", "wrong": "401", reader: "403", runner: "200"} {
		if status, a := curl(t, addr, linePrint, "EDGE_ORCHESTRATION_TOKEN="+token); status != want {
			t.Errorf("%q: %s %+v, want %s", token, status, a, want)
		}
	}
}

// Twenty different services that are asked for at once come to twenty different ends,
// on more than one node.
func TestTwentyServicesAtOnce(t *testing.T) {
	mesh, addr := edgeMesh(t, 3, nil)
	answers := make([]edgeAnswer, 20)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			answers[i] = postService(t, addr, fmt.Sprintf("app%d", i), "work:1", fmt.Sprintf("out=%d", i), "sleep=300ms", fmt.Sprintf("exit=%d", i))
		})
	}
	all.Wait()
	nodes := map[protocol.PeerID]bool{}
	for i, a := range answers {
		if a.Message != "ERROR_NONE" || a.ServiceName != fmt.Sprintf("app%d", i) {
			t.Fatalf("%d: %+v", i, a)
		}
		s, err := mesh.Nodes[0].App.Attach(t.Context(), protocol.Attach{Request: a.RequestID})
		if err != nil {
			t.Fatal(err)
		}
		stdout, last := endOf(t, s)
		if last.ExitCode != i || stdout != fmt.Sprint(i) {
			t.Errorf("app%d: exit code %d, output %q", i, last.ExitCode, stdout)
		}
		nodes[last.Node] = true
	}
	if len(nodes) < 2 {
		t.Errorf("all ran on %d node", len(nodes))
	}
}

// That project keeps the clients of 1,024 requests and dies at the next.
func TestRequestPastTheirTable(t *testing.T) {
	_, addr := edgeMesh(t, 1, nil)
	for i := range 1025 {
		if a := postService(t, addr, "app", "work:1", "exit=0"); a.Message != "ERROR_NONE" {
			t.Fatalf("request %d: %+v", i+1, a)
		}
	}
}

// The lines of docs/cloudsync_mqtt.md with a broker in the place of "<AWS public IP>".
func TestGuidesCloudSyncLines(t *testing.T) {
	out, err := exec.Command("../../testnet/mosquitto.sh").Output()
	if err != nil {
		t.Fatalf("mosquitto.sh: %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	broker := l.Addr().String()
	_ = l.Close()
	_, port, _ := net.SplitHostPort(broker)
	config := filepath.Join(t.TempDir(), "mosquitto.conf")
	if err := os.WriteFile(config, []byte("listener "+port+" 127.0.0.1\nallow_anonymous true\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, addr := edgeMesh(t, 1, nil)
	line := func(text string) string {
		return strings.NewReplacer("<ip where edge-orchestration is running>", "127.0.0.1", "<AWS public IP>", broker,
			"<appid of service app>", "app", "<appid of the service app>", "app").Replace(text)
	}
	wants := func(text, want string) {
		t.Helper()
		if status, a := curl(t, addr, line(text)); status != "200" || !strings.HasPrefix(a.Message, want) {
			t.Errorf("%s\n%s %+v, want %s", text, status, a, want)
		}
	}
	const publish = `curl --location --request POST 'http://<ip where edge-orchestration is running>:56001/api/v1/orchestration/cloudsyncmgr/publish' \
--header 'Content-Type: text/plain' \
--data-raw '{
    "appid": "<appid of service app>",
    "payload": "{Another data from TV1 and testdata}",
    "topic": "home1/livingroom",
    "url" : "<AWS public IP>"
}'`
	const subscribe = `curl --location --request POST 'http://<ip where edge-orchestration is running>:56001/api/v1/orchestration/cloudsyncmgr/subscribe' \
--header 'Content-Type: text/plain' \
--data-raw '{
    "appid": "<appid of the service app>",
    "topic": "kitchen1",
    "url" : "<AWS public IP>"
}'`
	const read = `curl --location --request GET 'http://<ip where edge-orchestration is running>:56001/api/v1/orchestration/cloudsyncmgr/getsubscribedata/kitchen1/app'`
	wants(publish, "Error Connecting MQTT -> ")
	cmd := exec.Command(strings.TrimSpace(string(out)), "-c", config)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	waitUntil(t, func() bool {
		c, err := net.Dial("tcp", broker)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	wants(publish, "Data published successfully to Cloudtcp://"+broker)
	wants(read, "Client is not subscribed to the topic kitchen1")
	wants(subscribe, "Successfully subscribed to the topic kitchen1")
	wants(strings.Replace(publish, "home1/livingroom", "kitchen1", 1), "Data published successfully to Cloud")
	waitUntil(t, func() bool {
		_, a := curl(t, addr, line(read))
		return a.Message == "{Another data from TV1 and testdata}"
	})
	wants(strings.Replace(read, "kitchen1/app", broker+"/kitchen1/app", 1), "{Another data from TV1")
	wants(strings.Replace(publish, "<AWS public IP>", "", 1), "No broker host defined")
	wants(strings.Replace(publish, `"payload"`, `"load"`, 1), "INVALID_PARAMETER")
	wants(strings.Replace(subscribe, "kitchen1", "#", 1), "Error in subscribing the data ")
}

func waitUntil(t *testing.T, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not come")
		}
	}
}

func postService(t *testing.T, addr, name string, command ...string) edgeAnswer {
	t.Helper()
	body, err := json.Marshal(map[string]any{"ServiceName": name, "ServiceInfo": []any{
		map[string]any{"ExecutionType": "container", "ExecCmd": append([]string{"docker", "run"}, command...)}}})
	if err != nil {
		t.Fatal(err)
	}
	return post(t, addr, string(body))
}

func post(t *testing.T, addr, body string) (a edgeAnswer) {
	t.Helper()
	resp, err := http.Post("http://"+addr+"/api/v1/orchestration/services", "text/plain", strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return a
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		t.Errorf("%s: %v", resp.Status, err)
	}
	return a
}

// endOf follows a session to the end.
func endOf(t *testing.T, s protocol.Session) (stdout string, last protocol.Event) {
	t.Helper()
	defer s.Close()
	for {
		u, err := s.Next()
		switch {
		case errors.Is(err, io.EOF):
			return stdout, last
		case err != nil:
			t.Fatal(err)
		case u.Output != nil:
			stdout += string(u.Output.Data)
		case u.Event != nil:
			last = *u.Event
		}
	}
}
