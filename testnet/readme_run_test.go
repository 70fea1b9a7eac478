package testnet_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/testnet"
	"github.com/hearth-edge/hearth/testnet/netns"
)

// TestReadmeRuns types what the README and the help pages tell the owner of three
// devices to type, in their order and word for word.
func TestReadmeRuns(t *testing.T) {
	t.Parallel()
	r := newReader(t)
	for _, line := range commands(t) {
		words := strings.Fields(line)
		switch {
		case line == "sudo make install":
			r.install()
		case !strings.HasPrefix(line, "hearth ") && !strings.Contains(line, "| hearth "):
		case words[1] == "up":
			r.up(line)
		case words[1] == "events":
			r.watch(line, "hearth run job")
		case strings.HasPrefix(line, "hearth stack logs -f"):
			r.watch(line, "hearth stack ps")
		case words[1] == "install" && !strings.Contains(line, "--print"):
			// It would start a service, for which there is no systemd here.
			r.run(line+" --print", 0)
		case strings.Contains(line, "arch=arm64") && goruntime.GOARCH != "arm64":
			r.run(line, 126)
		default:
			r.run(line, 0)
		}
	}
	for _, want := range []string{"hello\n", "fingerprint", "4 bytes of a photo"} {
		if !strings.Contains(r.said, want) {
			t.Errorf("nothing that the README runs prints %q", want)
		}
	}
}

// A reader has three devices and types on the first.
type reader struct {
	t      *testing.T
	hosts  []*netns.Host
	engine *testnet.Engine
	nodes  []*testnet.Node // that are up
	state  string          // of the first device, once it was up
	dir    string          // where it is typed
	path   string          // with hearth in it
	said   string          // all that was printed
}

func newReader(t *testing.T) *reader {
	t.Helper()
	lan := netns.New(t)
	r := &reader{t: t, dir: t.TempDir()}
	for _, name := range []string{"attic", "cellar", "shed"} {
		r.hosts = append(r.hosts, lan.AddHost(name))
	}
	// On a host of its own, as the devices open the ports that it publishes.
	r.engine = lan.AddHost("engine").StartEngine(t)
	image := testnet.Image(t)
	r.engine.Load(image)
	for name, command := range map[string]string{"busybox": `["echo"]`, "detector": `["cat"]`, "job": `["exit","0"]`, "backup": `["lines","3","100ms","0"]`, "ghost:5": `["lines","100000","100ms","0"]`} {
		r.engine.Docker("build", "--quiet", "--tag", name, r.write(name+"/Dockerfile", fmt.Sprintf("FROM %s\nCMD %s\n", image, command)))
	}
	r.write("photo.jpg", "4 bytes of a photo")
	r.write("compose.yaml", "name: shop\nservices:\n  web:\n    image: ghost:5\n    ports: [\"8080:80\"]\n")
	r.path = filepath.Dir(testnet.Binary(t)) + ":" + os.Getenv("PATH")
	return r
}

// write makes a file and returns its folder.
func (r *reader) write(name, text string) string {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return filepath.Dir(path)
}

// install types `make install`, into a folder of the test's.
func (r *reader) install() {
	r.t.Helper()
	root := testnet.Root(r.t)
	if out, err := exec.Command("make", "-C", root, "build", "install", "DESTDIR="+r.dir).CombinedOutput(); err != nil {
		r.t.Fatalf("make install: %v\n%s", err, out)
	}
	if out, err := exec.Command(filepath.Join(r.dir, "usr/local/bin/hearth"), "version").CombinedOutput(); err != nil {
		r.t.Errorf("what was installed does not run: %v\n%s", err, out)
	}
}

// up types `hearth up` on every device, where what was up is ended first.
func (r *reader) up(line string) {
	r.t.Helper()
	for _, n := range r.nodes {
		n.Stop()
	}
	words := strings.Fields(line)
	if len(words) != 4 || words[2] != "--secret-file" {
		r.t.Fatalf("README: %q: this test does not know how to do that on three devices", line)
	}
	for i, h := range r.hosts {
		o := testnet.Options{Secret: filepath.Join(r.dir, words[3]), Engine: r.engine}
		if len(r.nodes) == len(r.hosts) {
			o.State = r.nodes[i].State
			r.nodes[i] = h.StartNode(r.t, o)
		} else {
			r.nodes = append(r.nodes, h.StartNode(r.t, o))
		}
	}
	r.state = r.nodes[0].State
	r.nodes[0].WaitAble(len(r.hosts))
}

// command is the line as the first device's shell takes it.
func (r *reader) command(ctx context.Context, line string) *exec.Cmd {
	cmd := r.hosts[0].Command(ctx, "bash", "-c", line)
	cmd.Dir, cmd.Env = r.dir, append(os.Environ(), "PATH="+r.path, "HEARTH_STATE="+r.state)
	return cmd
}

func (r *reader) run(line string, want int) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	cmd := r.command(ctx, line)
	out, err := cmd.CombinedOutput()
	r.said += string(out)
	if code := cmd.ProcessState.ExitCode(); code != want {
		r.t.Errorf("README: %q: exit code %d, want %d: %v\n%s", line, code, want, err, out)
	}
}

// watch types a command that goes on until Ctrl-C, while another makes something
// happen.
func (r *reader) watch(line, meanwhile string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	cmd := r.command(ctx, "exec "+line)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		r.t.Fatal(err)
	}
	happened := make(chan bool)
	go func() {
		happened <- bufio.NewScanner(out).Scan()
	}()
	for {
		r.run(meanwhile, 0)
		select {
		case told := <-happened:
			if !told {
				r.t.Errorf("README: %q tells of nothing", line)
			}
			_ = cmd.Process.Signal(syscall.SIGINT)
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != 0 {
				r.t.Errorf("README: %q: exit code %d at Ctrl-C, want 0", line, code)
			}
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// TestReadmeMesh types what the pages tell of a mesh to play with.
func TestReadmeMesh(t *testing.T) {
	t.Parallel()
	c := newCompose(t, "hearth-readme-"+strconv.Itoa(os.Getpid()), testnet.ClockBinary(t))
	typed := 0
	for _, line := range commands(t) {
		if args, ours := strings.CutPrefix(line, "testnet/testnet.sh "); ours {
			c.must(t.Context(), strings.Fields(args)...)
			typed++
		}
	}
	if typed < 5 {
		t.Errorf("only %d commands of testnet.sh are on the pages", typed)
	}
}
