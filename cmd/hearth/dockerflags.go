package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// A dockerFlag is a flag of `docker run` that `hearth run` does not have: it is
// taken where it asks for what is so anyway, and else answered with why not.
type dockerFlag struct {
	name, short string
	// toggle: it takes no value.
	toggle bool
	// same are the values that change nothing; of a toggle false is one.
	same []string
	// why completes "--name: …", and hint says what to do.
	why, hint string
}

// Reasons that several flags share.
const (
	whyNamespace    = "a container has namespaces of its own, and shares none with its node or with another container"
	whyNetwork      = "the networks of a node are as its owner made them, and a container has no address that is known before"
	hintNetwork     = "the owner can make a network and allow it: --network NAME; see 'hearth help policies'"
	whyCores        = "processor time is asked for in cores"
	whyMemory       = "memory is one hard limit, without swap"
	whyKernel       = "settings of the node's kernel are not for the asker of a container"
	whyDisk         = "how fast a node's disk may be used is not for the asker of a container"
	whyWindows      = "docker has it on Windows only"
	whyVolumes      = "hearth keeps no volumes"
	whyHealth       = "hearth checks no container's health: a request ends when its container does"
	whyPublish      = "no port of a node is opened for a container: which node that will be is not known before"
	hintPublish     = "where the owner allows the network host: --network host; see 'hearth help policies'"
	whyOther        = "the other container may be on another node"
	hintOther       = "put both into one image, or pass data by input and output"
	hintEngine      = "seccomp, AppArmor and no-new-privileges are always as strict as the engine has them"
	hintCores       = "write --cpus N"
	hintMemory      = "write --memory SIZE"
	hintLimits      = "each container has a hard limit: --cpus N, --memory SIZE"
	hintPolicy      = "see 'hearth policy example' for what an owner can allow"
	hintOmit        = "leave it out"
	hintHealthcheck = "leave it out; 'hearth wait' and 'hearth events' tell the end"
)

