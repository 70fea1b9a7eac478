package machine

import (
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"testing"
	"testing/fstest"
)

func TestFindAccelerators(t *testing.T) {
	device := &fstest.MapFile{Mode: fs.ModeDevice | fs.ModeCharDevice | 0o666}
	uevent := func(driver string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte("DEVTYPE=x\nDRIVER=" + driver + "\nOF_NAME=y\n")}
	}
	gpu := func(devices ...string) Accelerator { return Accelerator{GPU, devices} }
	npu := func(devices ...string) Accelerator { return Accelerator{NPU, devices} }
	tests := map[string]struct {
		tree fstest.MapFS
		want []Accelerator
	}{
		"nothing":   {fstest.MapFS{"dev/null": device}, nil},
		"no folder": {fstest.MapFS{}, nil},
		"integrated graphics": {fstest.MapFS{
			"dev/dri/card0": device, "dev/dri/renderD128": device,
			"sys/class/drm/renderD128/device/uevent": uevent("i915"),
		}, []Accelerator{gpu("/dev/dri/renderD128")}},
		"driver not known": {fstest.MapFS{"dev/dri/renderD128": device}, []Accelerator{gpu("/dev/dri/renderD128")}},
		"NVIDIA, two": {fstest.MapFS{
			"dev/nvidia1": device, "dev/nvidia0": device, "dev/nvidiactl": device, "dev/nvidia-uvm": device, "dev/nvidia-caps/nvidia-cap1": device,
			"dev/dri/renderD128": device, "sys/class/drm/renderD128/device/uevent": uevent("nvidia"),
		}, []Accelerator{gpu("/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm"), gpu("/dev/nvidia1", "/dev/nvidiactl", "/dev/nvidia-uvm")}},
		"AMD": {fstest.MapFS{
			"dev/kfd": device, "dev/dri/renderD129": device, "dev/dri/renderD128": device,
			"sys/class/drm/renderD128/device/uevent": uevent("amdgpu"),
			"sys/class/drm/renderD129/device/uevent": uevent("i915"),
		}, []Accelerator{gpu("/dev/dri/renderD128", "/dev/kfd"), gpu("/dev/dri/renderD129")}},
		"Rockchip's kernel": {fstest.MapFS{
			"dev/mali0": device, "dev/dri/renderD128": device, "dev/dri/renderD129": device,
			"sys/class/drm/renderD128/device/uevent": uevent("rockchip-drm"),
			"sys/class/drm/renderD129/device/uevent": uevent("RKNPU"),
		}, []Accelerator{gpu("/dev/mali0"), npu("/dev/dri/renderD129")}},
		"NPUs": {fstest.MapFS{
			"dev/accel/accel0": device, "dev/apex_0": device, "dev/hailo10": device, "dev/hailo9": device, "dev/rknpu": device,
			"dev/ethosu0": device, "dev/ethosn0": device, "dev/memx0": device, "dev/galcore": device,
		}, []Accelerator{npu("/dev/accel/accel0"), npu("/dev/apex_0"), npu("/dev/ethosn0"), npu("/dev/ethosu0"),
			npu("/dev/galcore"), npu("/dev/hailo9"), npu("/dev/hailo10"), npu("/dev/memx0"), npu("/dev/rknpu")}},
		"not what they seem": {fstest.MapFS{
			"dev/nvidia0":          &fstest.MapFile{Data: []byte("a file")},
			"dev/hailo0":           &fstest.MapFile{Mode: fs.ModeDevice}, // a block device
			"dev/dri/renderD128":   &fstest.MapFile{Mode: fs.ModeSymlink, Data: []byte("elsewhere")},
			"dev/accel":            device, // no folder
			"dev/apex_":            device,
			"dev/apex_x":           device,
			"dev/apex_-1":          device,
			"dev/mali":             device,
			"dev/galcore1":         device,
			"dev/accelerate/accel": device,
		}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := findAccelerators(test.tree); len(got) != len(test.want) || len(got) > 0 && !reflect.DeepEqual(got, test.want) {
				t.Errorf("got  %+v\nwant %+v", got, test.want)
			}
		})
	}

	many := fstest.MapFS{}
	for i := range 100 {
		many[fmt.Sprint("dev/nvidia", i)] = device
	}
	if got := findAccelerators(many); len(got) != maxAccelerators || got[1].Devices[0] != "/dev/nvidia1" {
		t.Errorf("of 100: %+v", got)
	}
}

func TestAcceleratorsAreLookedForSeldom(t *testing.T) {
	m, err := New(Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	found := m.Accelerators()
	if want := findAccelerators(os.DirFS("/")); !reflect.DeepEqual(found, want) {
		t.Errorf("%+v, want %+v", found, want)
	}
	looked := m.looked
	if m.Accelerators(); m.looked != looked {
		t.Error("looked again at once")
	}
	m.looked = looked.Add(-lookAgain) // as if a minute had gone by
	if m.Accelerators(); m.looked.Before(looked) {
		t.Error("not looked again after a minute")
	}
}

func BenchmarkAccelerators(b *testing.B) {
	root := os.DirFS("/")
	for b.Loop() {
		findAccelerators(root)
	}
}
