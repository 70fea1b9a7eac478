package main

import (
	"fmt"
	"slices"
)

// A foreignVerb is one that docker or tailscale has and hearth has not: what its
// users type is answered with what there is instead.
type foreignVerb struct {
	names  []string
	answer string
}

var foreignVerbs = []foreignVerb{
	{[]string{"diff", "commit", "export"}, "'hearth exec' and 'hearth cp' reach into a container that runs; the rest docker does on its node, with the container's ID that 'hearth inspect --wide' shows"},
	{[]string{"images", "image", "pull", "load", "import", "history", "rmi"}, "each node keeps its own images, and fetches one when it first runs it: use 'docker pull' on a node to have it there before"},
	{[]string{"build", "buildx", "push", "save", "tag", "search", "manifest"}, "hearth runs images and does not make them: use docker for that"},
	{[]string{"login", "logout"}, "a node fetches images with the logins of docker: use 'docker login' there, as the user that runs hearth"},
	{[]string{"top", "stats"}, "'hearth ps --watch' shows what runs in the mesh, 'hearth nodes --watch' how busy each device is"},
	{[]string{"ls", "list", "container"}, "'hearth ps' shows the requests of the mesh, 'hearth nodes' its devices"},
	{[]string{"start", "create", "restart", "pause", "unpause", "update", "rename"}, "a request runs once: 'hearth stop' ends it, 'hearth run' asks anew; --retry has a lost one run again"},
	{[]string{"port", "port-forward", "network", "serve", "funnel"}, "'hearth forward' connects to a port of a container; 'hearth run --network' says which network it is on"},
	{[]string{"compose", "service", "swarm", "deploy"}, "'hearth stack up' takes a compose file, and keeps it up"},
	{[]string{"volume", "volumes"}, "a container keeps nothing; 'hearth run --mount' gives it a folder of its node that the owner lends"},
	{[]string{"info", "system"}, "'hearth status' shows this device, 'hearth doctor' what is wrong with it"},
	{[]string{"prune"}, "ended requests are dropped by themselves; images are docker's: use 'docker image prune' on a node"},
	{[]string{"node", "ping", "ip", "netcheck", "whois"}, "'hearth nodes --wide' shows every device with its address and round trip, 'hearth doctor' what is wrong with the network"},
	{[]string{"join", "leave"}, "'hearth up' joins the mesh, 'hearth down' leaves it"},
	{[]string{"config", "context", "set"}, "the flags of 'hearth up' and the owner's policy are all there is to set: see 'hearth up --help' and 'hearth policy'"},
}

// foreign answers a verb that hearth has not; nil where it has nothing to say.
func foreign(verb string) error {
	for _, f := range foreignVerbs {
		if slices.Contains(f.names, verb) {
			return &failure{err: fmt.Errorf("hearth has no verb %q", verb), hint: f.answer}
		}
	}
	return nil
}
