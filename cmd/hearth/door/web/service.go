package web

import (
	"math"
	"net/url"
	"strconv"
	"time"

	"github.com/docker/go-units"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/protocol/api"
)

// serviceOf reads what is to be run; what it returns is valid.
func serviceOf(j *api.Service) (protocol.Service, error) {
	if len(j.Secrets) > 0 {
		return protocol.Service{}, protocol.Errorf(protocol.CodeInvalid, "secrets: they are not taken over HTTP; use 'hearth run --secret'")
	}
	if j.TimeoutMS < 0 || j.TimeoutMS > math.MaxInt64/int64(time.Millisecond) {
		return protocol.Service{}, protocol.Errorf(protocol.CodeInvalid, "timeout_ms: %d is out of bounds", j.TimeoutMS)
	}
	pull := protocol.PullPolicy(j.Pull)
	if pull == "missing" {
		pull = protocol.PullMissing
	}
	s := protocol.Service{
		Image: j.Image, Args: j.Args, Entrypoint: j.Entrypoint, NoEntrypoint: j.NoEntrypoint, Env: j.Env, WorkDir: j.WorkDir, User: j.User,
		CPUs: j.CPUs, Memory: j.Memory, Stdin: j.Stdin, TTY: j.TTY, TTYRows: j.TTYRows, TTYColumns: j.TTYColumns,
		Timeout: time.Duration(j.TimeoutMS) * time.Millisecond, Network: j.Network, Devices: j.Devices, Capabilities: j.Capabilities,
		ReadOnlyRoot: j.ReadOnlyRoot, ShmSize: j.ShmSize, Hostname: j.Hostname, Pull: pull, Accelerator: j.Accelerator,
		Retry: j.Retry, Tags: j.Tags, Constraints: protocol.Constraints{Node: j.Node, Labels: j.Labels, NotHere: j.NotHere},
	}
	for _, m := range j.Mounts {
		s.Mounts = append(s.Mounts, protocol.Mount(m))
	}
	for _, t := range j.Tmpfs {
		s.Tmpfs = append(s.Tmpfs, protocol.Tmpfs(t))
	}
	return s, s.Validate()
}

// fromQuery reads what is to be run from the query of an address.
func fromQuery(q url.Values) (protocol.Service, error) {
	for key := range q {
		if !queryKeys[key] {
			return protocol.Service{}, protocol.Errorf(protocol.CodeInvalid, "there is no parameter %q: see /v1/openapi.yaml", key)
		}
	}
	j := api.Service{
		Image: q.Get("image"), Args: q["arg"], Entrypoint: q.Get("entrypoint"), Env: q["env"], WorkDir: q.Get("workdir"), User: q.Get("user"),
		Node: q.Get("node"), NotHere: q.Has("not_here"), Network: q.Get("network"), Pull: q.Get("pull"), Accelerator: q.Get("accelerator"),
	}
	var err error
	if j.Labels, err = pairs("constraint", q["constraint"]); err != nil {
		return protocol.Service{}, err
	}
	if j.Tags, err = pairs("tag", q["tag"]); err != nil {
		return protocol.Service{}, err
	}
	if name := q.Get("name"); name != "" {
		if j.Tags == nil {
			j.Tags = make(map[string]string)
		}
		j.Tags[protocol.TagName] = name
	}
	if text := q.Get("cpus"); text != "" {
		cpus, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return protocol.Service{}, protocol.Errorf(protocol.CodeInvalid, "cpus: %q is no number of cores, such as 0.5", text)
		}
		j.CPUs = protocol.Cores(cpus)
	}
	if text := q.Get("memory"); text != "" {
		n, err := units.RAMInBytes(text)
		if err != nil || n <= 0 {
			return protocol.Service{}, protocol.Errorf(protocol.CodeInvalid, "memory: %q is no size, such as 256m or 2g", text)
		}
		j.Memory = protocol.Bytes(n)
	}
	if text := q.Get("timeout"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 {
			return protocol.Service{}, protocol.Errorf(protocol.CodeInvalid, "timeout: %q is no time, such as 90s or 10m", text)
		}
		j.TimeoutMS = d.Milliseconds()
	}
	return serviceOf(&j)
}

// queryKeys are the parameters of POST /v1/run.
var queryKeys = map[string]bool{
	"image": true, "arg": true, "entrypoint": true, "env": true, "workdir": true, "user": true, "node": true, "not_here": true,
	"network": true, "pull": true, "accelerator": true, "constraint": true, "tag": true, "name": true, "cpus": true, "memory": true,
	"timeout": true, "id": true,
}
