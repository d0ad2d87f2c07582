package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"castpoint/agent"
	"castpoint/agent/command"
	"castpoint/agent/facts"
	"castpoint/agent/machine"
	"castpoint/agent/platform"
	"castpoint/agent/resident"
	"castpoint/agent/run"
)

func newContinue() *cobra.Command {
	var settings string
	var service bool
	c := &cobra.Command{
		Use:   "continue",
		Short: "Go on with a task sequence in the system that it has installed",
		Long: `Continue goes on with the task sequence that has installed this operating system. The
boot environment leaves the agent in the system, with its settings beside it and a
service or unit that starts it; nobody has to call it.

At the end of the sequence the agent takes itself out of the system again.

Exit codes: 0 done or about to restart, 1 failed (started again in a while).`,
		Example: "  castagent continue --from /usr/local/lib/castpoint-continue/run.json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if settings == "" {
				own, err := os.Executable()
				if err != nil {
					return err
				}
				settings = resident.SettingsBeside(own)
			}
			goOn := func(ctx context.Context) error {
				say := func(s string) { fmt.Fprintln(cmd.OutOrStdout(), "castpoint:", s) }
				return continueRun(ctx, cmd, settings, say)
			}
			if service {
				// Services have no console.
				log, err := os.OpenFile(filepath.Join(filepath.Dir(settings), "agent.log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
				if err != nil {
					return err
				}
				defer log.Close()
				cmd.SetOut(log)
				return runService(cmd.Context(), resident.Name, goOn)
			}
			ctx, stop := command.Interrupted(cmd.Context())
			defer stop()
			return goOn(ctx)
		},
	}
	c.Flags().StringVar(&settings, "from", "", "`FILE` with the settings of the run (default: run.json beside the program)")
	c.Flags().BoolVar(&service, "service", false, "run as a service of Windows")
	return c
}

// continueRun goes on with the run, and restarts the machine when that comes next.
func continueRun(ctx context.Context, cmd *cobra.Command, settings string, say func(string)) error {
	if err := platform.AwaitSetup(ctx, say); err != nil {
		return err
	}
	m, err := machine.NewOnDisk(resident.WorkBeside(settings))
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	after, err := run.Continue(ctx, run.ContinueOptions{
		Settings: settings, Say: say, Report: agent.ScreenReporter(out, consoleInterval),
		Tasks: run.TaskOptions{Machine: m, Facts: facts.Read(), Person: platform.NewPerson(out, say, nil)},
	})
	if err != nil || after == "" {
		return err
	}
	say("now: " + after)
	if err := platform.Down(ctx, after == "reboot"); err != nil {
		return err
	}
	// The system ends this program; what it has not ended after a while it will not.
	select {
	case <-ctx.Done():
	case <-time.After(downPatience):
	}
	return nil
}

// downPatience is how long the end of the system is waited for.
const downPatience = 5 * time.Minute
