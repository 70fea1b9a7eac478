package main

import (
	"embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"reflect"
	"strconv"
	"strings"

	"github.com/hearth-edge/hearth/sched"
)

//go:embed scenarios
var builtIn embed.FS

// defaultSet is what is run where no scenario is named.
const defaultSet = "tune"

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "error:", err)
		}
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	scenario, set, policies string
	json                    bool
	seed                    uint64
	replications            int
	params                  sched.Params
}

func parse(args []string, stderr io.Writer) (*options, error) {
	o := &options{params: sched.DefaultParams()}
	f := flag.NewFlagSet("sim", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.scenario, "scenario", "", "run the scenario in this `file` (its format: go doc ./testnet/sim)")
	f.StringVar(&o.set, "set", defaultSet, "else run this `set` of the scenarios that are built in: tune, judge or all")
	f.StringVar(&o.policies, "policies", "all", "only these, by `names` separated by commas; the oracle always")
	f.BoolVar(&o.json, "json", false, "print JSON in place of a table")
	f.Uint64Var(&o.seed, "seed", 0, "take this seed in place of the scenario's")
	f.IntVar(&o.replications, "replications", 0, "repeat so many times in place of the scenario's")
	f.Func("param", "set a number of sched.Params, `NAME=VALUE`; may be given again", func(s string) error {
		return setParam(&o.params, s)
	})
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q: a scenario is named by --scenario", f.Arg(0))
	}
	if o.replications < 0 || o.replications > maxRepeats {
		return nil, fmt.Errorf("--replications is %d, and must be from 1 to %d", o.replications, maxRepeats)
	}
	return o, nil
}

// setParam sets one number of p, to see what it does.
func setParam(p *sched.Params, s string) error {
	name, value, ok := strings.Cut(s, "=")
	if !ok {
		return fmt.Errorf("%q is not NAME=VALUE", s)
	}
	x, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return fmt.Errorf("%q is no number", value)
	}
	f := reflect.ValueOf(p).Elem().FieldByName(name)
	switch {
	case f.IsValid() && f.CanFloat():
		f.SetFloat(x)
	case f.IsValid() && f.CanInt() && f.Type().String() == "time.Duration":
		f.SetInt(int64(seconds(x)))
	case f.IsValid() && f.CanInt():
		f.SetInt(int64(x))
	default:
		return fmt.Errorf("sched.Params has no number named %q", name)
	}
	return nil
}

func run(args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	chosen, err := choosePolicies(o.policies)
	if err != nil {
		return err
	}
	scenarios, err := o.load()
	if err != nil {
		return err
	}
	var reports []*report
	for _, s := range scenarios {
		r, err := simulate(s, chosen, o.params)
		if err != nil {
			return fmt.Errorf("scenario %s: %w", s.Name, err)
		}
		reports = append(reports, r)
		if !o.json {
			r.table(stdout)
		}
	}
	if !o.json {
		return nil
	}
	e := json.NewEncoder(stdout)
	e.SetIndent("", "  ")
	if o.scenario != "" {
		return e.Encode(reports[0])
	}
	return e.Encode(reports)
}

// load returns the scenarios that are asked for.
func (o *options) load() ([]*Scenario, error) {
	var all []*Scenario
	if o.scenario != "" {
		f, err := os.Open(o.scenario)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		s, err := decode(f)
		if err != nil {
			return nil, fmt.Errorf("scenario %s: %w", o.scenario, err)
		}
		all = []*Scenario{s}
	} else {
		var err error
		if all, err = builtInSet(o.set); err != nil {
			return nil, err
		}
	}
	for _, s := range all {
		if o.seed != 0 {
			s.Seed = o.seed
		}
		if o.replications != 0 {
			s.Replications = o.replications
		}
	}
	return all, nil
}

// builtInSet returns the scenarios of one folder, or of all.
func builtInSet(set string) ([]*Scenario, error) {
	if set != "tune" && set != "judge" && set != "all" {
		return nil, fmt.Errorf("--set is %q, and must be tune, judge or all", set)
	}
	var all []*Scenario
	err := fs.WalkDir(builtIn, "scenarios", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || set != "all" && path.Base(path.Dir(name)) != set {
			return err
		}
		f, err := builtIn.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		s, err := decode(f)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, s)
		return nil
	})
	return all, err
}
