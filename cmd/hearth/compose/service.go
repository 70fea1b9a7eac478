package compose

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/hearth-edge/hearth/protocol"
)

// A serviceReader makes one service of the stack.
type serviceReader struct {
	*reader
	in       types.ServiceConfig
	out      protocol.StackService
	writable map[string]bool // folders of the project that some service writes
}

func (r *reader) service(name string, writable map[string]bool) {
	s := &serviceReader{reader: r, in: r.project.Services[name], writable: writable}
	s.out = protocol.StackService{
		Name: name, Image: s.in.Image,
		Command: s.in.Command, Entrypoint: s.in.Entrypoint,
		WorkDir: s.in.WorkingDir, User: s.in.User, GroupAdd: s.in.GroupAdd,
		Hostname: s.in.Hostname, DomainName: s.in.DomainName,
		TTY: s.in.Tty, StdinOpen: s.in.StdinOpen, Init: s.in.Init != nil && *s.in.Init,
		ReadOnlyRoot: s.in.ReadOnly,
		Privileged:   s.in.Privileged, Labels: s.in.Labels,
	}
	if s.in.StopGracePeriod != nil {
		s.out.StopGrace = s.milliseconds(s.in.StopGracePeriod, "stop_grace_period")
	}
	if signal := s.in.StopSignal; signal != "" {
		name, err := protocol.ParseSignal(signal)
		if err != nil {
			s.refuseKey("stop_signal", fmt.Sprintf("%q is no signal that a container is sent", clip(signal)), "use a name such as SIGTERM, SIGINT or SIGQUIT")
		}
		s.out.StopSignal = name
	}
	s.names()
	s.environment()
	s.pull()
	s.restart()
	s.dependsOn()
	s.health()
	s.extensions()
	s.single()
	s.network()
	s.ports()
	s.hosts()
	s.mounts()
	s.resources()
	s.isolation()
	r.stack.Services = append(r.stack.Services, s.out)
}

// path returns where a key of the service stands.
func (s *serviceReader) path(below ...string) []string {
	return append([]string{"services", s.in.Name}, below...)
}

func (s *serviceReader) refuseKey(name, reason, instead string) {
	s.refuse(s.path(strings.Split(name, ".")...), reason, instead)
}

// milliseconds rounds up, so that what is not 0 stays so.
func (s *serviceReader) milliseconds(d *types.Duration, name string) protocol.Milliseconds {
	if d == nil {
		return 0
	}
	if *d < 0 {
		s.refuseKey(name, "a duration is not negative", "write it like 30s")
		return 0
	}
	return protocol.Milliseconds((time.Duration(*d) + time.Millisecond - 1).Milliseconds())
}

// names collects what else the service is called.
func (s *serviceReader) names() {
	if n := s.in.ContainerName; n != "" {
		s.alias(n)
	}
	for _, name := range s.project.ServiceNames() {
		for _, link := range s.project.Services[name].Links {
			if target, alias, ok := strings.Cut(link, ":"); ok && target == s.in.Name {
				s.alias(alias)
			}
		}
	}
}

func (s *serviceReader) alias(name string) {
	if name != s.in.Name && !slices.Contains(s.out.Aliases, name) {
		s.out.Aliases = append(s.out.Aliases, name)
	}
}

func (s *serviceReader) environment() {
	for _, k := range slices.Sorted(maps.Keys(s.in.Environment)) {
		v := s.in.Environment[k]
		if v == nil {
			s.warn(s.path("environment", k), "%s has no value here: the container does not get it", clip(k))
			continue
		}
		s.out.Env = append(s.out.Env, k+"="+*v)
	}
}

func (s *serviceReader) pull() {
	switch p := s.in.PullPolicy; {
	case p == "" || p == types.PullPolicyMissing || p == types.PullPolicyIfNotPresent:
	case p == types.PullPolicyAlways:
		s.out.Pull = protocol.PullAlways
	case p == types.PullPolicyNever:
		s.out.Pull = protocol.PullNever
	case p == types.PullPolicyBuild:
		s.refuseKey("pull_policy", "images are not built here", "write missing, and push the image or load it on the node")
	case p == types.PullPolicyRefresh || p == "daily" || p == "weekly" || strings.HasPrefix(p, "every_"):
		s.out.Pull = protocol.PullAlways
		s.warn(s.path("pull_policy"), "the image is asked for at each `hearth stack up`, not at a time")
	default:
		s.refuseKey("pull_policy", fmt.Sprintf("%q is no policy", clip(p)), "write always, missing or never")
	}
}

func (s *serviceReader) restart() {
	name, count, counted := strings.Cut(s.in.Restart, ":")
	at := "restart"
	if name == "" && s.in.Deploy != nil && s.in.Deploy.RestartPolicy != nil {
		name, at = s.in.Deploy.RestartPolicy.Condition, "deploy.restart_policy.condition"
	}
	switch name {
	case "", "on-failure":
		s.out.Restart = protocol.RestartOnFailure
	case "always", "unless-stopped", "any":
		s.out.Restart = protocol.RestartAlways
	case "no", "none":
		s.out.Restart = protocol.RestartNo
	default:
		s.refuseKey(at, fmt.Sprintf("%q is no policy", clip(name)), "write always, on-failure or no")
	}
	if counted {
		if _, err := strconv.ParseUint(count, 10, 32); err != nil || name != "on-failure" {
			s.refuseKey(at, fmt.Sprintf("%q is no policy", clip(s.in.Restart)), "write always, on-failure or no")
			return
		}
		s.warn(s.path("restart"), "the count in %s is left out: the node goes on trying, ever more rarely", clip(s.in.Restart))
	}
}

