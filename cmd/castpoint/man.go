package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"castpoint/cmd/castpoint/cli"
)

func newMan(o *cli.Options) *cobra.Command {
	return &cobra.Command{
		Use: "man FOLDER", Short: "Write manual pages of all commands", Args: cobra.ExactArgs(1),
		Long: `Man writes a manual page for every command into a folder, castpoint.1 first. The
packages have them: man castpoint, man castpoint-content-add.`,
		Example: "  castpoint man /usr/local/share/man/man1",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("write manual pages: %w", err)
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true // or every build would differ by its date
			head := &doc.GenManHeader{Title: "CASTPOINT", Section: "1", Source: "castpoint " + o.Build.Version, Manual: "castpoint"}
			if err := doc.GenManTree(root, head, args[0]); err != nil {
				return fmt.Errorf("write manual pages into %s: %w", args[0], err)
			}
			return nil
		},
	}
}
