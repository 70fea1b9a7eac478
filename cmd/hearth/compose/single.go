package compose

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/compose-spec/compose-go/v2/format"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/hearth-edge/hearth/protocol"
)

// A Service is the only one of a stack, as the flags of `hearth stack up NAME
// --image IMAGE` describe it.
type Service struct {
	Name    string   // of the stack and of its service
	Image   string   // --image
	Command []string // what follows the name; nil is the image's
	Ports   []string // -p [ADDRESS:][PUBLISHED:]PORT[/udp]
	Volumes []string // -v NAME:PATH[:ro], or an absolute path of the node
	Env     []string // -e NAME=VALUE, or NAME for its value in Environ
	Environ []string // the environment as os.Environ returns it
	User    string   // --user
	Network string   // --network none, host
	Restart string   // --restart
	Devices []string // --device SOURCE[:TARGET[:rwm]]
	CapAdd  []string // --cap-add
	Labels  []string // --label NAME=VALUE
	Memory  string   // --memory 512m
	CPUs    float32  // --cpus
}

// Single returns the stack of one service. It reads the flags' values as the
// same keys of a compose file, and its errors name them so.
func Single(in Service) (protocol.Stack, []Warning, error) {
	name := loader.NormalizeProjectName(in.Name)
	if name == "" || len(name) > maxName {
		return protocol.Stack{}, nil, fmt.Errorf("%q makes no stack's name of 1 to %d of a-z, 0-9, - and _: choose another", clip(in.Name), maxName)
	}
	if in.Image == "" {
		return protocol.Stack{}, nil, fmt.Errorf("the service has no image: name one with --image")
	}
	svc := types.ServiceConfig{Name: name, Restart: in.Restart}
	svc.Image, svc.Command, svc.User, svc.NetworkMode, svc.CapAdd = in.Image, in.Command, in.User, in.Network, in.CapAdd
	svc.CPUS = in.CPUs
	volumes := types.Volumes{}
	for _, read := range []func() error{
		func() error { return singlePorts(&svc, in.Ports) },
		func() error { return singleVolumes(&svc, volumes, in.Volumes) },
		func() error { return singleDevices(&svc, in.Devices) },
		func() error { return singleMemory(&svc, in.Memory) },
	} {
		if err := read(); err != nil {
			return protocol.Stack{}, nil, err
		}
	}
	environ := types.NewMapping(in.Environ)
	svc.Environment = types.NewMappingWithEquals(in.Env).Resolve(func(k string) (string, bool) { v, ok := environ[k]; return v, ok })
	if len(in.Labels) > 0 {
		svc.Labels = types.Labels(types.NewMapping(in.Labels))
	}
	r := &reader{src: &sources{}, dir: "/", name: name, project: &types.Project{
		Name: name, Services: types.Services{name: svc}, Volumes: volumes,
	}}
	return r.convert()
}

func singlePorts(svc *types.ServiceConfig, ports []string) error {
	for _, p := range ports {
		parsed, err := types.ParsePortConfig(p)
		if err != nil {
			return fmt.Errorf("-p %s: %w: write it like 8080:80 or 53:53/udp", clip(p), err)
		}
		svc.Ports = append(svc.Ports, parsed...)
	}
	return nil
}

// singleVolumes takes names and absolute paths: there is no file that a relative
// path could start from.
func singleVolumes(svc *types.ServiceConfig, volumes types.Volumes, specs []string) error {
	for _, spec := range specs {
		v, err := format.ParseVolume(spec)
		if err != nil {
			return fmt.Errorf("-v %s: %w: write it like data:/data", clip(spec), err)
		}
		if v.Type == types.VolumeTypeBind && !filepath.IsAbs(v.Source) {
			return fmt.Errorf("-v %s: a relative path leads nowhere on another node: write NAME:%s for a volume, or an absolute path", clip(spec), clip(v.Target))
		}
		if v.Type == types.VolumeTypeVolume && v.Source != "" {
			volumes[v.Source] = types.VolumeConfig{}
		}
		v.Target = path.Clean(v.Target)
		svc.Volumes = append(svc.Volumes, v)
	}
	return nil
}

func singleDevices(svc *types.ServiceConfig, devices []string) error {
	for _, d := range devices {
		parts := strings.Split(d, ":")
		if len(parts) > 3 || !strings.HasPrefix(parts[0], "/") {
			return fmt.Errorf("--device %s: it is no device file: write it like /dev/ttyUSB0", clip(d))
		}
		m := types.DeviceMapping{Source: parts[0]}
		if len(parts) > 1 {
			m.Target = parts[1]
		}
		if len(parts) > 2 {
			m.Permissions = parts[2]
		}
		svc.Devices = append(svc.Devices, m)
	}
	return nil
}

func singleMemory(svc *types.ServiceConfig, text string) error {
	if text == "" {
		return nil
	}
	if err := svc.MemLimit.DecodeMapstructure(text); err != nil || svc.MemLimit <= 0 {
		return fmt.Errorf("--memory %s: it is no amount: write it like 512m", clip(text))
	}
	return nil
}
