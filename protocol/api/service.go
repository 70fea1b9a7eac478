package api

import "github.com/hearth-edge/hearth/protocol"

// Service is what was asked for, in `hearth inspect --json`; the keys are
// stable.
type Service struct {
	Image       string            `json:"image"`
	Args        []string          `json:"args"`
	Entrypoint  string            `json:"entrypoint,omitempty"`
	Env         []string          `json:"env"`
	WorkDir     string            `json:"workdir,omitempty"`
	User        string            `json:"user,omitempty"`
	CPUs        protocol.Cores    `json:"cpus,omitempty"`
	Memory      protocol.Bytes    `json:"memory,omitempty"`
	Accelerator string            `json:"accelerator,omitempty"`
	Stdin       bool              `json:"stdin"`
	TTY         bool              `json:"tty"`
	TimeoutMS   int64             `json:"timeout_ms,omitempty"`
	Node        string            `json:"node,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	NotHere     bool              `json:"not_here"`
	Network     string            `json:"network,omitempty"`
	Mounts      []Mount           `json:"mounts"`
	Devices     []string          `json:"devices"`
	// Capabilities are those asked for beyond the node's default.
	Capabilities []string `json:"capabilities"`
	Retry        uint32   `json:"retry"`
	// AutoRemove: the request is forgotten once it has ended.
	AutoRemove bool `json:"auto_remove,omitempty"`
	// NoEntrypoint: the image's is left out.
	NoEntrypoint bool           `json:"no_entrypoint"`
	Pull         string         `json:"pull,omitempty"`
	Hostname     string         `json:"hostname,omitempty"`
	ReadOnlyRoot bool           `json:"read_only"`
	Tmpfs        []Tmpfs        `json:"tmpfs"`
	ShmSize      protocol.Bytes `json:"shm_size,omitempty"`
	TTYRows      uint16         `json:"tty_rows,omitempty"`
	TTYColumns   uint16         `json:"tty_columns,omitempty"`
	// Tags are those of the request; of secrets nobody is told what they hold.
	Tags    map[string]string `json:"tags,omitempty"`
	Secrets []Secret          `json:"secrets"`
}

// Mount is a folder of the node in the container.
type Mount struct {
	Source   string `json:"source"`
	Target   string `json:"target"`
	Writable bool   `json:"writable"`
}

// Tmpfs is a file system in the container's memory; mode is a decimal number.
type Tmpfs struct {
	Target string         `json:"target"`
	Size   protocol.Bytes `json:"size,omitempty"`
	Mode   uint32         `json:"mode,omitempty"`
	Exec   bool           `json:"exec"`
}

// NewService returns the object of s. Values of secrets are not in it.
func NewService(s *protocol.Service) Service {
	mounts := make([]Mount, 0, len(s.Mounts))
	for _, m := range s.Mounts {
		mounts = append(mounts, Mount(m))
	}
	tmpfs := make([]Tmpfs, 0, len(s.Tmpfs))
	for _, t := range s.Tmpfs {
		tmpfs = append(tmpfs, Tmpfs(t))
	}
	return Service{
		Image: s.Image, Args: listed(s.Args), Entrypoint: s.Entrypoint, Env: listed(s.Env), WorkDir: s.WorkDir, User: s.User,
		CPUs: s.CPUs, Memory: s.Memory, Accelerator: s.Accelerator, Stdin: s.Stdin, TTY: s.TTY, TimeoutMS: s.Timeout.Milliseconds(),
		Node: s.Constraints.Node, Labels: s.Constraints.Labels, NotHere: s.Constraints.NotHere,
		Network: s.Network, Mounts: mounts, Devices: listed(s.Devices), Capabilities: listed(s.Capabilities), Retry: s.Retry, AutoRemove: s.AutoRemove,
		NoEntrypoint: s.NoEntrypoint, Pull: string(s.Pull), Hostname: s.Hostname, ReadOnlyRoot: s.ReadOnlyRoot,
		Tmpfs: tmpfs, ShmSize: s.ShmSize, TTYRows: s.TTYRows, TTYColumns: s.TTYColumns,
		Tags: s.Tags, Secrets: newSecrets(s.Secrets),
	}
}

// Secret is a secret as `inspect --json` tells it.
type Secret struct {
	Name string `json:"name"`
	Size uint32 `json:"size"`
}

func newSecrets(secrets []protocol.Secret) []Secret {
	out := make([]Secret, 0, len(secrets))
	for _, s := range secrets {
		out = append(out, Secret{s.Name, s.Size})
	}
	return out
}
