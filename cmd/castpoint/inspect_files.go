package main

import (
	"github.com/spf13/cobra"

	"castpoint/point"
)

// newInspectFiles is the command that castpoint runs itself, with limits, before it
// reads files that somebody has sent. It prints nothing.
func newInspectFiles() *cobra.Command {
	return &cobra.Command{
		Use: point.CommandInspect, Short: "Inspect files in a process with limits", Hidden: true, Args: cobra.NoArgs,
		Example: "  castpoint " + point.CommandInspect + " < REQUEST",
		RunE:    func(cmd *cobra.Command, _ []string) error { return point.Inspect(cmd.Context(), cmd.InOrStdin()) },
	}
}
