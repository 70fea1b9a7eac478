package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hearth-edge/hearth/protocol"
)

const runHelp = `Run a container on the node of the mesh that will finish it first. Its output
comes to stdout and its errors to stderr as if it ran here, and its exit code is
that of this command. One line on stderr names the node.

Ctrl-C stops the container (SIGTERM, then SIGKILL after 10 s); a second Ctrl-C
kills it. SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 are passed on to it. The image is
looked up on the node first, else pulled there; --pull says otherwise.

The request belongs to this command: when that is cut off or killed, the
container is stopped. With --keep it goes on, and 'hearth attach' comes back to
it. With --detach this command prints the request's ID as soon as the request is
accepted, which means on disk, and ends; see 'hearth ps'.

With --tty the container gets a terminal: its output and errors then come as one
stream, to stdout. With -it this command's terminal is handed to it: each key,
Ctrl-C included, goes to the container.

A request has an ID, generated unless --id gives one. Running an ID again does
not run anything again: it attaches to the first, or to what it came to.

With --rm the request is forgotten once it has ended: 'hearth ps --all' does not
show it, and its output and its end are gone for whoever did not follow it. One
whose end is unknown stays. The container itself is always removed.

A container is started at most once: if its node is lost, the end is unknown until
the node is back. With --retry N it is started again, up to N times, when its node
was lost, was cut off for some 8 s, or failed at running it. The earlier container
is stopped by then: there are never two at a time. What it does should bear being
done again. A container's own exit code is passed on as it is, whatever it is.

With --dry-run nothing is run: a table on stdout shows how every device is rated
for it, as 'hearth explain' does afterwards, and with --json the same in JSON; see
there for what they mean. What the owners' policies allow is known to their nodes
only, which may refuse yet. The exit code is 0 if a node can run it, else 126.

With --json stdout has a line of JSON for each event, with the keys of 'hearth
events --json', and for each piece of output, with the keys stream (stdout or
stderr), text, or base64 where it is no text, and cut (how many bytes before it
were dropped). The last line, and with --detach the only one, has the keys of
'hearth ps --json': it alone has an id. The exit code is the same as without.

The flags of 'docker run' are taken where they mean the same; of the others this
command says why it does not take them.

Exit codes: the container's own; 124 if it ran into --timeout; 125 if hearth
itself failed; 126 if no node can run it, with the reason for each node; 130 if
it was ended by Ctrl-C.

  hearth run busybox echo hello
  cat photo.jpg | hearth run -i detector > boxes.json
  hearth run -it busybox sh
  id=$(hearth run -d --memory 1g trainer) && hearth wait $id
  hearth run --id nightly-2031-05-04 --keep backup
  hearth run --constraint arch=arm64 --memory 512m worker
  hearth run --mount /srv/photos:/in --network none --node nas indexer /in
  hearth run --retry 3 --detach encoder film.mkv
  hearth run --read-only --tmpfs /tmp:size=64m --env-file app.env --pull always app
  hearth run --json busybox date | jq 'select(.id) | {node_name, exit_code}'
  hearth run --dry-run --accelerator gpu --cpus 4 trainer
  hearth run --not-here --cpus 2 --timeout 10m transcoder /in /out`

func (c *cli) runCommand() *cobra.Command { return c.runCommandThat(c.run) }

// runCommandThat does something with what was typed.
func (c *cli) runCommandThat(does func(context.Context, runFlags, []string) error) *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run [flags] IMAGE [ARG...]",
		Short: "Run a container on the best node",
		Long:  runHelp,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &failure{err: errors.New("no image was named"), hint: "usage: hearth run [flags] IMAGE [ARG...]"}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return does(cmd.Context(), f, args)
		},
	}
	flags := cmd.Flags()
	f.registerContainer(flags)
	flags.BoolVar(&f.keep, "keep", false, "let the request go on if this command is cut off from it or killed")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "print nothing but the container's output and errors")
	flags.BoolVar(&f.explain, "explain", false, "show on stderr how every node was rated")
	flags.BoolVar(&f.dryRun, "dry-run", false, "run nothing; show how every node is rated, or why it is left out")
	flags.BoolVar(&f.asJSON, "json", false, "print events, output and the end as lines of JSON")
	c.completeRun(cmd)
	return cmd
}

// run asks for the request and follows it to its end, or with --detach to its
// acceptance.
func (c *cli) run(ctx context.Context, f runFlags, args []string) error {
	if f.tty {
		f.rows, f.columns = c.terminalSize()
	}
	var stdin io.Reader
	if !f.interactive {
		stdin = c.stdin
	}
	service, err := f.service(args, stdin)
	if err != nil {
		return err
	}
	if f.dryRun {
		return c.dryRun(ctx, service, f.asJSON)
	}
	if f.interactive && f.tty && !isTerminal(c.stdin) {
		return &failure{err: errors.New("the input is not a terminal"), hint: "leave out --tty: -i alone passes any input on"}
	}
	// With an ID from here the request can be named even if no answer arrives.
	id := protocol.NewRequestID()
	if f.id != "" {
		if id, err = protocol.ParseRequestID(f.id); err != nil {
			return err
		}
	}
	device, done, err := c.device(ctx)
	if err != nil {
		return err
	}
	defer done()
	run := protocol.Run{ID: id, Service: service, Detach: f.detach || f.keep}
	session, err := device.Run(ctx, run)
	if err != nil {
		return runFailure(err, id)
	}
	end := func(last *protocol.Event) error { return c.printRequest(ctx, device, &run, last) }
	if f.detach {
		_ = session.Close()
		if f.asJSON {
			return end(nil)
		}
		_, err := fmt.Fprintln(c.stdout, id)
		return err
	}
	follow := follower{
		cli: c, session: session, id: id, view: newRunView(c, f.quiet, f.explain),
		interactive: f.interactive, tty: f.tty, toTheEnd: true, survives: f.keep,
	}
	if f.asJSON {
		follow.view.lines = &runLines{out: json.NewEncoder(c.stdout), end: end}
	}
	err = follow.follow()
	if service.AutoRemove && follow.ended {
		awaitRemoval(ctx, device, id)
	}
	c.tellNamesOnRefusal(ctx, device, &service.Constraints, err)
	return err
}

// removalTimeout bounds how long a request that has ended is waited for to be forgotten.
const removalTimeout = 2 * time.Second

// awaitRemoval returns when a request that was run with --rm is forgotten, so that
// its ID is free for the next command.
func awaitRemoval(ctx context.Context, device *protocol.AppClient, id protocol.RequestID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removalTimeout)
	defer cancel()
	_ = device.Remove(ctx, protocol.Remove{Request: id}) // the device does so in any case
}

// runFailure adds what to do about a request that was not accepted.
func runFailure(err error, id protocol.RequestID) error {
	hint := ""
	switch protocol.CodeOf(err) {
	case protocol.CodeConflict:
		if strings.Contains(err.Error(), "the request ID "+string(id)) { // of a name the error says it all
			hint = fmt.Sprintf("see what it is with 'hearth inspect %s', or choose another --id", id)
		}
	case protocol.CodeUnauthorized:
		hint = tokenHint
	case protocol.CodeDiskFull:
		hint = "make room where the state folder of this device is"
	}
	return &failure{err: err, hint: hint}
}
