package compose

// A Key says what a compose key does here.
type Key struct {
	// Path is where it stands; "*" is any name or any item of a list.
	Path  string `json:"key"`
	State State  `json:"state"`
	// Note says what it becomes, why it needs nothing, or why it is refused.
	Note string `json:"note,omitempty"`
	// Instead says what to write in place of a refused key.
	Instead string `json:"instead,omitempty"`
	// Warn has its use told, since a user may have expected more.
	Warn bool `json:"-"`
	// Text has to be text: compose-go panics where it is a number.
	Text bool `json:"-"`
}

// State is what the reader does with a key.
type State string

// The states of a key.
const (
	Done     State = "done"     // it does what Docker Compose does with it
	Harmless State = "harmless" // it is read past: what the services do and see stays the same
	Refused  State = "refused"  // the stack cannot do it, and says so
)

// Keys returns the table of all compose keys, sorted by where they stand.
func Keys() []Key {
	var all []Key
	for _, s := range sections {
		for _, k := range s.keys {
			if s.path != "" {
				k.Path = s.path + "." + k.Path
			}
			all = append(all, k)
		}
	}
	return all
}

type section struct {
	path string
	keys []Key
}

// sections is the table. What has no keys below it here may hold anything.
var sections = []section{
	{"", []Key{
		{Path: "name", State: Done, Note: "the stack's name, in small letters"},
		{Path: "version", State: Harmless, Note: "obsolete"},
		{Path: "include", State: Done},
		{Path: "services", State: Done},
		{Path: "services.*", State: Done},
		{Path: "networks", State: Done},
		{Path: "networks.*", State: Done},
		{Path: "volumes", State: Done},
		{Path: "volumes.*", State: Done},
		{Path: "configs", State: Done},
		{Path: "configs.*", State: Done},
		{Path: "secrets", State: Done},
		{Path: "secrets.*", State: Done},
		{Path: "models", State: Refused, Note: "models are not run", Instead: "run the model's server as a service with gpus"},
		{Path: "jobs", State: Refused, Note: "jobs on a schedule are not run yet", Instead: "run them from outside with `hearth run`"},
		{Path: "x-hearth-node", State: Done, Note: "the node that the stack runs on"},
		{Path: "x-hearth-uses", State: Done, Note: "services of other stacks that this one reaches, as STACK/SERVICE"},
	}},
	{"include.*", []Key{
		{Path: "path", State: Done}, {Path: "env_file", State: Done}, {Path: "project_directory", State: Done},
	}},
	{"services.*", serviceKeys},
	{"services.*.deploy", deployKeys},
	{"services.*", mountKeys},
	{"networks.*", networkKeys},
	{"volumes.*", []Key{
		{Path: "name", State: Harmless, Note: "a volume is named within its stack"},
		{Path: "driver", State: Done, Note: "local; others are refused"},
		{Path: "driver_opts", State: Done, Note: "a bind of a folder; others are refused"},
		{Path: "external", State: Refused, Note: "a stack's volumes are its own", Instead: "leave external out and copy the data in with `hearth cp`, or mount a folder by its absolute path"},
		{Path: "labels", State: Harmless},
	}},
	{"configs.*", append(fileKeys(), Key{Path: "content", State: Done})},
	{"secrets.*", append(fileKeys(),
		Key{Path: "driver", State: Refused, Note: "there are no secret drivers", Instead: "use file: or environment:"},
		Key{Path: "driver_opts", State: Refused, Note: "there are no secret drivers", Instead: "use file: or environment:"})},
}

func fileKeys() []Key {
	return []Key{
		{Path: "name", State: Harmless},
		{Path: "file", State: Done, Note: "travels with the stack"},
		{Path: "environment", State: Done},
		{Path: "external", State: Refused, Note: "files travel with the stack", Instead: "use file: or environment:"},
		{Path: "labels", State: Harmless},
		{Path: "template_driver", State: Refused, Note: "files are not expanded", Instead: "write the file as it is to be"},
	}
}

