// Command fault brings about what a shell cannot: links that are slow or lossy,
// clocks that are wrong, and a first process for an engine that can be killed whole.
// The tests (package testnet) and testnet.sh use it; hearth does not contain it.
//
//	fault link NIC [--delay D] [--jitter D] [--loss P] [--rate BYTES]
//	fault clock PID wall|asleep D
//	fault overlay DIR
//	fault init
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"time"
)

const usage = `usage:
  fault link NIC [--delay D] [--jitter D] [--loss P] [--rate BYTES]
      makes the link of this network namespace slow or lossy, each way, until
      SIGTERM; says READY once it is so
  fault clock PID wall|asleep D
      sets the wall clock of a process to D (such as -1h) from the machine's, or
      how long its monotonic clock stood still
  fault overlay DIR
      writes what ` + "`go build -overlay`" + ` needs for a program whose clocks can be set,
      and prints its path
  fault init
      reaps orphans as the first process of a PID namespace, until killed
`

var errUsage = errors.New("wrong arguments")

func main() {
	err := run(os.Args[1:])
	if errors.Is(err, errUsage) {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fault:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	verb, args := args[0], args[1:]
	switch {
	case verb == "link" && len(args) >= 1:
		l, err := parseLink(args[1:])
		if err != nil {
			return err
		}
		return serveLink(args[0], l)
	case verb == "clock" && len(args) == 3:
		pid, err := strconv.Atoi(args[0])
		if err != nil {
			return errUsage
		}
		offset, err := time.ParseDuration(args[2])
		if err != nil {
			return err
		}
		return setClock(pid, args[1], offset)
	case verb == "overlay" && len(args) == 1:
		path, err := writeOverlay(args[0])
		if err == nil {
			fmt.Println(path)
		}
		return err
	case verb == "init" && len(args) == 0:
		return reap()
	}
	return errUsage
}

func parseLink(args []string) (link, error) {
	var l link
	flags := flag.NewFlagSet("link", flag.ContinueOnError)
	flags.SetOutput(os.Stderr)
	flags.DurationVar(&l.delay, "delay", 0, "of each packet")
	flags.DurationVar(&l.jitter, "jitter", 0, "more or less delay")
	flags.Float64Var(&l.loss, "loss", 0, "share of packets dropped, 0 to 1")
	flags.Int64Var(&l.rate, "rate", 0, "bytes a second")
	if err := flags.Parse(args); err != nil || flags.NArg() > 0 {
		return l, errUsage
	}
	if l.delay < 0 || l.jitter < 0 || l.jitter > l.delay || l.loss < 0 || l.loss > 1 || l.rate < 0 {
		return l, fmt.Errorf("a link is of --delay >= --jitter >= 0, --loss from 0 to 1 and --rate >= 0")
	}
	return l, nil
}
