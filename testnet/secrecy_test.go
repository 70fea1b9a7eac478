package testnet_test

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/decred/dcrd/bech32"

	"github.com/hearth-edge/hearth/testnet"
	"github.com/hearth-edge/hearth/testnet/netns"
)

// TestSecretsStay: the mesh's secret, what is derived from it, a device's seed and
// its token are in their files and nowhere else: not in logs with all details, in
// what any verb prints, in other state files, in the arguments or variables of any
// process on the machine, in what the engine knows of containers, or in the dump
// of a crash.
func TestSecretsStay(t *testing.T) {
	secret := testnet.NewSecret(t)
	text := trimmed(t, secret)
	image := testnet.Image(t)
	witness := testnet.NewWitness(t, secret)
	config, asked := askingHelper(t)
	env := []string{"GOTRACEBACK=all", "DOCKER_CONFIG=" + config, "PATH=" + config + ":" + os.Getenv("PATH")}
	lan := netns.New(t)
	policy := filepath.Join(t.TempDir(), "policy.toml")
	if err := os.WriteFile(policy, []byte("registries = [\"registry.invalid\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"--verbose", "--policy", policy}
	a := lan.AddHost("a").StartNode(t, testnet.Options{Args: args, Env: append([]string{"HEARTH_SECRET=" + text}, env...)})
	b := lan.AddHost("b").StartNode(t, testnet.Options{Secret: secret, Args: args, Env: env})
	a.WaitAble(2)

	found := &secrets{}
	found.add(t, "the secret", unbech32(t, text))
	found.words = append(found.words, word{"the secret's text", []byte(text[len("hearth1"):])})
	for _, n := range []*testnet.Node{a, b} {
		found.addNode(t, n, unbech32(t, text))
	}

	events, watched := context.WithCancel(t.Context())
	defer watched()
	told := make(chan testnet.Result, 1)
	go func() {
		r, _ := b.Exec(events, nil, "events", "--json")
		told <- r
	}()
	a.Hearth("run", image, "echo", "hello")
	a.Hearth("run", "registry.invalid/none:1")
	a.Hearth("run", "-d", "--retry", "1", "--node", "b", "--id", "kept", image, "sleep", "1h")
	running := witness.Started(1, func(c testnet.Container) bool { return c.Request == "kept" })
	hidden := "hidden" + trimmed(t, testnet.NewSecret(t))
	file := filepath.Join(t.TempDir(), "pw")
	if err := os.WriteFile(file, []byte(hidden), 0o600); err != nil {
		t.Fatal(err)
	}
	found.words = append(found.words, word{"a request's secret", []byte(hidden)})
	a.Hearth("run", "-d", "--retry", "1", "--node", "b", "--id", "sealed", "--secret", "pw="+file, image, "sleep", "1h")
	sealed := witness.Started(1, func(c testnet.Container) bool { return c.Request == "sealed" })
	inspected := testnet.Docker(t, "inspect", sealed[0].ID)
	if !strings.Contains(inspected, "/run/secrets") {
		t.Error("the container has no secrets")
	}
	found.search(t, "docker inspect", []byte(inspected))
	found.scanProcesses(t, a, b)
	if !found.reaper {
		t.Error("no reaper was running, whose arguments and variables could be looked at")
	}
	found.search(t, "docker inspect", []byte(testnet.Docker(t, "inspect", running[0].ID)))
	found.search(t, "a credential helper's environment", written(t, asked))
	for _, n := range []*testnet.Node{a, b} {
		limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", n.PID()))
		if err != nil || !strings.Contains(string(limits), "Max core file size        0                    0 ") {
			t.Errorf("%s may leave a core file: %v\n%s", n.Name, err, limits)
		}
		for _, verb := range []string{
			"nodes --json", "nodes", "ps -a --json", "inspect kept", "inspect kept --json", "explain kept --json", "doctor", "doctor --json", "version --json", "version --sbom",
			"secret fingerprint", "policy show", "run --dry-run --json " + image, "policy check --json " + image, "run --explain " + image + " echo x",
			"logs --no-follow kept", "inspect sealed", "inspect --json sealed", "rm -f sealed", "install --print", "completion bash", "stop kept", "wait kept",
		} {
			r := n.Hearth(strings.Fields(verb)...)
			found.search(t, n.Name+": hearth "+verb, []byte(r.Stdout+r.Stderr))
		}
	}
	watched()
	r := <-told
	found.search(t, "hearth events", []byte(r.Stdout+r.Stderr))
	if !strings.Contains(r.Stdout, "kept") {
		t.Errorf("hearth events told nothing: %s", r.Stdout)
	}
	crash(t, a, syscall.SIGQUIT)
	crash(t, b, syscall.SIGABRT)
	for _, n := range []*testnet.Node{a, b} {
		found.search(t, "the log of "+n.Name, []byte(n.Log()))
		found.scanState(t, n.State)
	}
}

// crash makes the node dump all its goroutines.
func crash(t *testing.T, n *testnet.Node, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(n.PID(), s); err != nil {
		t.Fatal(err)
	}
	if code := n.WaitExit(); code != 2 || strings.Count(n.Log(), "\ngoroutine ") < 10 {
		t.Errorf("%s crashed with code %d and a dump of %d goroutines", n.Name, code, strings.Count(n.Log(), "\ngoroutine "))
	}
}

// A word is one form of something that is to stay secret.
type word struct {
	name string
	text []byte
}

type secrets struct {
	words  []word
	reaper bool // see scanProcesses
}

// add adds what a key looks like: as bytes, in the encodings in use, and as Go
// prints it, in dumps, too, which show only the beginning.
func (s *secrets) add(t *testing.T, name string, key []byte) {
	t.Helper()
	if len(key) != 32 {
		t.Fatalf("%s has %d bytes", name, len(key))
	}
	var decimal, dumped []string
	for _, b := range key[:6] {
		decimal = append(decimal, strconv.Itoa(int(b)))
		dumped = append(dumped, fmt.Sprintf("%#x", b))
	}
	texts := []string{
		string(key), hex.EncodeToString(key), strings.ToUpper(hex.EncodeToString(key)),
		base64.RawStdEncoding.EncodeToString(key[:30]), base64.RawURLEncoding.EncodeToString(key[:30]),
		strings.Join(decimal, " "), strings.Join(decimal, ","), strings.Join(dumped, ", "), strings.Join(dumped, ","),
	}
	for i := 0; i < len(key); i += 8 {
		texts = append(texts, fmt.Sprintf("%#x", binary.LittleEndian.Uint64(key[i:])))
	}
	for _, text := range texts {
		s.words = append(s.words, word{name, []byte(text)})
	}
}

// addNode adds what only this node holds. The derivations are those of package
// keys, which its golden file fixes.
func (s *secrets) addNode(t *testing.T, n *testnet.Node, secret []byte) {
	t.Helper()
	hexed := func(name string) []byte {
		raw, err := hex.DecodeString(trimmed(t, filepath.Join(n.State, name)))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	derived := func(use string, salt []byte) []byte {
		key, err := hkdf.Key(sha256.New, secret, salt, "hearth/1 "+use, 32)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	seed := hexed("seed")
	s.add(t, "the token of "+n.Name, hexed("token"))
	s.add(t, "the seed of "+n.Name, seed)
	s.add(t, "the identity of "+n.Name, derived("node identity", seed))
	s.add(t, "the mesh's key", derived("mesh signing key", nil))
}

func (s *secrets) search(t *testing.T, where string, content []byte) {
	t.Helper()
	if len(content) == 0 {
		t.Errorf("%s: nothing to look at", where)
	}
	for _, w := range s.words {
		if at := bytes.Index(content, w.text); at >= 0 {
			t.Errorf("%s is in %s: …%q…", w.name, where, content[max(0, at-100):at])
		}
	}
}

// scanProcesses searches the arguments and variables of every process: that of the
// node apart which was given the secret in a variable. reaper is whether the
// other one has a reaper.
func (s *secrets) scanProcesses(t *testing.T, given, other *testnet.Node) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, process := range all {
		line, err := os.ReadFile(filepath.Join(process, "cmdline"))
		if err != nil || len(line) == 0 {
			continue // it has ended, or is the kernel's
		}
		s.reaper = s.reaper || bytes.Contains(line, []byte("\x00reaper\x00--state\x00"+other.State))
		s.search(t, "the arguments of a process", line)
		if variables, err := os.ReadFile(filepath.Join(process, "environ")); err == nil && len(variables) > 0 && process != fmt.Sprint("/proc/", given.PID()) {
			s.search(t, fmt.Sprintf("the variables of %q", line), variables)
		}
	}
}

// scanState searches all files of a state folder that are not made for it.
func (s *secrets) scanState(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil || len(content) == 0 {
			return err
		}
		others := &secrets{}
		for _, w := range s.words {
			if !strings.HasPrefix(w.name, "the "+d.Name()) { // the file of just that
				others.words = append(others.words, w)
			}
		}
		others.search(t, "the state file "+d.Name(), content)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// askingHelper makes a folder with a docker configuration and the credential
// helper that it names, which writes its environment to the file returned.
func askingHelper(t *testing.T) (dir, environment string) {
	t.Helper()
	dir = t.TempDir()
	environment = filepath.Join(dir, "environment")
	for name, content := range map[string]string{
		"config.json":                   `{"credsStore":"hearth-test"}`,
		"docker-credential-hearth-test": "#!/bin/sh\ncat /proc/$$/environ >" + environment + ".new && mv " + environment + ".new " + environment + "\necho credentials not found in native keychain\nexit 1\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return dir, environment
}

func written(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Errorf("it was not asked: %v", err)
	}
	return content
}

func trimmed(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(content))
}

func unbech32(t *testing.T, text string) []byte {
	t.Helper()
	_, data, err := bech32.DecodeToBase256(text)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
