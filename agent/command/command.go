// Package command holds the command that castpoint and castagent have in
// common, and how both end.
package command

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"castpoint/agent"
)

// Execute runs a program's command line and returns its exit code. It is the one
// place where errors become messages and codes.
func Execute(ctx context.Context, root *cobra.Command, args []string, stdout, stderr io.Writer, code func(error) int) int {
	root.SilenceUsage, root.SilenceErrors = true, true
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.CompletionOptions.HiddenDefaultCmd = true
	// Whatever fails before a command runs is a wrong call.
	ran := false
	root.PersistentPreRun = func(*cobra.Command, []string) { ran = true }
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return agent.ExitDone
	}
	fmt.Fprintf(stderr, "%s: %v\n", root.Name(), err)
	if !ran {
		fmt.Fprintf(stderr, "%s --help shows how it is called\n", cmd.CommandPath())
		return agent.ExitUsage
	}
	return code(err)
}

// Group makes a command that only holds others: called alone it shows its help.
func Group(use, short string, children ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(children...)
	return c
}

// Interrupted is a context that ends with SIGINT or SIGTERM. A second signal
// ends the program at once, as the system does it.
func Interrupted(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	release := context.AfterFunc(ctx, stop)
	return ctx, func() { release(); stop() }
}

// Usage marks an error of a command as a wrong call.
func Usage(format string, args ...any) error {
	return &quiet{agent.ErrUsage, fmt.Errorf(format, args...)}
}

// quiet is an error whose kind is not in its text.
type quiet struct{ kind, text error }

func (q *quiet) Error() string   { return q.text.Error() }
func (q *quiet) Unwrap() []error { return []error{q.kind, q.text} }
