package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"

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
			return ragged(args[0])
		},
	}
}

// ragged lets the lines of manual pages end where words do: names of commands and of files
// are not hyphenated, and need no room between words.
func ragged(dir string) error {
	pages, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil {
		return err
	}
	for _, page := range pages {
		b, err := os.ReadFile(page)
		if err != nil {
			return fmt.Errorf("write manual pages: %w", err)
		}
		b = regexp.MustCompile(`(?m)^\.TH .*\n`).ReplaceAll(b, []byte("$0.nh\n.ad l\n"))
		if err := os.WriteFile(page, b, 0o644); err != nil {
			return fmt.Errorf("write manual pages: %w", err)
		}
	}
	return nil
}
