package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/hearth-edge/hearth/cmd/hearth/device"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/policyfile"
)

// exitRefused is policy check's answer where the policy says no.
const exitRefused = 1

// policyFlags are those of `hearth policy`.
type policyFlags struct {
	file, from string
	asJSON     bool
	run        runFlags
}

func (c *cli) policyCommand() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "policy",
		Short: "Show what a container may have on this device, and check a service against it",
		Long: `What containers may have on this device is its owner's to say, in policy.toml in
the state folder or in the file that 'hearth up --policy' names. Without one they
get no files, devices or capabilities of this device, and limits on all they use.
These verbs need no running device; a running one reads the file when it starts.

  hearth policy example > policy.toml      all keys, explained
  hearth policy check --mount /srv/photos:/in indexer`,
	})
	example := &cobra.Command{
		Use:   "example",
		Short: "Print a policy with all its keys, explained",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprint(c.stdout, policyfile.Example())
			return err
		},
	}
	cmd.AddCommand(c.policyCheckCommand(), c.policyShowCommand(), example)
	return cmd
}

func (f *policyFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.file, "policy", os.Getenv("HEARTH_POLICY"), "the policy's `FILE` (default policy.toml in the state folder) [$HEARTH_POLICY]")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print JSON")
}

func (c *cli) policyCheckCommand() *cobra.Command {
	var f policyFlags
	cmd := &cobra.Command{
		Use:   "check [flags] IMAGE [ARG...]",
		Short: "Say what this device's policy makes of a service",
		Long: `Say for everything that a service asks for whether this device's policy allows
it, what the container would get, and which key of the policy decides. The flags
that describe the service are those of 'hearth run'. How much this device has is
counted as if all of it were lent.

Exit codes: 0 it is allowed; 1 it is refused; 125 hearth itself failed, as where
the policy has a mistake.

With --json: allowed, policy (the file, empty for the default), and verdicts, each
with aspect, key, allowed, grant, and where it is refused code and reason.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &failure{err: errors.New("no image was named"), hint: "usage: hearth policy check [flags] IMAGE [ARG...]"}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return c.policyCheck(cmd.Context(), &f, args) },
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false) // as with run
	f.register(cmd)
	f.run.describe(flags)
	flags.StringVar(&f.from, "from", "", "asked by the device with this `NAME` or peer ID (default this one)")
	return cmd
}

func (c *cli) policyShowCommand() *cobra.Command {
	var f policyFlags
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Print the policy in force, as a file would have it",
		Long: `Print the policy that this device starts with, every key, as a file would have it.
What says nothing is commented out.

With --json: policy (the file, empty for the default) and text.`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			p, from, err := c.findPolicy(f.file)
			if err != nil {
				return err
			}
			if f.asJSON {
				return json.NewEncoder(c.stdout).Encode(struct {
					Policy string `json:"policy"`
					Text   string `json:"text"`
				}{from, policyfile.Write(p)})
			}
			if from == "" {
				from = "no file: the default"
			}
			_, err = fmt.Fprintf(c.stdout, "# %s\n%s", oneLine(from), printable(policyfile.Write(p)))
			return err
		},
	}
	f.register(cmd)
	return cmd
}

// findPolicy reads the policy that this device has, and says where from.
func (c *cli) findPolicy(file string) (runtime.Policy, string, error) {
	p, from, err := policyfile.Find(file, c.state)
	if err != nil {
		return p, from, &failure{err: err, hint: "'hearth policy example' prints one with all keys explained"}
	}
	return p, from, nil
}

func (c *cli) policyCheck(ctx context.Context, f *policyFlags, args []string) error {
	service, err := f.run.service(args, nil)
	if err != nil {
		return err
	}
	p, from, err := c.findPolicy(f.file)
	if err != nil {
		return err
	}
	here, err := device.Here(ctx, c.state)
	if err != nil {
		return err
	}
	asker := runtime.Asker{Name: "this device", Self: true}
	if f.from != "" {
		asker = runtime.Asker{Name: f.from, Node: protocol.PeerID(f.from)}
	}
	_, verdicts := p.Explain(asker, service, here)
	out := policyJSON{Allowed: true, Policy: from}
	for _, v := range verdicts {
		j := verdictJSON{Aspect: v.Aspect, Key: v.Key, Allowed: v.Err == nil, Grant: v.Grant}
		if v.Err != nil {
			out.Allowed = false
			j.Code, j.Reason = protocol.CodeOf(v.Err).String(), v.Err.Error()
		}
		out.Verdicts = append(out.Verdicts, j)
	}
	if f.asJSON {
		err = json.NewEncoder(c.stdout).Encode(out)
	} else {
		err = out.print(c)
	}
	if err == nil && !out.Allowed {
		err = exited(exitRefused)
	}
	return err
}

// policyJSON is what `hearth policy check --json` prints; the keys are stable.
type policyJSON struct {
	Allowed  bool          `json:"allowed"`
	Policy   string        `json:"policy"`
	Verdicts []verdictJSON `json:"verdicts"`
}

type verdictJSON struct {
	Aspect  string `json:"aspect"`
	Key     string `json:"key"`
	Allowed bool   `json:"allowed"`
	Grant   string `json:"grant,omitempty"`
	Code    string `json:"code,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

func (p *policyJSON) print(c *cli) error {
	rows := [][]string{{"ASPECT", "VERDICT", "KEY", "GETS"}}
	for _, v := range p.Verdicts {
		if v.Allowed {
			rows = append(rows, []string{v.Aspect, "allowed", v.Key, v.Grant})
		} else {
			rows = append(rows, []string{v.Aspect, "REFUSED", v.Key, "this node " + v.Reason})
		}
	}
	return table(c.stdout, rows)
}