var serviceKeys = []Key{
	{Path: "annotations", State: Harmless, Note: "the engine's own tools read them"},
	{Path: "attach", State: Harmless, Note: "`hearth stack logs` shows what is asked for"},
	{Path: "blkio_config", State: Refused, Note: "disks are not shared out", Instead: "leave it out"},
	{Path: "build", State: Refused, Note: "images are not built here", Instead: "build the image, push it or load it on the node, and name it with image:"},
	{Path: "cap_add", State: Done, Note: "as far as the node's policy allows"},
	{Path: "cap_drop", State: Done},
	{Path: "cgroup", State: Done, Note: "private; host is refused", Text: true},
	{Path: "cgroup_parent", State: Refused, Note: "the node owns its cgroups", Instead: "leave it out; limit with cpus and mem_limit"},
	{Path: "command", State: Done},
	{Path: "configs", State: Done},
	{Path: "container_name", State: Done, Note: "a further name of the service on the stack's networks"},
	{Path: "cpu_count", State: Refused, Note: "Windows only", Instead: "use cpus"},
	{Path: "cpu_percent", State: Refused, Note: "Windows only", Instead: "use cpus"},
	{Path: "cpu_period", State: Done, Note: "with cpu_quota, as cpus"},
	{Path: "cpu_quota", State: Done, Note: "as cpus"},
	{Path: "cpu_rt_period", State: Refused, Note: "no real-time scheduling", Instead: "leave it out"},
	{Path: "cpu_rt_runtime", State: Refused, Note: "no real-time scheduling", Instead: "leave it out"},
	{Path: "cpu_shares", State: Done},
	{Path: "cpus", State: Done},
	{Path: "cpuset", State: Refused, Note: "another node has other cores", Instead: "use cpus"},
	{Path: "credential_spec", State: Refused, Note: "Windows only", Instead: "leave it out"},
	{Path: "depends_on", State: Done}, {Path: "depends_on.*", State: Done},
	{Path: "depends_on.*.condition", State: Done}, {Path: "depends_on.*.required", State: Done}, {Path: "depends_on.*.restart", State: Done},
	{Path: "deploy", State: Done},
	{Path: "develop", State: Harmless, Note: "for `docker compose watch`"},
	{Path: "device_cgroup_rules", State: Refused, Note: "devices are given one by one", Instead: "name each under devices:"},
	{Path: "devices", State: Done, Note: "as far as the node's policy allows"}, {Path: "devices.*", State: Done},
	{Path: "devices.*.source", State: Done}, {Path: "devices.*.target", State: Done}, {Path: "devices.*.permissions", State: Done},
	{Path: "dns", State: Done}, {Path: "dns_opt", State: Done}, {Path: "dns_search", State: Done}, {Path: "domainname", State: Done},
	{Path: "entrypoint", State: Done},
	{Path: "env_file", State: Done, Note: "read here, when the stack is brought up"}, {Path: "env_file.*", State: Done},
	{Path: "env_file.*.path", State: Done, Text: true}, {Path: "env_file.*.required", State: Done}, {Path: "env_file.*.format", State: Done},
	{Path: "environment", State: Done},
	{Path: "expose", State: Done, Note: "services of a stack reach all ports of each other"},
	{Path: "extends", State: Done}, {Path: "extends.service", State: Done}, {Path: "extends.file", State: Done},
	{Path: "external_links", State: Refused, Note: "other stacks are reached by name", Instead: "write x-hearth-uses: [STACK/SERVICE] at the top level"},
	{Path: "extra_hosts", State: Done},
	{Path: "gpus", State: Done, Note: "a node with a GPU"}, {Path: "gpus.*", State: Done},
	{Path: "group_add", State: Done},
	{Path: "healthcheck", State: Done},
	{Path: "healthcheck.disable", State: Done}, {Path: "healthcheck.test", State: Done}, {Path: "healthcheck.interval", State: Done},
	{Path: "healthcheck.timeout", State: Done}, {Path: "healthcheck.retries", State: Done}, {Path: "healthcheck.start_period", State: Done},
	{Path: "healthcheck.start_interval", State: Done},
	{Path: "hostname", State: Done},
	{Path: "image", State: Done},
	{Path: "init", State: Done},
	{Path: "ipc", State: Done, Note: "host; private and shareable are the default", Text: true},
	{Path: "isolation", State: Done, Note: "default; others are refused"},
	{Path: "label_file", State: Done},
	{Path: "labels", State: Done},
	{Path: "links", State: Done, Note: "an alias becomes a further name of the service"},
	{Path: "logging", State: Harmless, Note: "the node keeps the logs: `hearth stack logs`"},
	{Path: "mac_address", State: Refused, Note: "the engine chooses it", Instead: "leave it out"},
	{Path: "mem_limit", State: Done},
	{Path: "mem_reservation", State: Done},
	{Path: "mem_swappiness", State: Harmless, Note: "the node's own holds", Warn: true},
	{Path: "memswap_limit", State: Harmless, Note: "the limit of memory is that of memory and swap", Warn: true},
	{Path: "models", State: Refused, Note: "models are not run", Instead: "run the model's server as a service with gpus"},
	{Path: "network_mode", State: Done, Note: "bridge, none, host, service:NAME", Text: true},
	{Path: "networks", State: Done}, {Path: "networks.*", State: Done},
	{Path: "networks.*.aliases", State: Done}, {Path: "networks.*.ipv4_address", State: Done},
	{Path: "networks.*.driver_opts", State: Refused, Note: "networks are bridges", Instead: "leave it out"},
	{Path: "networks.*.gw_priority", State: Harmless}, {Path: "networks.*.priority", State: Harmless},
	{Path: "networks.*.interface_name", State: Refused, Note: "the engine names interfaces", Instead: "leave it out"},
	{Path: "networks.*.ipv6_address", State: Refused, Note: "a stack's networks are IPv4", Instead: "use ipv4_address, or the service's name"},
	{Path: "networks.*.link_local_ips", State: Refused, Note: "a stack's networks are IPv4", Instead: "use the service's name"},
	{Path: "networks.*.mac_address", State: Refused, Note: "the engine chooses it", Instead: "leave it out"},
	{Path: "networks.*.use_service_name_alias", State: Done, Note: "true; false is refused"},
	{Path: "oom_kill_disable", State: Refused, Note: "a container that takes too much memory must end", Instead: "raise mem_limit"},
	{Path: "oom_score_adj", State: Done},
	{Path: "pid", State: Done, Note: "host, as far as the node's policy allows", Text: true},
	{Path: "pids_limit", State: Done},
	{Path: "platform", State: Done, Note: "a node of that architecture"},
	{Path: "ports", State: Done, Note: "on every device of the mesh"}, {Path: "ports.*", State: Done},
	{Path: "ports.*.name", State: Harmless}, {Path: "ports.*.mode", State: Harmless}, {Path: "ports.*.app_protocol", State: Harmless},
	{Path: "ports.*.host_ip", State: Done}, {Path: "ports.*.target", State: Done}, {Path: "ports.*.published", State: Done}, {Path: "ports.*.protocol", State: Done},
	{Path: "post_start", State: Refused, Note: "there are no hooks", Instead: "put it into the entrypoint, or into a service that others depend on with service_completed_successfully"},
	{Path: "pre_start", State: Refused, Note: "there are no hooks", Instead: "put it into a service that others depend on with service_completed_successfully"},
	{Path: "pre_stop", State: Refused, Note: "there are no hooks", Instead: "handle stop_signal in the container"},
	{Path: "privileged", State: Done, Note: "as far as the node's policy allows"},
	{Path: "profiles", State: Done},
	{Path: "provider", State: Refused, Note: "nothing but containers is run", Instead: "run it as a service with an image"},
	{Path: "pull_policy", State: Done, Note: "always, never, missing; build is refused"},
	{Path: "pull_refresh_after", State: Harmless, Note: "an image is asked for at each `hearth stack up`", Warn: true},
	{Path: "read_only", State: Done},
	{Path: "restart", State: Done, Note: "unless-stopped is always; without one, on-failure"},
	{Path: "runtime", State: Done, Note: "runc, and nvidia as a GPU; others are refused"},
	{Path: "scale", State: Done, Note: "1; more are refused"},
	{Path: "secrets", State: Done},
	{Path: "security_opt", State: Done, Note: "no-new-privileges, seccomp and apparmor unconfined"},
	{Path: "shm_size", State: Done},
	{Path: "stdin_open", State: Done},
	{Path: "stop_grace_period", State: Done},
	{Path: "stop_signal", State: Done},
	{Path: "storage_opt", State: Refused, Note: "it depends on the engine's storage", Instead: "leave it out"},
	{Path: "sysctls", State: Done},
	{Path: "tmpfs", State: Done},
	{Path: "tty", State: Done},
	{Path: "ulimits", State: Done}, {Path: "ulimits.*", State: Done},
	{Path: "ulimits.*.hard", State: Done}, {Path: "ulimits.*.soft", State: Done},
	{Path: "umask", State: Refused, Note: "the engine has no such setting", Instead: "set it in the entrypoint"},
	{Path: "use_api_socket", State: Refused, Note: "it hands out the engine and its logins", Instead: "mount /var/run/docker.sock, if the node's policy allows it"},
	{Path: "user", State: Done},
	{Path: "userns_mode", State: Refused, Note: "the engine's users are the node's to choose", Instead: "leave it out"},
	{Path: "uts", State: Refused, Note: "the host's name is the node's", Instead: "use hostname", Text: true},
	{Path: "volumes_from", State: Refused, Note: "it hides who shares what", Instead: "name the same volumes under volumes: in both services"},
	{Path: "working_dir", State: Done},
	{Path: "x-hearth-node", State: Done, Note: "the node that the stack runs on"},
	{Path: "x-hearth-shared", State: Done, Note: "lets other stacks use the service"},
	{Path: "x-hearth-uses", State: Done, Note: "services of other stacks that the stack reaches, as STACK/SERVICE"},
}

