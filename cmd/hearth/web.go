package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hearth-edge/hearth/keys"
	"github.com/hearth-edge/hearth/p2p/app"
	"github.com/hearth-edge/hearth/protocol"
)

// webTTL is how long the page that `hearth web` opens may be used.
const webTTL = 12 * time.Hour

// openFile leads a browser to the page. Other users could read a link with a token
// in it off the browser's command line; the file is its owner's alone.
const openFile = "web.html"

func (c *cli) webCommand() *cobra.Command {
	var may, ttl string
	var printOnly bool
	cmd := &cobra.Command{
		Use:   "web",
		Short: "Open the page that shows the mesh in a browser",
		Long: `Open the page of this device in the browser: every device with its load, every
request with its output and why it runs where it does, and a form to run something.
The link is printed too, for another browser of this machine, or for

  ssh -L 7118:127.0.0.1:7118 DEVICE

It holds a token made for it, which is in 'hearth token list' and lasts for 12 hours
unless --for says otherwise. With --may read the page only shows, as on a wall.

Exit code 0 if the link is good; 125 otherwise, as where no device runs.`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			right, err := protocol.ParseRight(may)
			if err != nil {
				return fmt.Errorf("--may: %w", err)
			}
			lasts, err := parseDays(ttl)
			if err != nil {
				return fmt.Errorf("--for: %w", err)
			}
			link, err := c.webLink(right, lasts)
			if err != nil {
				return err
			}
			if !printOnly {
				c.open(link)
			}
			_, err = fmt.Fprintln(c.stdout, link)
			return err
		},
	}
	cmd.Flags().StringVar(&may, "may", "all", "what the page may do: `RIGHT` is read, run or all")
	cmd.Flags().StringVar(&ttl, "for", webTTL.String(), "how long the link is good, such as 12h or 30d")
	cmd.Flags().BoolVar(&printOnly, "print", false, "print the link alone, open no browser")
	_ = cmd.RegisterFlagCompletionFunc("may", cobra.FixedCompletions([]cobra.Completion{"read", "run", "all"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// webLink makes the address of the page, with a token of its own in the fragment:
// that part is sent to nobody.
func (c *cli) webLink(may protocol.Right, lasts time.Duration) (string, error) {
	addr, err := app.HTTP(c.state)
	if errors.Is(err, app.ErrNotRunning) {
		return "", c.notRunning()
	}
	if err != nil {
		return "", err
	}
	if addr == "" {
		return "", &failure{err: errors.New("the device that runs here answers HTTP on no port"), hint: "start it without '--http none'"}
	}
	_, token, err := c.tokens().New("web-"+strings.ToLower(rand.Text()[:6]), may, lasts)
	if err != nil {
		return "", err
	}
	link := url.URL{Scheme: "http", Host: addr, Path: "/", Fragment: "token=" + token}
	return link.String(), nil
}

// open opens the link in a browser, where there is a screen for one. Root's browser is
// nobody's.
func (c *cli) open(link string) {
	opener, err := exec.LookPath("xdg-open")
	if err != nil || os.Geteuid() == 0 || os.Getenv("DISPLAY") == "" && os.Getenv("WAYLAND_DISPLAY") == "" {
		return
	}
	path := filepath.Join(c.state, openFile)
	page := `<!doctype html><meta charset="utf-8"><title>Hearth</title><meta http-equiv="refresh" content="0;url=` + link + `">`
	if err := keys.ReplacePrivate(path, page+"\n"); err != nil {
		fmt.Fprintf(c.stderr, "no browser was opened: %v\n", err)
		return
	}
	cmd := exec.Command(opener, path)
	if err := cmd.Start(); err != nil {
		fmt.Fprintf(c.stderr, "no browser was opened: %v\n", err)
		return
	}
	_ = cmd.Process.Release() // the browser goes on
}
