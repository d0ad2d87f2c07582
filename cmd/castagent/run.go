package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"castpoint/agent"
	"castpoint/agent/command"
)

// consoleInterval is how often the progress line is written on a console, which
// may be a serial line.
const consoleInterval = time.Second

func newRun() *cobra.Command {
	var fromCmdline bool
	var path string
	c := &cobra.Command{
		Use:   "run --from-cmdline",
		Short: "Do what the server has for this machine (in the boot environment)",
		Long: `Run reads castpoint.server, castpoint.pin, castpoint.token and castpoint.mac from the
kernel command line, asks the server what this machine is to do, and does it. While
nothing is assigned to the machine it waits.

When it is done, /run/castpoint/after says what the boot environment is to do next:
poweroff, reboot, shell or stay.

Exit codes: 0 done, 1 failed (worth another try), 2 wrong call, 3 interrupted with
blocks kept, 4 content not found, 5 refused.`,
		Example: "  castagent run --from-cmdline",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !fromCmdline {
				return command.Usage("say --from-cmdline: the settings of a machine come from its kernel command line")
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return fmt.Errorf("read the kernel command line: %w", err)
			}
			boot, err := agent.ParseCmdline(string(text))
			if err != nil {
				return err
			}
			ctx, stop := command.Interrupted(cmd.Context())
			defer stop()
			out := cmd.OutOrStdout()
			return agent.Run(ctx, agent.RunOptions{
				Boot: boot, Say: func(s string) { fmt.Fprintln(out, s) },
				Report: agent.ScreenReporter(out, consoleInterval),
			})
		},
	}
	c.Flags().BoolVar(&fromCmdline, "from-cmdline", false, "take server, pin, token and MAC from the kernel command line")
	c.Flags().StringVar(&path, "cmdline", "/proc/cmdline", "`FILE` with the kernel command line")
	return c
}
