package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hearth-edge/hearth/protocol"
)

const copyHelp = `Copy a file or folder out of a container that runs, or into it. The container is a
request's, named as for 'hearth attach', or that of a stack's service: with a path
in it, REQUEST:PATH or STACK/SERVICE:PATH. A path of this machine that has a colon
begins with / or ./

It goes below the destination where that is a folder that is there, else it takes
the destination's name; the folder above must be there. A source that ends with
/. is what is in the folder. With - for this machine's side a tar archive is
written to stdout, or read from stdin and put below the folder PATH.

What comes out of a container belongs to you, what goes in to the container's root;
with --archive both keep the users' and groups' numbers. Set-user-ID bits and device
files are left out. Links that come out of a container are made as they are, and
never followed while copying. What would fill the disk is not copied. What a container
has in memory, as /dev/shm and its secrets, cannot be copied.

The node's owner may keep others from it, by the key copy of the policy.

Exit codes: 0 if all was copied; 125 otherwise.

  hearth cp media/db:/var/lib/app/backup .
  hearth cp app.conf web:/etc/app/
  hearth cp web:/var/log - | tar -tv
  tar -c . | hearth cp - web:/srv`

// copyFlags are those of cp.
type copyFlags struct{ follow, archive, quiet bool }

func (c *cli) copyCommand() *cobra.Command {
	var f copyFlags
	cmd := &cobra.Command{
		Use:   "cp [flags] CONTAINER:PATH LOCAL|-, or LOCAL|- CONTAINER:PATH",
		Short: "Copy files out of a container that runs, or into it",
		Long:  copyHelp,
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return &failure{err: fmt.Errorf("hearth cp takes two paths, not %d", len(args)), hint: "usage: " + cmd.UseLine()}
			}
			return c.copy(cmd.Context(), f, args[0], args[1])
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&f.follow, "follow-link", "L", false, "copy what a symbolic link leads to, where the source is one")
	flags.BoolVarP(&f.archive, "archive", "a", false, "keep the numbers of users and groups")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "show no progress")
	return cmd
}

// copy finds out which side is the container's.
func (c *cli) copy(ctx context.Context, f copyFlags, from, to string) error {
	source, out, err := parseCopy(from)
	if err != nil {
		return err
	}
	target, in, err := parseCopy(to)
	switch {
	case err != nil:
		return err
	case out == in && out:
		return &failure{err: errors.New("both paths are in containers"), hint: "copy by way of this machine: hearth cp A:PATH - | hearth cp - B:PATH"}
	case out == in:
		return &failure{err: errors.New("neither path is in a container"), hint: "write REQUEST:PATH or STACK/SERVICE:PATH for the container's"}
	}
	device, done, err := c.device(ctx)
	if err != nil {
		return err
	}
	defer done()
	if out {
		return c.copyOut(ctx, device, f, source, to)
	}
	return c.copyInto(ctx, device, f, from, target)
}

// A containerPath is a path in a container.
type containerPath struct {
	target protocol.Target
	path   string
}

// contents tells that what is in the folder is meant.
func contents(p string) bool { return p == "." || strings.HasSuffix(p, "/.") }

// parseCopy reads CONTAINER:PATH; ok is false for a path of this machine.
func parseCopy(text string) (at containerPath, ok bool, err error) {
	name, file, ok := strings.Cut(text, ":")
	if !ok || text == "" || text[0] == '/' || text[0] == '.' {
		return at, false, nil
	}
	if at.target, err = protocol.ParseTarget(name); err != nil {
		return at, false, err
	}
	if file == "" {
		return at, false, &failure{err: fmt.Errorf("%q names no path in the container", text), hint: "write it as " + name + ":/PATH"}
	}
	if file[0] != '/' {
		file = "/" + file // as docker does
	}
	at.path = file
	return at, true, nil
}