// dockerFlags are those of Docker 28; TestEveryFlagOfDockerIsAnswered compares
// them with docker's own list.
func dockerFlags() []dockerFlag {
	flags := []dockerFlag{
		{name: "privileged", toggle: true, why: "hearth never gives a container all of a node", hint: "see 'hearth policy example': --device, --cap-add and --mount ask for what its owner lends"},
		{name: "cap-drop", why: "what containers have is said by the node's owner, for all of them", hint: "see the capabilities in 'hearth policy example'"},
		{name: "security-opt", same: []string{"no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"}, why: "a container's confinement cannot be changed by who asks for it", hint: hintEngine},
		{name: "use-api-socket", toggle: true, why: "hearth never gives a container its node's engine", hint: hintOmit},
		{name: "publish", short: "p", why: whyPublish, hint: hintPublish},
		{name: "publish-all", short: "P", toggle: true, why: whyPublish, hint: hintPublish},
		{name: "expose", why: whyPublish, hint: hintPublish},
		{name: "restart", same: []string{"no", ""}, why: "a request ends when its container does: what stays up is not a request yet", hint: "--retry N runs it again where its node was lost"},
		{name: "init", toggle: true, same: []string{"true"}, why: "every container has an init process", hint: hintOmit},
		{name: "sig-proxy", toggle: true, same: []string{"true"}, why: "signals are passed on to the container", hint: "--detach, or --keep, lets it go on without this command"},
		{name: "no-healthcheck", toggle: true, same: []string{"true"}, why: whyHealth, hint: hintOmit},
		{name: "disable-content-trust", toggle: true, same: []string{"true"}, why: "signatures of images are not checked", hint: "name the image by its digest: NAME@sha256:…"},
		{name: "attach", short: "a", why: "output and errors are always passed on, and input with -i", hint: "2>/dev/null leaves the errors out"},
		{name: "detach-keys", why: "no keys leave a container", hint: "--keep lets it go on without this command, and 'hearth attach' comes back to it"},
		{name: "stop-signal", why: "a container is stopped by the signal that its image names, or TERM", hint: "'hearth stop --signal NAME ID' sends another one first"},
		{name: "stop-timeout", why: "who stops a request says how long it has", hint: "'hearth stop --grace D ID'"},
		{name: "cidfile", why: "a request has an ID on every device, and its container may be on another one", hint: "--detach prints it, and --id ID chooses it"},
		{name: "annotation", why: "nothing is passed on to the node's runtime", hint: hintOmit},
		{name: "label-file", why: "labels are given one by one", hint: "write --label K=V for each"},
		{name: "group-add", why: "a container has the groups of its user, and of the devices lent to it", hint: "write --user UID:GID"},
		{name: "domainname", why: "it is a part of the host name", hint: "write --hostname NAME.DOMAIN"},
		{name: "pids-limit", why: "how many processes a container has at most is said by the node's owner", hint: "see pids in 'hearth policy example'"},
		{name: "log-driver", why: "hearth keeps the output itself", hint: "see 'hearth logs'; how much a node keeps is logs in its policy"},
		{name: "log-opt", why: "hearth keeps the output itself", hint: "see 'hearth logs'; how much a node keeps is logs in its policy"},
		{name: "runtime", why: "the node's engine runs all containers the same way", hint: "for GPUs write --gpus all"},
		{name: "isolation", same: []string{"default", ""}, why: whyWindows, hint: hintOmit},
		{name: "volumes-from", why: whyOther, hint: hintOther},
		{name: "link", why: whyOther, hint: hintOther},
		{name: "volume-driver", why: whyVolumes, hint: volumeHint},
		{name: "storage-opt", why: whyDisk, hint: hintOmit},
		{name: "ulimit", why: whyKernel, hint: hintLimits},
		{name: "sysctl", why: whyKernel, hint: hintPolicy},
		{name: "device-cgroup-rule", why: whyKernel, hint: "ask for single devices: --device PATH"},
		{name: "cgroup-parent", why: whyKernel, hint: hintOmit},
		{name: "oom-kill-disable", toggle: true, why: whyKernel, hint: hintMemory},
		{name: "oom-score-adj", same: []string{"0"}, why: whyKernel, hint: hintMemory},
	}
	for _, f := range []struct {
		names     string
		why, hint string
		same      []string
	}{
		{"pid userns uts", whyNamespace, hintOmit, []string{""}},
		{"ipc cgroupns", whyNamespace, hintOmit, []string{"", "private"}},
		{"dns dns-opt dns-option dns-search add-host ip ip6 link-local-ip mac-address network-alias net-alias", whyNetwork, hintNetwork, nil},
		{"cpu-shares cpu-period cpu-quota cpu-rt-period cpu-rt-runtime cpuset-cpus cpuset-mems", whyCores, hintCores, nil},
		{"memory-reservation memory-swap memory-swappiness kernel-memory", whyMemory, hintMemory, nil},
		{"blkio-weight blkio-weight-device device-read-bps device-read-iops device-write-bps device-write-iops", whyDisk, hintOmit, nil},
		{"cpu-count cpu-percent io-maxbandwidth io-maxiops", whyWindows, hintOmit, nil},
		{"health-cmd health-interval health-retries health-timeout health-start-period health-start-interval", whyHealth, hintHealthcheck, nil},
	} {
		for name := range strings.FieldsSeq(f.names) {
			d := dockerFlag{name: name, same: f.same, why: f.why, hint: f.hint}
			if name == "cpu-shares" {
				d.short = "c"
			}
			flags = append(flags, d)
		}
	}
	return flags
}

// addDockerFlags adds them, unseen in the help and in completion.
func addDockerFlags(flags *pflag.FlagSet) {
	for _, d := range dockerFlags() {
		f := flags.VarPF(&d, d.name, d.short, d.why)
		f.Hidden = true
		if d.toggle {
			f.NoOptDefVal = "true"
		}
	}
}

// Set implements pflag.Value.
func (d *dockerFlag) Set(value string) error {
	if slices.Contains(d.same, value) || d.toggle && value == "false" && !slices.Contains(d.same, "true") {
		return nil
	}
	return &failure{err: fmt.Errorf("--%s: %s", d.name, d.why), hint: d.hint}
}

// String implements pflag.Value: none has a value.
func (d *dockerFlag) String() string { return "" }

// Type implements pflag.Value.
func (d *dockerFlag) Type() string {
	if d.toggle {
		return "bool"
	}
	return "string"
}
