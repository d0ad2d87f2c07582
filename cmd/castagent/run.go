package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"castpoint/agent"
	"castpoint/agent/command"
	"castpoint/agent/platform"
	"castpoint/agent/run"
)

// consoleInterval is how often the progress line is written on a console, which
// may be a serial line.
const consoleInterval = time.Second

func newRun() *cobra.Command {
	var fromCmdline bool
	var path string
	var reach time.Duration
	c := &cobra.Command{
		Use:   "run --from-cmdline",
		Short: "Do what the server has for this machine (in the boot environment)",
		Long: `Run reads castpoint.server, castpoint.pin, castpoint.token and castpoint.mac from the
kernel command line, or in Windows PE from the file that --cmdline names, asks the
server what this machine is to do, and does it. While nothing is assigned to the
machine it waits. In Windows PE it brings the network up first.

On a screen it shows where it is; with castpoint.prompt F8 opens a command prompt. On
a serial line it says so in lines.

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
			boot, err := run.ParseCmdline(string(text))
			if err != nil {
				return err
			}
			ctx, stop := command.Interrupted(cmd.Context())
			defer stop()
			return runOn(ctx, platform.New(), cmd.OutOrStdout(), boot, reach)
		},
	}
	c.Flags().BoolVar(&fromCmdline, "from-cmdline", false, "take server, pin, token and MAC from the kernel command line")
	c.Flags().StringVar(&path, "cmdline", "/proc/cmdline", "`FILE` with the kernel command line")
	c.Flags().DurationVar(&reach, "reach", 40*time.Second, "how long to ask a server that does not answer at first; -1s asks once")
	return c
}

// runOn brings the platform up and runs the agent on it.
func runOn(ctx context.Context, p platform.Platform, out io.Writer, boot run.Boot, reach time.Duration) (err error) {
	o := run.Options{
		Boot: boot, Reach: reach, SetClock: p.SetClock,
		Say: func(s string) { fmt.Fprintln(out, s) }, Report: agent.ScreenReporter(out, consoleInterval),
	}
	note := func(func(*platform.Status)) {}
	var screen *platform.Screen
	if console := p.Console(out); console != nil {
		screen = platform.NewScreen(ctx, console, platform.Status{Device: boot.MAC, Server: boot.Server, Prompt: boot.Prompt}, p.Prompt)
		defer func() {
			if err != nil {
				screen.Say(err.Error())
			}
			_ = screen.Close()
		}()
		o.Say, o.Report, note = screen.Say, screen.Report, screen.Update
	}
	note(func(s *platform.Status) { s.Step = "waiting for the network" })
	cards, err := p.Network(ctx, boot.MAC, o.Say)
	if err != nil {
		return err
	}
	if o.Tasks, err = newTasks(out, o.Say, screen); err != nil {
		return err
	}
	note(func(s *platform.Status) {
		s.Address = platform.AddressOf(cards, boot.MAC)
		s.Step = "asking the server what to do"
	})
	return run.Run(ctx, o)
}
