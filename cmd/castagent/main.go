// Command castagent is castpoint's program on the machines that receive: it runs
// in the boot environment, and in any other system for a single receive.
package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"castpoint/agent"
	"castpoint/agent/command"
)

// version is stamped by the linker.
var version = "unknown"

func main() {
	os.Exit(execute(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := command.Group("castagent", "Receives contents of a castpoint distribution point",
		newRun(), newContinue(), command.NewReceive("castagent"), newVersion())
	return command.Execute(ctx, root, args, stdout, stderr, agent.ExitCode)
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		Example: "  castagent version",
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "castagent", version)
			return err
		},
	}
}