var deployKeys = []Key{
	{Path: "endpoint_mode", State: Harmless, Note: "one instance needs no balancing"},
	{Path: "labels", State: Harmless, Note: "for Swarm's own tools"},
	{Path: "mode", State: Done, Note: "replicated; others are refused"},
	{Path: "placement", State: Done},
	{Path: "placement.constraints", State: Done, Note: "node.hostname and node.labels"},
	{Path: "placement.preferences", State: Harmless, Note: "a stack stays together"},
	{Path: "placement.max_replicas_per_node", State: Harmless},
	{Path: "replicas", State: Done, Note: "1; more are refused"},
	{Path: "resources", State: Done},
	{Path: "resources.limits", State: Done}, {Path: "resources.limits.cpus", State: Done},
	{Path: "resources.limits.memory", State: Done}, {Path: "resources.limits.pids", State: Done},
	{Path: "resources.reservations", State: Done}, {Path: "resources.reservations.cpus", State: Done},
	{Path: "resources.reservations.memory", State: Done},
	{Path: "resources.reservations.devices", State: Done, Note: "a GPU"},
	{Path: "resources.reservations.generic_resources", State: Refused, Note: "nodes have no such resources", Instead: "use gpus, or a label under placement.constraints"},
	{Path: "restart_policy", State: Done},
	{Path: "restart_policy.condition", State: Done, Note: "none, on-failure, any; where restart says nothing"},
	{Path: "restart_policy.delay", State: Harmless, Note: "the node backs off from 1 s to 60 s"},
	{Path: "restart_policy.max_attempts", State: Harmless, Note: "the node goes on trying, ever more rarely", Warn: true},
	{Path: "restart_policy.window", State: Harmless, Note: "10 minutes without a failure count as well"},
	{Path: "rollback_config", State: Harmless, Note: "a change that is not healthy in time is taken back as a whole"},
	{Path: "update_config", State: Harmless, Note: "one instance is changed at a time"},
}

