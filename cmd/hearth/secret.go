package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/hearth-edge/hearth/cmd/hearth/device"
	"github.com/hearth-edge/hearth/keys"
)

func (c *cli) secretCommand() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "secret",
		Short: "Make a mesh's secret, or show its fingerprint",
		Long: `A mesh is all devices that hold the same secret. Whoever has it can run
containers on every node, within each node's own policy: keep it like a key.`,
	})
	var out string
	create := &cobra.Command{
		Use:   "new",
		Short: "Make a new secret",
		Long: `Make a new secret and print it, or write it to a new file that only its owner
can read (--out). Nothing else is ever needed to found a mesh: copy the secret
to every device and start 'hearth up' there.`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			s := keys.NewSecret()
			if out == "" {
				_, err := fmt.Fprintln(c.stdout, s.Text())
				return err
			}
			if err := keys.WriteSecretFile(out, s); err != nil {
				return &failure{err: err, hint: "choose another --out FILE"}
			}
			fmt.Fprintf(c.stderr, "wrote the secret of mesh %s to %s\n", s.Fingerprint(), out)
			return nil
		},
	}
	create.Flags().StringVarP(&out, "out", "o", "", "write it to a new `FILE` with mode 0600 instead of printing it")

	var file string
	fingerprint := &cobra.Command{
		Use:   "fingerprint",
		Short: "Show the fingerprint of a secret",
		Long: `Show the fingerprint of the secret in --secret-file, in HEARTH_SECRET, or in
the state folder. It is public: two devices with the same fingerprint have the
same secret.`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			s, err := c.findSecret(file)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.stdout, s.Fingerprint())
			return err
		},
	}
	fingerprint.Flags().StringVar(&file, "secret-file", os.Getenv("HEARTH_SECRET_FILE"), "`FILE` with the secret")
	cmd.AddCommand(create, fingerprint)
	return cmd
}

// findSecret looks where a secret may be: the file named, the environment, the
// state folder. It takes it out of the environment, which what this process
// starts would inherit: a reaper, a credential helper.
func (c *cli) findSecret(file string) (keys.Secret, error) {
	text, given := os.LookupEnv("HEARTH_SECRET")
	_ = os.Unsetenv("HEARTH_SECRET")
	const remake = "make one with 'hearth secret new', or copy it whole from another device"
	if file != "" {
		s, err := keys.ReadSecretFile(file)
		if errors.Is(err, keys.ErrNotSecret) {
			return s, &failure{err: err, hint: remake}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return s, &failure{err: err, hint: fmt.Sprintf("copy it there from another device; for a new mesh run 'hearth secret new --out %s' once", file)}
		}
		return s, err
	}
	if given {
		s, err := keys.ParseSecret(text)
		if err != nil {
			return s, &failure{err: fmt.Errorf("HEARTH_SECRET: %w", err), hint: remake}
		}
		return s, nil
	}
	s, err := keys.ReadSecretFile(filepath.Join(c.state, device.SecretFile))
	if errors.Is(err, fs.ErrNotExist) {
		return s, &failure{
			err:  fmt.Errorf("no secret: none was given, and %s holds none from an earlier start", c.state),
			hint: "for a new mesh run 'hearth secret new --out FILE' once; then give FILE with --secret-file, or its text in HEARTH_SECRET",
		}
	}
	return s, err
}
