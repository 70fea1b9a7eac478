// Command hearth turns the computers of a home or a small site into one: every
// device runs `hearth up` with the same secret, and `hearth run` on any of them
// runs a container on the device that will finish it first.
//
// It is one file per verb. `up` runs the device (package node); every other
// verb talks to the running device over its app endpoint.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// Main is the whole program but for leaving it, so that tests can run it; it
// returns the exit code.
func Main(args []string, stdin *os.File, stdout, stderr *os.File) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	c := &cli{stdin: stdin, stdout: stdout, stderr: stderr}
	root := c.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	return c.exitCode(root.ExecuteContext(ctx))
}