// mountKeys are what a service mounts.
var mountKeys = []Key{
	{Path: "volumes", State: Done, Note: "a folder beside the file becomes a volume, a small read-only one travels with the stack"},
	{Path: "volumes.*", State: Done},
	{Path: "volumes.*.type", State: Done, Note: "volume, bind, tmpfs; others are refused"},
	{Path: "volumes.*.source", State: Done}, {Path: "volumes.*.target", State: Done, Text: true}, {Path: "volumes.*.read_only", State: Done},
	{Path: "volumes.*.consistency", State: Harmless, Note: "for Docker Desktop"},
	{Path: "volumes.*.bind", State: Done},
	{Path: "volumes.*.bind.propagation", State: Done},
	{Path: "volumes.*.bind.create_host_path", State: Harmless, Note: "a folder that is missing on the node is refused there"},
	{Path: "volumes.*.bind.recursive", State: Refused, Note: "mounts below the folder come along", Instead: "mount the folders that are needed one by one"},
	{Path: "volumes.*.bind.selinux", State: Harmless, Note: "the node labels what it lends", Warn: true},
	{Path: "volumes.*.volume", State: Done},
	{Path: "volumes.*.volume.labels", State: Harmless}, {Path: "volumes.*.volume.nocopy", State: Done}, {Path: "volumes.*.volume.subpath", State: Done},
	{Path: "volumes.*.tmpfs", State: Done}, {Path: "volumes.*.tmpfs.size", State: Done}, {Path: "volumes.*.tmpfs.mode", State: Done},
	{Path: "volumes.*.image", State: Refused, Note: "images are not mounted", Instead: "copy the files into a volume in a service that others depend on with service_completed_successfully"},
	{Path: "configs.*", State: Done},
	{Path: "configs.*.source", State: Done, Text: true}, {Path: "configs.*.target", State: Done, Text: true}, {Path: "configs.*.uid", State: Done},
	{Path: "configs.*.gid", State: Done}, {Path: "configs.*.mode", State: Done},
	{Path: "secrets.*", State: Done},
	{Path: "secrets.*.source", State: Done, Text: true}, {Path: "secrets.*.target", State: Done, Text: true}, {Path: "secrets.*.uid", State: Done},
	{Path: "secrets.*.gid", State: Done}, {Path: "secrets.*.mode", State: Done},
}

