package testnet_test

import (
	"os/exec"
	goruntime "runtime"
	"testing"

	"github.com/hearth-edge/hearth/testnet"
	"github.com/hearth-edge/hearth/testnet/netns"
)

// TestOtherProcessors: the builds for other processors start under user-mode
// emulation and join the mesh of a native node. They are told of it, because the
// emulators cannot join multicast groups.
func TestOtherProcessors(t *testing.T) {
	t.Parallel()
	secret := testnet.NewSecret(t)
	lan := netns.New(t)
	host := lan.AddHost("native")
	native := host.StartNode(t, testnet.Options{Secret: secret, Args: []string{
		"--driver", "none", "--listen", "/ip4/0.0.0.0/tcp/4100",
	}})
	count := 1
	for _, p := range []struct{ arch, emulator string }{{"arm64", "aarch64"}, {"arm", "arm"}, {"riscv64", "riscv64"}} {
		if p.arch == goruntime.GOARCH {
			continue
		}
		lan.AddHost(p.arch).StartNode(t, testnet.Options{
			Secret: secret, Args: []string{"--driver", "none", "--no-discovery", "--peer", "/ip4/" + host.IP + "/tcp/4100"},
			Binary: []string{emulator(t, p.emulator), testnet.BinaryFor(t, p.arch)},
		})
		count++
		if d, _ := testnet.Find(native.WaitNodes(count), p.arch); d.Arch != p.arch {
			t.Errorf("the %s build says that it runs on %q", p.arch, d.Arch)
		}
	}
}

func emulator(t *testing.T, name string) string {
	t.Helper()
	for _, program := range []string{"qemu-" + name + "-static", "qemu-" + name} {
		if path, err := exec.LookPath(program); err == nil {
			return path
		}
	}
	t.Fatalf("qemu-%s is missing: install qemu-user-static (testnet/setup.sh qemu does)", name)
	return ""
}
