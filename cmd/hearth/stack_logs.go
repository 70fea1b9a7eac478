package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/protocol/api"
)

// stackLogsFlags are the flags of `hearth stack logs`.
type stackLogsFlags struct {
	follow, timestamps, asJSON, noPrefix, raw bool
	since                                     time.Duration
	tail                                      string
}

func (c *cli) stackLogsCommand() *cobra.Command {
	var f stackLogsFlags
	cmd := &cobra.Command{
		Use:   "logs STACK [SERVICE...]",
		Short: "Show what the instances of a stack write",
		Long: `Show what the instances of a stack have written, in the order in which it came,
each line with its service before it: standard output on stdout, errors on stderr.
With -f it goes on until Ctrl-C, over restarts of the instances. -n N shows the last N
lines of each service first, --since D those of the last D.

A terminal gets text, colours and movements of the cursor alone; --raw passes on all.

JSON: a line for each line, with the keys service, stream, at, text and cut.

  hearth stack logs -f blog
  hearth stack logs -n 20 --since 1h blog db`,
		Args:              someServices,
		ValidArgsFunction: c.completeStacks(true),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, services, err := stackArgs(cmd, args)
			if err != nil {
				return err
			}
			if f.since <= 0 && cmd.Flags().Changed("since") {
				return fmt.Errorf("--since: %v is no time to look back; write it like 90s, or 10m", f.since)
			}
			lines, err := parseTail(f.tail)
			if err != nil {
				return err
			}
			l := protocol.StackLogs{Name: name, Services: services, Follow: f.follow, Since: f.since}
			switch {
			case lines > 0:
				l.Tail = uint32(lines)
			case lines == 0:
				return c.stackLogsFromNow(cmd.Context(), l, &f)
			}
			return c.stackLogs(cmd.Context(), l, &f)
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&f.follow, "follow", "f", false, "go on with what is written")
	flags.StringVarP(&f.tail, "tail", "n", "all", "show only the last `N` lines of each service first")
	flags.BoolVarP(&f.timestamps, "timestamps", "t", false, "begin each line with when it came")
	flags.DurationVar(&f.since, "since", 0, "show only what came in the last `D`, such as 10m")
	flags.BoolVar(&f.noPrefix, "no-prefix", false, "leave the service's name out")
	flags.BoolVar(&f.raw, "raw", false, "pass all on to a terminal")
	flags.BoolVar(&f.asJSON, "json", false, "print JSON")
	_ = cmd.RegisterFlagCompletionFunc("tail", cobra.NoFileCompletions)
	return cmd
}

// stackLogsFromNow shows what comes, and nothing of what came.
func (c *cli) stackLogsFromNow(ctx context.Context, l protocol.StackLogs, f *stackLogsFlags) error {
	l.Since = time.Millisecond
	if !l.Follow {
		return nil
	}
	return c.stackLogs(ctx, l, f)
}

func (c *cli) stackLogs(ctx context.Context, l protocol.StackLogs, f *stackLogsFlags) error {
	device, done, err := c.device(ctx)
	if err != nil {
		return err
	}
	defer done()
	p := linePrinter{c: c, f: f}
	err = device.StackLogs(ctx, l, p.print)
	switch {
	case errors.Is(ctx.Err(), context.Canceled) && f.follow:
		return nil
	case errors.Is(ctx.Err(), context.Canceled):
		return exited(exitInterrupted)
	case err != nil:
		return stackFailure(err)
	}
	return nil
}

// linePrinter prints lines of several services.
type linePrinter struct {
	c     *cli
	f     *stackLogsFlags
	width int // of the longest name so far
}

func (p *linePrinter) print(l protocol.LogLine) error {
	if p.f.asJSON {
		return json.NewEncoder(p.c.stdout).Encode(api.NewLogLine(&l))
	}
	out := p.c.stdout
	if l.Channel == protocol.Stderr {
		out = p.c.stderr
	}
	var b strings.Builder
	if !p.f.noPrefix {
		p.width = max(p.width, len(l.Service))
		b.WriteString(coloured(out, l.Service, fmt.Sprintf("%-*s |", p.width, oneLine(l.Service))) + " ")
	}
	if p.f.timestamps {
		stamp := "-"
		if !l.At.IsZero() {
			stamp = l.At.UTC().Format(stampFormat)
		}
		b.WriteString(stamp + " ")
	}
	text := strings.TrimSuffix(l.Text, "\n")
	if !p.f.raw && isTerminal(out) {
		text = sanitizedLine(text)
	}
	b.WriteString(text)
	if l.Cut {
		b.WriteString("…")
	}
	b.WriteString("\n")
	_, err := out.WriteString(b.String())
	return err
}

// sanitizedLine is what a sanitizer makes of a line.
func sanitizedLine(line string) string {
	var b strings.Builder
	t := sanitizer{to: &b}
	_, _ = t.Write([]byte(line)) // a Builder takes all
	_ = t.finish()
	return b.String()
}

// coloured gives text the colour of a name, on a terminal.
func coloured(out *os.File, name, text string) string {
	if !isTerminal(out) || os.Getenv("NO_COLOR") != "" {
		return text
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", 31+h.Sum32()%6, text)
}
