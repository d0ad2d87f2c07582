package command

import (
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"castpoint/agent"
	"castpoint/agent/receive"
)

// screenInterval is how often the progress line of a terminal is written anew.
const screenInterval = 200 * time.Millisecond

// NewReceive makes the command receive of the program called name.
func NewReceive(name string) *cobra.Command {
	var o receive.Options
	var json, quiet, pipe bool
	var window int64
	c := &cobra.Command{
		Use:   "receive [CONTENT] [--pipe -- PROGRAM...]",
		Short: "Receive a content by multicast into a file, a folder or onto a disk",
		Long: `Receive joins the session of a content, receives it by encrypted multicast, checks
every block against the server's manifest before it is written, and puts the file
into place. --verify-sha256 computes the SHA-256 of the whole on top of that.

Until then the file is called OUT.part, and OUT.part.json beside it holds what is
needed to go on: an interrupted receive is continued by the same command, and
needs no new token. If nothing arrives by multicast, it says what may be wrong and
fetches the content by unicast, unless the content is multicast-only.

A content of several files, as a folder of drivers, a setup medium or a split WIM,
goes into a folder that receive makes; it is called OUT.part until it is complete.

With --pipe the content goes in order to the standard input of a program, and is kept
nowhere; it cannot be continued then. At most --window waits for the program: when it
is slow, this machine falls behind and takes the rest later, and the others do not
wait. What the program prints goes to standard error, and its failure is a failure of
receive. A WIM that wimlib-imagex takes this way is made with --pipable.

On a terminal there is a progress line, otherwise one JSON object a line.

Exit codes: 0 done, 1 failed, 2 wrong call, 3 interrupted with blocks kept (run it
again to go on), 4 content not found, 5 refused.`,
		Example: `  ` + name + ` receive --server https://192.0.2.1:8443 --pin sha256:HASH --token TOKEN --out install.wim
  ` + name + ` receive --server https://192.0.2.1:8443 --pin sha256:HASH --out install.wim    (goes on)
  ` + name + ` receive --server https://192.0.2.1:8443 --pin sha256:HASH --token TOKEN --pipe -- wimlib-imagex apply - 1 /mnt`,
		Args: func(cmd *cobra.Command, args []string) error {
			if dash := cmd.ArgsLenAtDash(); dash >= 0 {
				args = args[:dash]
			}
			return cobra.MaximumNArgs(1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if dash := cmd.ArgsLenAtDash(); dash >= 0 {
				args, o.Pipe = args[:dash], args[dash:]
			}
			switch {
			case pipe && len(o.Pipe) == 0:
				return Usage("say which program: --pipe -- PROGRAM ARGUMENTS")
			case !pipe && len(o.Pipe) > 0:
				return Usage("%s after --: say --pipe if that is the program that gets the content", o.Pipe[0])
			case window < 1 || window > 1<<20:
				return Usage("--window %d: want 1 to %d MiB", window, 1<<20)
			}
			o.Window = window << 20
			if len(args) > 0 {
				o.Content = args[0]
			}
			o.Report = reporter(cmd.OutOrStdout(), json, quiet)
			ctx, stop := Interrupted(cmd.Context())
			defer stop()
			_, err := receive.Receive(ctx, o)
			return err
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&o.Server, "server", "", "join `URL` of the server, as castpoint serve prints it")
	f.StringVar(&o.Pin, "pin", "", "`HASH` of the server's certificate, as castpoint serve prints it")
	f.StringVar(&o.Token, "token", "", "one-time `TOKEN` of castpoint token create; not needed to go on")
	f.StringVar(&o.Out, "out", "", "`PATH` of the file or folder to make, or of the disk to write (all on it is lost)")
	f.BoolVar(&pipe, "pipe", false, "give the content to the program after -- instead")
	f.Int64Var(&window, "window", 256, "`MIB` that wait for the program at most")
	f.BoolVar(&o.Force, "force", false, "replace the file if it exists")
	f.StringVar(&o.Interface, "interface", "", "`NAME` of the interface to join on (default: the one that leads to the server)")
	f.StringVar(&o.Name, "name", "", "`NAME` in the server's tables (default: the host name)")
	f.BoolVar(&o.NoUnicast, "no-unicast", false, "fail when nothing comes by multicast, instead of unicast")
	f.BoolVar(&o.VerifySHA256, "verify-sha256", false, "also compute the SHA-256 of the whole; blocks are verified in any case")
	f.DurationVar(&o.Reach, "reach", 40*time.Second, "how long to ask a server that does not answer, before anything was received; -1s asks once")
	f.DurationVar(&o.Silence, "silence", 5*time.Second, "how long to wait for the first datagram")
	f.DurationVar(&o.Patience, "patience", 10*time.Minute, "how long to go on without anything new")
	f.BoolVar(&json, "json", false, "one JSON object a line, on a terminal too")
	f.BoolVar(&quiet, "quiet", false, "say nothing but errors")
	return c
}

// reporter is how a receive is shown on w.
func reporter(w io.Writer, json, quiet bool) func(agent.Event) {
	f, ok := w.(*os.File)
	if t, is := w.(interface{ Terminal() *os.File }); is { // that shows what others have written
		f, ok, w = t.Terminal(), true, t.Terminal()
	}
	switch {
	case quiet:
		return nil
	case !json && ok && term.IsTerminal(int(f.Fd())):
		return agent.ScreenReporter(w, screenInterval)
	}
	return agent.JSONReporter(w)
}
