package main

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/hearth-edge/hearth/cmd/hearth/device"
	"github.com/hearth-edge/hearth/keys"
)

const unitName, unitFolder = "hearth.service", "/etc/systemd/system"

// unitTemplate has $COMMAND and $STATE where those belong.
//
//go:embed hearth.service
var unitTemplate string

// unitFlags say where a service of systemd is kept.
type unitFlags struct {
	dir, binDir  string
	print, start bool
}

func (c *cli) installCommand() *cobra.Command {
	var (
		u unitFlags
		f upFlags
	)
	cmd := &cobra.Command{
		Use:   "install [FLAGS OF up]",
		Short: "Run this device as a service of systemd",
		Long: `Write a unit of systemd that starts 'hearth up' with the machine, with the flags
given here, and restarts it should it ever fail. The secret of --secret-file, or
of HEARTH_SECRET, is kept in the state folder, so the file can be removed.

The unit runs as root, which the Docker engine's socket asks for, and takes all
from it that hearth does not need: capabilities, other folders, other system
calls. Containers go on while it restarts. 'hearth down' ends it until the machine is
started anew.

Root runs this program then. Where others than root could replace it, as in a home
folder, it is copied to --bin-dir first, and run from there.

  sudo hearth install --secret-file secret --now    join the mesh, now and always
  hearth install --print --name nas                 show the unit, change nothing
  sudo hearth uninstall                             undo it, keep the state

Installing again with other flags replaces the unit; --now restarts it.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.install(cmd, &u, &f) },
	}
	f.register(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&u.print, "print", false, "print the unit and change nothing")
	flags.BoolVar(&u.start, "now", false, "start it, too")
	flags.StringVar(&u.dir, "unit-dir", unitFolder, "`DIR` for the unit")
	flags.StringVar(&u.binDir, "bin-dir", "/usr/local/bin", "`DIR` for the program, where others could replace it")
	_ = cmd.MarkFlagDirname("unit-dir")
	_ = cmd.MarkFlagDirname("bin-dir")
	return cmd
}

func (c *cli) install(cmd *cobra.Command, u *unitFlags, f *upFlags) error {
	if _, err := c.settings(*f, c.logger(0)); err != nil {
		return err // what up would not take is not installed
	}
	state, err := filepath.Abs(c.state)
	if err != nil {
		return err
	}
	program, err := findProgram(u.binDir, trustedUsers())
	if err != nil {
		return err
	}
	unit, err := unitFor(program.path, state, cmd.Flags())
	if err != nil {
		return err
	}
	if u.print {
		_, err := fmt.Fprint(c.stdout, unit)
		return err
	}
	secret, err := c.findSecret(f.secretFile)
	if err != nil {
		return err
	}
	if _, err := keys.PrivateFolder(state); err != nil {
		return needsRoot(err)
	}
	if err := keys.ReplaceSecretFile(filepath.Join(state, device.SecretFile), secret); err != nil {
		return needsRoot(err)
	}
	if program.unsafe != nil {
		if err := copyProgram(program.path); err != nil {
			return needsRoot(err)
		}
		fmt.Fprintf(c.stderr, "copied this program to %s, since others could replace it where it is: %s\n", program.path, printable(program.unsafe.Error()))
	}
	path := filepath.Join(u.dir, unitName)
	if err := os.WriteFile(path, []byte(unit), 0o644); err != nil {
		return needsRoot(err)
	}
	fmt.Fprintf(c.stderr, "wrote %s for mesh %s, with its state in %s\n", path, secret.Fingerprint(), state)
	if !u.start {
		fmt.Fprintf(c.stderr, "start it, now and with the machine: systemctl daemon-reload && systemctl enable --now %s\n", unitName)
		return nil
	}
	return c.systemctl([]string{"daemon-reload"}, []string{"enable", unitName}, []string{"restart", unitName})
}

// unitFor returns the unit that runs the program's up with the flags that were
// given.
func unitFor(program, state string, given *pflag.FlagSet) (string, error) {
	command := []string{program, "up", "--state=" + state}
	given.Visit(func(f *pflag.Flag) {
		switch f.Name {
		case "print", "now", "unit-dir", "bin-dir", "state", "secret-file":
			return
		}
		if f.Name == "policy" {
			if path, err := filepath.Abs(f.Value.String()); err == nil {
				command = append(command, "--policy="+path)
			}
			return
		}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			for _, v := range list.GetSlice() {
				command = append(command, "--"+f.Name+"="+v)
			}
			return
		}
		command = append(command, "--"+f.Name+"="+f.Value.String())
	})
	var quoted []string
	for _, word := range command {
		q, err := quoteUnit(word)
		if err != nil {
			return "", err
		}
		quoted = append(quoted, q)
	}
	q, err := quoteUnit(state)
	if err != nil {
		return "", err
	}
	return strings.NewReplacer("$COMMAND", strings.Join(quoted, " "), "$STATE", q).Replace(unitTemplate), nil
}

// quoteUnit writes a word so that systemd.service(5) reads it as it is.
func quoteUnit(word string) (string, error) {
	if strings.ContainsFunc(word, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", fmt.Errorf("%q cannot be in a unit: it has control characters", word)
	}
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_=/.,:@+", r)
	}
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool { return !plain(r) }) {
		return word, nil
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `%`, `%%`, `$`, `$$`).Replace(word) + `"`, nil
}

func (c *cli) uninstallCommand() *cobra.Command {
	var u unitFlags
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Undo install",
		Long: `Stop the service that 'hearth install' made, and remove its unit. Containers that
run go on to their ends. The state folder stays: with it the device comes back as
the same member of the mesh; remove it by hand to forget the secret.`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return c.uninstall(&u) },
	}
	cmd.Flags().StringVar(&u.dir, "unit-dir", unitFolder, "`DIR` of the unit")
	_ = cmd.MarkFlagDirname("unit-dir")
	return cmd
}

func (c *cli) uninstall(u *unitFlags) error {
	path := filepath.Join(u.dir, unitName)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return &failure{err: fmt.Errorf("%s: there is none", path), hint: "was it installed with another --unit-dir?"}
	}
	booted := bootedWithSystemd()
	if booted {
		if err := c.systemctl([]string{"disable", "--now", unitName}); err != nil {
			return err
		}
	}
	if err := os.Remove(path); err != nil {
		return needsRoot(err)
	}
	fmt.Fprintf(c.stderr, "removed %s; the state in %s stays\n", path, c.state)
	if booted {
		return c.systemctl([]string{"daemon-reload"})
	}
	return nil
}

// bootedWithSystemd is sd_booted(3).
func bootedWithSystemd() bool {
	info, err := os.Lstat("/run/systemd/system")
	return err == nil && info.IsDir()
}

func (c *cli) systemctl(calls ...[]string) error {
	if !bootedWithSystemd() {
		return &failure{err: errors.New("systemd does not run here"), hint: "start 'hearth up' by what starts services on this machine"}
	}
	for _, args := range calls {
		cmd := exec.Command("systemctl", args...)
		cmd.Stdout, cmd.Stderr = c.stderr, c.stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("systemctl %s: %w", strings.Join(args, " "), err)
		}
	}
	return nil
}

// needsRoot adds what to do where the system does not allow something.
func needsRoot(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return &failure{err: err, hint: "run it with sudo"}
	}
	return err
}
