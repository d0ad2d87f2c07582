package cli

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"castpoint/agent"
	"castpoint/agent/command"
	"castpoint/cmd/castpoint/terminal"
)

// Watched are the commands that can go on to show what they show.
var Watched = []string{
	"content list", "content show", "device list", "device show", "session list", "session show", "status", "dhcp leases",
	"run list", "access token list", "access user list", "audit", "log level", "assets list", "notify list",
	"lab status", "lab screen", "deployment list", "deployment show", "run show", "collection list", "collection show", "sequence list",
}

// AddWatch gives the commands that show a state the flag --watch.
func (o *Options) AddWatch(root *cobra.Command) {
	for _, path := range Watched {
		if c, rest, err := root.Find(strings.Fields(path)); err == nil && len(rest) == 0 && c.RunE != nil {
			o.watch(c)
		}
	}
}

// watch wraps a command: with --watch it runs again and again.
func (o *Options) watch(c *cobra.Command) {
	var again bool
	interval := 2 * time.Second
	c.Flags().BoolVar(&again, "watch", false, "go on until it is interrupted: drawn anew on a terminal, elsewhere when it has changed, with --json as one line each time")
	c.Flags().DurationVar(&interval, "every", interval, "with --watch: how often to look")
	once := c.RunE
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if !again {
			return once(cmd, args)
		}
		if interval < 100*time.Millisecond {
			return command.Usage("--every %s: want at least 100ms", interval)
		}
		ctx, stop := command.Interrupted(cmd.Context())
		defer stop()
		out := cmd.OutOrStdout()
		screen, isScreen := terminal.Of(out)
		cmd.SetContext(ctx)
		defer cmd.SetOut(out)
		tick := time.NewTicker(interval)
		defer tick.Stop()
		var last []byte
		for {
			b := &terminal.Shot{Width: terminal.WidthOf(out)}
			cmd.SetOut(b)
			// Exit code 3 is a state as well; what cannot be shown ends it.
			if err := once(cmd, args); err != nil && ExitCode(err) != agent.ExitPartly {
				if ctx.Err() != nil {
					return nil
				}
				return err
			}
			var err error
			switch {
			case bytes.Equal(b.Bytes(), last):
			case o.JSON:
				err = terminal.JSONLine(out, b.Bytes())
			case isScreen:
				err = terminal.Redraw(screen, cmd.CommandPath(), b.String())
			default:
				_, err = fmt.Fprintf(out, "%s\n", b.Bytes())
			}
			if err != nil {
				return err
			}
			last = b.Bytes()
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
		}
	}
}
