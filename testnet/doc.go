// Package testnet runs real meshes for tests, demonstrations and measurements:
// the built hearth binary as processes on this machine (Start), in network
// namespaces with real multicast (package netns), as whole nodes in one process
// (package inproc), and in Docker Compose (testnet.sh). What it observes comes
// from outside of hearth: from the verbs that a user types, and from the
// container engine's own events. What goes wrong is brought about from outside,
// too: to processes, clocks, disks and engines here (Node, Engine), to networks in
// netns, in the Compose mesh by `testnet.sh fault`; none of it has a hook in hearth.
//
// It never tests a package's inner parts; those have tests beside them.
//
// A test reads like this:
//
//	secret := testnet.NewSecret(t)
//	lan := netns.New(t)
//	a := lan.AddHost("a").StartNode(t, testnet.Options{Secret: secret})
//	b := lan.AddHost("b").StartNode(t, testnet.Options{Secret: secret})
//	a.WaitAble(2)
//	result := a.Hearth("run", "--node", b.Name, testnet.Image(t), "echo", "hello")
package testnet