func (s *serviceReader) dependsOn() {
	for _, name := range slices.Sorted(maps.Keys(s.in.DependsOn)) {
		d := s.in.DependsOn[name]
		if _, ok := s.project.Services[name]; !ok {
			if d.Required {
				s.refuseKey("depends_on", fmt.Sprintf("the service %s does not take part", clip(name)), "choose its profile with --profile, or write `required: false`")
			}
			continue
		}
		dep := protocol.Dependency{Service: name, Restart: d.Restart, Optional: !d.Required}
		switch d.Condition {
		case "", types.ServiceConditionStarted:
			dep.Condition = protocol.ConditionStarted
		case types.ServiceConditionHealthy:
			dep.Condition = protocol.ConditionHealthy
		case types.ServiceConditionCompletedSuccessfully:
			dep.Condition = protocol.ConditionCompleted
		default:
			s.refuse(s.path("depends_on", name, "condition"), fmt.Sprintf("%q is no condition", clip(d.Condition)), "write service_started, service_healthy or service_completed_successfully")
		}
		s.out.DependsOn = append(s.out.DependsOn, dep)
	}
}

func (s *serviceReader) health() {
	h := s.in.HealthCheck
	switch {
	case h == nil:
		return
	case h.Disable:
		s.out.Health = &protocol.HealthCheck{Test: []string{"NONE"}}
		return
	}
	test := []string(h.Test)
	if len(test) > 0 && test[0] == "NONE" {
		test = test[:1]
	}
	if len(test) == 1 && test[0] != "NONE" || len(test) == 2 && test[0] == "CMD-SHELL" && strings.TrimSpace(test[1]) == "" {
		s.refuseKey("healthcheck.test", "the test has no command", "write it like [CMD, curl, -f, http://localhost]")
	}
	if len(test) > 2 && test[0] == "CMD-SHELL" {
		// The engine takes the first word only, as `sh -c` does.
		test = test[:2]
		s.warn(s.path("healthcheck", "test"), "CMD-SHELL takes one text: what follows it is left out")
	}
	s.out.Health = &protocol.HealthCheck{
		Test:          test,
		Interval:      s.milliseconds(h.Interval, "healthcheck.interval"),
		Timeout:       s.milliseconds(h.Timeout, "healthcheck.timeout"),
		StartPeriod:   s.milliseconds(h.StartPeriod, "healthcheck.start_period"),
		StartInterval: s.milliseconds(h.StartInterval, "healthcheck.start_interval"),
	}
	if h.Retries != nil {
		s.out.Health.Retries = uint32(min(*h.Retries, math.MaxUint32))
	}
}

func (s *serviceReader) extensions() {
	s.node(s.in.Extensions["x-hearth-node"], s.path("x-hearth-node")...)
	s.usesOf(s.in.Extensions["x-hearth-uses"], s.path("x-hearth-uses")...)
	if v, ok := s.in.Extensions["x-hearth-shared"]; ok {
		shared, isBool := v.(bool)
		if !isBool {
			s.refuseKey("x-hearth-shared", "this is neither true nor false", "write true")
		}
		s.out.Shared = shared
	}
}

// single refuses more instances of a service than one.
func (s *serviceReader) single() {
	const reason = "a service has one instance"
	if n := s.in.Scale; n != nil && *n != 1 {
		s.refuseKey("scale", reason, several(*n))
		return
	}
	d := s.in.Deploy
	if d == nil {
		return
	}
	if n := d.Replicas; n != nil && *n != 1 {
		s.refuseKey("deploy.replicas", reason, several(*n))
	}
	if d.Mode != "" && d.Mode != "replicated" {
		s.refuseKey("deploy.mode", fmt.Sprintf("%s: %s", clip(d.Mode), reason), "leave it out")
	}
	for _, c := range d.Placement.Constraints {
		s.constraint(c)
	}
}

func several(n int) string {
	if n == 0 {
		return "give the service a profile to leave it out"
	}
	return "write 1; bring up a second stack under another name with -p for another one"
}

// constraint reads what Swarm calls a placement constraint.
func (s *serviceReader) constraint(text string) {
	path := s.path("deploy", "placement", "constraints")
	name, value, ok := strings.Cut(text, "==")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	label, isLabel := strings.CutPrefix(name, "node.labels.")
	switch {
	case !ok || strings.HasSuffix(name, "!") || value == "":
		s.refuseItem(text, path, fmt.Sprintf("%q is no constraint of a stack", clip(text)), "write node.hostname == NAME or node.labels.KEY == VALUE")
	case isLabel:
		s.label(label, value, path...)
	case name == "node.hostname":
		s.node(value, path...)
	case name == "node.platform.arch":
		s.label("arch", architecture(value), path...)
	case name == "node.platform.os":
		s.label("os", value, path...)
	case name == "node.role":
		s.warn(path, "%s is left out: nodes have no roles", clip(text))
	default:
		s.refuseItem(text, path, fmt.Sprintf("%q is no constraint of a stack", clip(text)), "write node.hostname == NAME or node.labels.KEY == VALUE")
	}
}
