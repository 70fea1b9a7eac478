package testnet_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/hearth-edge/hearth/testnet"
)

// A compose is a mesh of testnet.sh, which is taken down at the end of the test;
// nothing of it may be left then.
type compose struct {
	t       *testing.T
	project string
	out     string // the mesh's folder
	binary  string
}

func newCompose(t *testing.T, project, binary string) *compose {
	t.Helper()
	c := &compose{t: t, project: project, binary: binary, out: filepath.Join(testnet.Root(t), "testnet", "out", project)}
	t.Cleanup(func() {
		c.must(context.Background(), "down")
		for _, kind := range [][]string{{"ps", "-aq"}, {"volume", "ls", "-q"}, {"network", "ls", "-q"}} {
			args := append(kind, "--filter", "label=com.docker.compose.project="+project)
			if left := testnet.Docker(t, args...); left != "" {
				t.Errorf("docker %s: down left %s behind", kind[0], left)
			}
		}
		if left := testnet.Docker(t, "images", "-q", project+"-node"); left != "" {
			t.Errorf("down left the image %s behind", left)
		}
		leftNothing(t, c.out)
	})
	return c
}

// call runs testnet.sh ARG...
func (c *compose) call(ctx context.Context, args ...string) (testnet.Result, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(testnet.Root(c.t), "testnet", "testnet.sh"), args...)
	cmd.Env = append(os.Environ(), "HEARTH_TESTNET="+c.project, "HEARTH_BIN="+c.binary)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if cmd.ProcessState != nil && cmd.ProcessState.Exited() {
		err = nil
	}
	return testnet.Result{Stdout: stdout.String(), Stderr: stderr.String(), Code: cmd.ProcessState.ExitCode()}, err
}

// must runs testnet.sh ARG... and returns what it prints.
func (c *compose) must(ctx context.Context, args ...string) string {
	c.t.Helper()
	r, err := c.call(ctx, args...)
	if err != nil || r.Code != 0 {
		c.t.Fatalf("testnet.sh %v: exit code %d, %v\n%s", args, r.Code, err, r.Stderr)
	}
	return r.Stdout
}

func (c *compose) devices(node string) []testnet.Device {
	c.t.Helper()
	var devices []testnet.Device
	if err := json.Unmarshal([]byte(c.must(c.t.Context(), "exec", node, "nodes", "--json")), &devices); err != nil {
		c.t.Fatal(err)
	}
	return devices
}
