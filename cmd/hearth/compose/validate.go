package compose

import (
	"regexp"
	"strings"
)

// partInText begins what [protocol.Stack.Validate] says with the part that it is
// about, and with the field if that is a service's.
var partInText = regexp.MustCompile(`(?s)^(service|network|volume|file) ([^\s:]+): (?:([a-z_]+): )?(.*)$`)

// keyOfField names the compose keys of fields that are called otherwise.
var keyOfField = map[string]string{
	"env": "environment", "workdir": "working_dir", "health": "healthcheck", "mounts": "volumes", "pull": "pull_policy",
	"stop_grace": "stop_grace_period", "domain_name": "domainname", "aliases": "container_name", "capability": "cap_add",
	"memory": "mem_limit", "reserved_memory": "mem_reservation", "reserved_cpus": "deploy", "pids": "pids_limit",
	"pid_mode": "pid", "ipc_mode": "ipc", "unconfined": "security_opt", "dns_options": "dns_opt",
}

// validate completes the stack and refuses what no device would take of it.
func (r *reader) validate() {
	r.stack.Normalize()
	err := r.stack.Validate()
	if err == nil {
		return
	}
	path, text, instead := []string{"services"}, err.Error(), ""
	if m := partInText.FindStringSubmatch(text); m != nil {
		path, text = []string{m[1] + "s", m[2]}, m[4]
		if m[1] == "service" && m[3] != "" {
			name := m[3]
			if k := keyOfField[name]; k != "" {
				name = k
			}
			path = append(path, name)
		} else if strings.HasPrefix(text, "the port ") {
			path = append(path, "ports")
		}
	}
	if strings.HasPrefix(text, "uses: ") {
		path = []string{"x-hearth-uses"}
	}
	if unset := r.src.unset(r.src.value(path)); len(unset) > 0 {
		instead = howToSet(unset[0])
	}
	r.refuse(path, strings.TrimSpace(text), instead)
}
