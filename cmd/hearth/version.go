package main

import (
	"encoding/json"
	"fmt"
	goruntime "runtime"

	"github.com/spf13/cobra"

	"github.com/hearth-edge/hearth/protocol"
)

// version is set by the linker.
var version = "dev"

func (c *cli) versionCommand() *cobra.Command {
	var asJSON, asBOM bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show the version, and what this program is made of",
		Long: `Show the version. With --sbom, show the licence of this program and all modules
that are linked into it, with their versions and licences, as a CycloneDX 1.5
bill of materials in JSON.`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			if asBOM {
				return writeBOM(c.stdout)
			}
			if asJSON {
				return json.NewEncoder(c.stdout).Encode(map[string]any{
					"version": version, "go": goruntime.Version(), "os": goruntime.GOOS, "arch": goruntime.GOARCH,
					"protocols": []string{protocol.AppProtocol, protocol.ExecuteProtocol},
				})
			}
			return c.printVersion()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&asBOM, "sbom", false, "print the software bill of materials")
	exclusive(cmd, "json", "sbom")
	return cmd
}

func (c *cli) printVersion() error {
	_, err := fmt.Fprintf(c.stdout, "hearth %s (%s, %s/%s)\n", version, goruntime.Version(), goruntime.GOOS, goruntime.GOARCH)
	return err
}
