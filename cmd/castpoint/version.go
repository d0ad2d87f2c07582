package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
)

func newVersion(o *cli.Options) *cobra.Command {
	return o.AddJSON(&cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		Example: "  castpoint version",
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := cmd.OutOrStdout()
			if o.JSON {
				return terminal.JSON(out, map[string]string{"version": o.Build.Version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH})
			}
			_, err := fmt.Fprintln(out, "castpoint", o.Build.Version)
			return err
		},
	})
}
