package docker

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"
	"github.com/docker/go-units"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime/stack"
)

// stackConfig is all that an instance's container gets, in one place, as
// containerConfig is for executions. Capabilities, devices, folders, namespaces and
// privileges come from fields of the spec that the node's policy has let pass.
func stackConfig(spec *stack.Spec, labels map[string]string, own []mount.Mount) (*container.Config, *container.HostConfig) {
	svc := &spec.Service
	config := &container.Config{
		Image: spec.Image, Cmd: svc.Command, Env: svc.Env, WorkingDir: svc.WorkDir, User: spec.User,
		Labels: labels, Tty: svc.TTY, OpenStdin: svc.StdinOpen, Hostname: svc.Hostname, Domainname: svc.DomainName,
		StopSignal: svc.StopSignal, Healthcheck: healthConfig(svc.Health),
	}
	if svc.Entrypoint != nil {
		config.Entrypoint = svc.Entrypoint
		if len(svc.Entrypoint) == 0 { // to the engine a list without an entry is the image's
			config.Entrypoint = []string{""}
		}
	}
	init, pids := svc.Init, spec.Pids
	host := &container.HostConfig{
		NetworkMode: container.NetworkMode(spec.Mode), IpcMode: container.IPCModePrivate,
		CgroupnsMode: container.CgroupnsModePrivate,
		Privileged:   svc.Privileged, SecurityOpt: securityOptions(svc.Unconfined), OomScoreAdj: max(svc.OOMScore, 0),
		Mounts: own, Tmpfs: stackTmpfs(spec.Tmpfs), ShmSize: int64(spec.ShmSize), ReadonlyRootfs: spec.ReadOnlyRoot,
		GroupAdd: slices.Concat(svc.GroupAdd, groups(spec.Devices)), Sysctls: svc.Sysctls,
		ExtraHosts: spec.Hosts, DNS: svc.DNS, DNSSearch: svc.DNSSearch, DNSOptions: svc.DNSOptions,
		RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyDisabled}, Init: &init,
		LogConfig: container.LogConfig{
			Type:   "local",
			Config: map[string]string{"max-size": logSize(spec.Logs), "max-file": logFiles, "compress": "false"},
		},
		Resources: stackResources(spec, &pids),
	}
	if !svc.Privileged {
		host.CapDrop, host.CapAdd = []string{"ALL"}, spec.Capabilities
	}
	if svc.IPCMode == "host" {
		host.IpcMode = "host"
	}
	if svc.PIDMode == "host" {
		host.PidMode = "host"
	}
	if len(spec.Networks) > 0 && spec.Mode == "" {
		host.NetworkMode = container.NetworkMode(spec.Networks[0].Network)
	}
	if host.NetworkMode.IsContainer() { // it has the other's names, too
		config.Hostname, config.Domainname = "", ""
		host.ExtraHosts, host.DNS, host.DNSSearch, host.DNSOptions = nil, nil, nil, nil
	} else {
		config.ExposedPorts, host.PortBindings = portBindings(spec.Ports)
	}
	return config, host
}

// stackLabels are the service's own beside Hearth's, whose names it cannot take.
func (d *Driver) stackLabels(spec *stack.Spec, imageID string) map[string]string {
	labels := d.owned(spec.Stack)
	labels[labelService], labels[labelHash], labels[labelImage] = spec.Service.Name, spec.Hash, imageID
	for name, value := range spec.Service.Labels {
		if !strings.HasPrefix(name, labelPrefix) {
			labels[name] = value
		}
	}
	return labels
}

// healthConfig is the service's check; nil is the image's.
func healthConfig(h *protocol.HealthCheck) *container.HealthConfig {
	if h == nil {
		return nil
	}
	return &container.HealthConfig{
		Test: h.Test, Interval: h.Interval.Duration(), Timeout: h.Timeout.Duration(), StartPeriod: h.StartPeriod.Duration(),
		StartInterval: h.StartInterval.Duration(), Retries: int(h.Retries),
	}
}

func securityOptions(unconfined []string) []string {
	options := []string{"no-new-privileges"}
	for _, what := range unconfined {
		if what == "seccomp" || what == "apparmor" {
			options = append(options, what+"=unconfined")
		}
	}
	return options
}

