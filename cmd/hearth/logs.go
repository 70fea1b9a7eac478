package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/hearth-edge/hearth/protocol"
)

// logsFlags are the flags of `hearth logs`.
type logsFlags struct {
	follow, timestamps, raw bool
	since                   time.Duration
	tail                    string
}

// allLines is --tail without a bound.
const allLines = -1

func (c *cli) logsCommand() *cobra.Command {
	var f logsFlags
	cmd := &cobra.Command{
		Use:   "logs [flags] ID",
		Short: "Show the output of a request that is kept",
		Long: `Show the output of a request that is kept: stdout on stdout, stderr on stderr.
Any device's request can be named: by its ID, its name, a beginning of the ID that
no other has, or ID@DEVICE. Of long output only the end is kept, and one line on stderr says how much is
missing; some time after its end a request is dropped with all its output.

With --follow output is shown as it comes until the request ends, or Ctrl-C; the
request goes on. With --tail N only the last N lines of what there is are shown
first, of stdout and stderr together.

With --since only output of the last D is shown, such as 90s, 10m or 1h30m; with
--timestamps each line begins with the time at which it came. The device that looks
after the request knows that to a hundredth of a second, or a percent of how long
ago it is. It does not know it any more once it was restarted while the request ran:
such lines have '-' for a time, and --since shows them, too. Nor does --since know
it some minutes after the request's end.

A terminal gets text, colours and movements of the cursor alone: others' programs
are not to set its title or the clipboard, nor to have it answer. --raw passes on
all; what is not a terminal gets all in any case.

Exit codes: 0 whatever became of the request; 125 if hearth itself failed; 130 if
it was left by Ctrl-C. For the request's own exit code see 'hearth wait'.

  hearth logs k3v
  hearth logs -f k3v 2>errors | grep done
  hearth logs -f --since 10m k3v
  hearth logs -t -n 20 k3v`,
		Args:              oneRequest,
		ValidArgsFunction: c.completeRequests(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.since <= 0 && cmd.Flags().Changed("since") {
				return fmt.Errorf("--since: %v is no time to look back; write it like 90s, or 10m", f.since)
			}
			lines, err := parseTail(f.tail)
			if err != nil {
				return err
			}
			return c.logs(cmd.Context(), protocol.RequestID(args[0]), &f, lines)
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&f.follow, "follow", "f", false, "go on until the request ends")
	flags.StringVarP(&f.tail, "tail", "n", "all", "show only the last `N` lines first")
	flags.BoolVarP(&f.timestamps, "timestamps", "t", false, "begin each line with when it came")
	flags.DurationVar(&f.since, "since", 0, "show only output of the last `D`, such as 10m")
	flags.BoolVar(&f.raw, "raw", false, "pass all of the output on to a terminal")
	_ = cmd.RegisterFlagCompletionFunc("tail", cobra.NoFileCompletions)
	return cmd
}

// parseTail reads --tail: a number of lines, or "all", as docker has it.
func parseTail(text string) (int, error) {
	if text == "all" {
		return allLines, nil
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("--tail: %q is no number of lines; write it like 20, or all", text)
	}
	return int(n), nil
}

func (c *cli) logs(ctx context.Context, id protocol.RequestID, f *logsFlags, lines int) error {
	view := newRunView(c, false, false)
	view.outputOnly, view.sanitize, view.timestamps = true, !f.raw, f.timestamps
	want := protocol.Attach{Request: id, NoFollow: !f.follow, Since: f.since}
	if lines == allLines {
		return c.visit(ctx, want, view)
	}
	device, done, err := c.device(ctx)
	if err != nil {
		return err
	}
	defer done()
	now := want
	now.NoFollow = true
	last, err := readLast(ctx, device, now, lines)
	if err != nil {
		return err
	}
	if err := last.show(view); err != nil || !f.follow {
		view.finish()
		return err
	}
	want.Stdout, want.Stderr, want.Since = last.have[protocol.Stdout], last.have[protocol.Stderr], 0
	return c.visit(ctx, want, view)
}

// readLast reads what there is of a request's output, and keeps the last lines.
func readLast(ctx context.Context, device *protocol.AppClient, a protocol.Attach, lines int) (*lastLines, error) {
	session, err := device.Attach(ctx, a)
	if err != nil {
		return nil, requestFailure(err)
	}
	defer session.Close()
	defer context.AfterFunc(ctx, func() { _ = session.Close() })()
	last := &lastLines{most: lines}
	for {
		u, err := session.Next()
		switch {
		case ctx.Err() != nil:
			return nil, exited(exitInterrupted)
		case errors.Is(err, io.EOF):
			return last, nil
		case err != nil:
			return nil, err
		case u.Output != nil:
			last.add(u.Output)
		}
	}
}

// maxLine is how much of a line that does not end lastLines keeps.
const maxLine = 1 << 20

// lastLines keeps the last lines of both channels, in the order in which they
// began. The zero value keeps none.
type lastLines struct {
	most  int
	lines []*logLine
	open  [protocol.Stderr + 1]*logLine // goes on
	have  [protocol.Stderr + 1]uint64   // how many bytes came
	cut   uint64
	full  bool // there were more lines
}

type logLine struct {
	channel protocol.Channel
	at      time.Time
	data    []byte
	dropped bool
}

func (l *lastLines) add(o *protocol.Output) {
	l.cut += o.Cut
	l.have[o.Channel] = o.Offset + uint64(len(o.Data))
	for part := range bytes.Lines(o.Data) {
		line := l.open[o.Channel]
		if line == nil {
			line = &logLine{channel: o.Channel, at: o.At}
			l.lines = append(l.lines, line)
			if len(l.lines) > l.most {
				l.full = true
				l.lines[0].dropped, l.lines[0].data = true, nil
				l.lines = l.lines[1:]
			}
		}
		if !line.dropped {
			line.data = append(line.data, part...)
			line.data = line.data[max(len(line.data)-maxLine, 0):]
		}
		if l.open[o.Channel] = line; part[len(part)-1] == '\n' {
			l.open[o.Channel] = nil
		}
	}
}

// show prints the lines, and how much is missing if fewer were left than asked for.
func (l *lastLines) show(view *runView) error {
	if l.cut > 0 && !l.full {
		if err := view.write(&protocol.Output{Channel: protocol.Stdout, Cut: l.cut}); err != nil {
			return err
		}
	}
	for _, line := range l.lines {
		if err := view.write(&protocol.Output{Channel: line.channel, At: line.at, Data: line.data}); err != nil {
			return err
		}
	}
	return nil
}

// lineTimes begins each line with when it came.
type lineTimes struct{ within bool }

// stampFormat is RFC 3339, to as much of a second as is known.
const stampFormat = "2006-01-02T15:04:05.000Z07:00"

func (l *lineTimes) stamp(data []byte, at time.Time) []byte {
	stamp := "- "
	if !at.IsZero() {
		stamp = at.UTC().Format(stampFormat) + " "
	}
	var out []byte
	for line := range bytes.Lines(data) {
		if !l.within {
			out = append(out, stamp...)
		}
		out = append(out, line...)
		l.within = line[len(line)-1] != '\n'
	}
	return out
}