// copyOut copies out of a container.
func (c *cli) copyOut(ctx context.Context, device *protocol.AppClient, f copyFlags, from containerPath, local string) error {
	v := protocol.Copy{Target: from.target, Path: path.Clean(from.path), FollowLink: f.follow}
	var to *extraction
	if local != "-" {
		var err error
		if to, err = newExtraction(local, contents(from.path), strings.HasSuffix(from.path, "/"), f.archive); err != nil {
			return err
		}
		defer to.Close()
	} else if isTerminal(c.stdout) {
		return &failure{err: errors.New("a tar archive is not for a terminal"), hint: "write it to a file or to another program: hearth cp … - > FILE"}
	}
	session, err := device.Copy(ctx, v)
	if err != nil {
		return containerFailure(err)
	}
	defer session.Close()
	bar := newCopyProgress(c, f.quiet || to == nil)
	defer bar.finish()
	archive, feed := io.Pipe()
	ended := make(chan error, 1)
	go func() { // ends with the session
		err := receiveArchive(session, feed, bar)
		_ = feed.CloseWithError(err) // nil is the end
		ended <- err
	}()
	var written error
	if to == nil {
		_, written = io.Copy(c.stdout, archive)
	} else {
		written = to.extract(archive)
	}
	_ = archive.CloseWithError(io.ErrClosedPipe)
	if written != nil && !errors.Is(written, errArchiveLost) {
		_ = session.Close()
		<-ended //nolint:errcheck // it ended by what was closed
		return written
	}
	if err := <-ended; err != nil {
		return containerFailure(err)
	}
	if written != nil {
		return written
	}
	if to != nil {
		bar.done(to.note())
	}
	return nil
}

// errArchiveLost says that the archive is not whole, which its session explains.
var errArchiveLost = errors.New("the archive broke off")

// receiveArchive passes on what a session copies out, up to its end.
func receiveArchive(session protocol.Session, to io.Writer, bar *copyProgress) error {
	for {
		u, err := session.Next()
		if err != nil {
			return fmt.Errorf("lost the connection to this device: %w", err)
		}
		switch {
		case u.Output != nil:
			bar.moved(len(u.Output.Data))
			if _, err := to.Write(u.Output.Data); err != nil && !errors.Is(err, io.ErrClosedPipe) {
				return err
			}
		case u.Event != nil && u.Event.State.Ended():
			return copyEnd(u.Event)
		}
	}
}

// copyEnd is what the last event of a copy says.
func copyEnd(e *protocol.Event) error {
	if e.State == protocol.StateSucceeded {
		return nil
	}
	return protocol.Errorf(e.Code, "%s", e.Reason)
}

// copyInto copies into a container.
func (c *cli) copyInto(ctx context.Context, device *protocol.AppClient, f copyFlags, local string, to containerPath) error {
	v := protocol.Copy{Target: to.target, Path: to.path, Into: true, Contents: local == "-" || contents(local)}
	var pack *packing
	if local != "-" {
		var err error
		if pack, err = newPacking(local, f); err != nil {
			return err
		}
	} else if isTerminal(c.stdin) {
		return &failure{err: errors.New("a tar archive is not typed"), hint: "hand it over from a file or from another program: hearth cp - … < FILE"}
	}
	session, err := device.Copy(ctx, v)
	if err != nil {
		return containerFailure(err)
	}
	defer session.Close()
	bar := newCopyProgress(c, f.quiet || pack == nil)
	defer bar.finish()
	sent := make(chan error, 1)
	go func() { // ends with the session
		to := bar.through(session)
		var err error
		if pack == nil {
			_, err = io.Copy(to, c.stdin)
		} else {
			err = pack.write(to)
		}
		if err != nil && !errors.Is(err, io.ErrClosedPipe) {
			_ = session.Stop(0) // half of it must not be taken for the whole
		} else {
			_ = session.CloseWrite()
		}
		sent <- err
	}()
	err = receiveArchive(session, io.Discard, bar.silent())
	_ = session.Close()
	if failed := <-sent; failed != nil && !errors.Is(failed, io.ErrClosedPipe) {
		return failed
	}
	if err != nil {
		return containerFailure(err)
	}
	if pack != nil {
		bar.done(pack.note())
	}
	return nil
}