func stackResources(spec *stack.Spec, pids *int64) container.Resources {
	r := container.Resources{CPUShares: int64(spec.CPUShares), MemoryReservation: int64(spec.Reserved), PidsLimit: pids}
	if spec.CPUs > 0 {
		r.NanoCPUs = nanoCPUs(spec.CPUs)
	}
	if spec.Memory > 0 {
		r.Memory = int64(spec.Memory)
		r.MemorySwap = r.Memory // no swap, which would wear out memory cards
		r.MemoryReservation = min(r.MemoryReservation, r.Memory)
	}
	for i, device := range spec.Devices {
		r.Devices = append(r.Devices, container.DeviceMapping{
			PathOnHost: device.Source, PathInContainer: device.Target, CgroupPermissions: spec.DeviceRights[i],
		})
	}
	for _, u := range spec.Service.Ulimits {
		r.Ulimits = append(r.Ulimits, &units.Ulimit{Name: u.Name, Soft: u.Soft, Hard: u.Hard})
	}
	return r
}

func stackTmpfs(granted []protocol.StackMount) map[string]string {
	var out []protocol.Tmpfs
	for _, m := range granted {
		out = append(out, protocol.Tmpfs{Target: m.Target, Size: m.Size, Mode: m.Mode})
	}
	return tmpfs(out)
}

// portBindings has the engine publish each port at its address.
func portBindings(ports []stack.Port) (nat.PortSet, nat.PortMap) {
	exposed, bound := make(nat.PortSet), make(nat.PortMap)
	for _, p := range ports {
		proto := "tcp"
		if p.UDP {
			proto = "udp"
		}
		port := nat.Port(fmt.Sprintf("%d/%s", p.Target, proto))
		exposed[port] = struct{}{}
		bound[port] = append(bound[port], nat.PortBinding{HostIP: p.Address.String(), HostPort: strconv.Itoa(int(p.Published))})
	}
	return exposed, bound
}

// endpointSettings puts a container on a network.
func endpointSettings(e stack.Endpoint) *network.EndpointSettings {
	s := &network.EndpointSettings{Aliases: slices.Compact(slices.Sorted(slices.Values(e.Aliases)))}
	if e.Address.IsValid() {
		s.IPAMConfig = &network.EndpointIPAMConfig{IPv4Address: e.Address.String()}
	}
	return s
}

// ownMounts are the volumes and folders of a spec; places tells where volumes lie
// of which a folder is mounted.
func ownMounts(mounts []stack.Mount, places map[string]string) []mount.Mount {
	var out []mount.Mount
	for _, m := range mounts {
		one := mount.Mount{Target: m.Target, ReadOnly: m.ReadOnly}
		switch {
		case m.Volume != "" && m.Subpath == "":
			one.Type, one.Source = mount.TypeVolume, m.Volume
			one.VolumeOptions = &mount.VolumeOptions{NoCopy: m.NoCopy}
		default:
			one.Type, one.Source = mount.TypeBind, m.Source
			one.BindOptions = &mount.BindOptions{Propagation: mount.PropagationRPrivate, NonRecursive: true}
			switch {
			case m.Volume != "": // below its own folder the engine takes no private one
				one.Source = places[m.Volume] + "/" + m.Subpath
				one.BindOptions.Propagation = mount.PropagationRSlave
			case m.Propagation != "":
				one.BindOptions.Propagation = mount.Propagation(m.Propagation)
			}
		}
		out = append(out, one)
	}
	return out
}

// stackNetwork reads a network of the engine.
func (d *Driver) stackNetwork(n *network.Summary) stack.Network {
	out := stack.Network{Name: n.Name, Stack: d.ownerOf(n.Labels), Internal: n.Internal}
	for _, c := range n.IPAM.Config {
		if p, err := netip.ParsePrefix(c.Subnet); err == nil {
			out.Subnets = append(out.Subnets, p)
		}
	}
	return out
}

// volumeLabels mark a volume of a stack.
func (d *Driver) volumeLabels(v stack.Volume) map[string]string {
	labels := maps.Clone(d.owned(v.Stack))
	labels[labelVolume] = v.Volume
	return labels
}
