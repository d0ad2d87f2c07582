package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

func newVersion(o *options) *cobra.Command {
	return o.addJSON(&cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		Example: "  castpoint version",
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := cmd.OutOrStdout()
			if o.json {
				return printJSON(out, map[string]string{"version": o.build.Version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH})
			}
			_, err := fmt.Fprintln(out, "castpoint", o.build.Version)
			return err
		},
	})
}
