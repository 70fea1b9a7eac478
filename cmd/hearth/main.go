// Command hearth turns the computers of a home or a small site into one: every
// device runs `hearth up` with the same secret, and `hearth run` on any of them
// runs a container on the device that will finish it first.
//
// It is one file per verb. `up` runs the device (package device); every other
// verb talks to the running device over its app endpoint.
//
// How many processors there are is looked up at the start, not each second:
//
//go:debug updatemaxprocs=0
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	c := &cli{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, drivers: drivers()}
	os.Exit(c.main(os.Args[1:]))
}

// main is the whole program but for leaving it; it returns the exit code.
func (c *cli) main(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	root := c.root()
	root.SetArgs(args)
	root.SetIn(c.stdin)
	root.SetOut(c.stdout)
	root.SetErr(c.stderr)
	if len(args) > 0 && args[0] == cobra.ShellCompRequestCmd {
		plainUsage(root)
	}
	if len(args) > 0 {
		if err := foreign(args[0]); err != nil { // before its flags are read
			return c.exitCode(err)
		}
	}
	return c.exitCode(root.ExecuteContext(ctx))
}