var networkKeys = []Key{
	{Path: "name", State: Harmless, Note: "a network is named within its stack"},
	{Path: "driver", State: Done, Note: "bridge; others are refused"},
	{Path: "driver_opts", State: Harmless, Note: "the node makes the bridge", Warn: true},
	{Path: "ipam", State: Done},
	{Path: "ipam.driver", State: Done, Note: "default; others are refused"},
	{Path: "ipam.options", State: Refused, Note: "the node gives addresses", Instead: "leave it out"},
	{Path: "ipam.config", State: Done}, {Path: "ipam.config.*", State: Done},
	{Path: "ipam.config.*.subnet", State: Done, Note: "of IPv4"},
	{Path: "ipam.config.*.gateway", State: Harmless, Note: "the node chooses it", Warn: true},
	{Path: "ipam.config.*.ip_range", State: Harmless, Note: "the node chooses it", Warn: true},
	{Path: "ipam.config.*.aux_addresses", State: Refused, Note: "the node gives addresses", Instead: "leave them out"},
	{Path: "external", State: Refused, Note: "a stack's networks are its own", Instead: "leave the network out; to reach another stack's service, write x-hearth-uses: [STACK/SERVICE] here and x-hearth-shared: true there"},
	{Path: "internal", State: Done},
	{Path: "attachable", State: Harmless},
	{Path: "enable_ipv4", State: Done, Note: "true; false is refused"},
	{Path: "enable_ipv6", State: Harmless, Note: "services of a stack reach each other over IPv4", Warn: true},
	{Path: "labels", State: Harmless},
}
