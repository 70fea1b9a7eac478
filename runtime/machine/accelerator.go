package machine

import (
	"cmp"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The kinds of accelerators, as services ask for them.
const (
	GPU = "gpu"
	NPU = "npu"
)

const (
	// maxAccelerators bounds how many are told of.
	maxAccelerators = 16
	// lookAgain is the least time between two looks for them: one that is
	// plugged in, or whose driver is loaded, may be known a minute later.
	lookAgain = time.Minute
)

// An Accelerator is a device beside the processor that programs compute on.
type Accelerator struct {
	// Kind is GPU or NPU.
	Kind string
	// Devices are the paths of the device files that a program needs for it,
	// its own before those that it shares with others.
	Devices []string
}

// deviceFiles are the names that drivers give: a prefix, and then a number
// unless it is the whole name. Render nodes are not among them, see renderNode.
var deviceFiles = []struct {
	folder, prefix, kind string
	whole                bool
	// beside are files that all of these share, where they exist.
	beside []string
}{
	{folder: "dev", prefix: "nvidia", kind: GPU, beside: []string{"dev/nvidiactl", "dev/nvidia-uvm", "dev/nvidia-uvm-tools", "dev/nvidia-modeset"}},
	{folder: "dev", prefix: "mali", kind: GPU},        // Arm's own driver
	{folder: "dev/accel", prefix: "accel", kind: NPU}, // the kernel's subsystem: Intel, AMD, Qualcomm, Rockchip, Arm
	{folder: "dev", prefix: "apex_", kind: NPU},       // Coral
	{folder: "dev", prefix: "hailo", kind: NPU},       // Hailo
	{folder: "dev", prefix: "memx", kind: NPU},        // MemryX
	{folder: "dev", prefix: "ethosu", kind: NPU},      // Arm Ethos-U
	{folder: "dev", prefix: "ethosn", kind: NPU},      // Arm Ethos-N
	{folder: "dev", prefix: "rknpu", kind: NPU},       // Rockchip's own driver, of some kernels
	{folder: "dev", prefix: "rknpu", kind: NPU, whole: true},
	{folder: "dev", prefix: "galcore", kind: NPU, whole: true}, // VeriSilicon, in NXP's and Amlogic's chips
}

// Accelerators returns what the machine has; whether its owner lends it is
// another matter. It looks at most once a minute, so it may be called often.
// The result is not to be changed.
func (m *Machine) Accelerators() []Accelerator {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now := time.Now(); m.looked.IsZero() || now.Sub(m.looked) >= lookAgain {
		m.looked, m.accelerators = now, findAccelerators(m.root)
	}
	return m.accelerators
}

// findAccelerators looks for device files; root is the root of the file system.
// What cannot be read is not there. They come in the order of kinds and names.
func findAccelerators(root fs.FS) []Accelerator {
	there := make(map[string][]string) // device files by their folder
	for _, folder := range []string{"dev", "dev/accel", "dev/dri"} {
		there[folder] = characterDevices(root, folder)
	}
	var found []Accelerator
	for _, d := range deviceFiles {
		for _, file := range there[d.folder] {
			number, ok := strings.CutPrefix(path.Base(file), d.prefix)
			if !ok || d.whole != (number == "") || !d.whole && !isNumber(number) {
				continue
			}
			devices := []string{"/" + file}
			for _, beside := range d.beside {
				if slices.Contains(there["dev"], beside) {
					devices = append(devices, "/"+beside)
				}
			}
			found = append(found, Accelerator{d.kind, devices})
		}
	}
	found = append(found, renderNodes(root, there["dev/dri"], slices.Contains(there["dev"], "dev/kfd"))...)
	slices.SortStableFunc(found, func(a, b Accelerator) int {
		return cmp.Or(strings.Compare(a.Kind, b.Kind), compareNatural(a.Devices[0], b.Devices[0]))
	})
	return found[:min(len(found), maxAccelerators)]
}

func isNumber(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}

// renderNodes returns what the kernel's graphics subsystem offers to programs
// that have no screen. Its driver tells what it is. kfd says that there is the
// file through which all of AMD's compute.
func renderNodes(root fs.FS, files []string, kfd bool) []Accelerator {
	var found []Accelerator
	for _, file := range files {
		name := path.Base(file)
		if !strings.HasPrefix(name, "renderD") {
			continue
		}
		a := Accelerator{GPU, []string{"/" + file}}
		switch driver(root, "sys/class/drm/"+name) {
		case "RKNPU": // Rockchip's NPU driver, of most kernels
			a.Kind = NPU
		case "amdgpu":
			if kfd {
				a.Devices = append(a.Devices, "/dev/kfd")
			}
		case "nvidia", // counted as /dev/nvidia0
			"rockchip-drm", "vgem", "vkms": // show or copy pictures, compute nothing
			continue
		}
		found = append(found, a)
	}
	return found
}

// driver returns the name of a device's driver; "" is unknown.
func driver(root fs.FS, device string) string {
	for line := range strings.Lines(readFile(root, device+"/device/uevent")) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "DRIVER="); ok {
			return name
		}
	}
	return ""
}

// characterDevices returns the paths of those in a folder. Links do not count:
// what they lead to has a name of its own.
func characterDevices(root fs.FS, folder string) []string {
	entries, err := fs.ReadDir(root, folder)
	if err != nil {
		return nil
	}
	var files []string
	for _, e := range entries {
		if e.Type()&fs.ModeCharDevice != 0 {
			files = append(files, path.Join(folder, e.Name()))
		}
	}
	return files
}

// compareNatural compares names so that a9 comes before a10.
func compareNatural(a, b string) int {
	stemA, stemB := strings.TrimRight(a, "0123456789"), strings.TrimRight(b, "0123456789")
	if stemA != stemB {
		return strings.Compare(a, b)
	}
	return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
}
