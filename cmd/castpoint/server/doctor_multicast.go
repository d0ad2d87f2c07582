package server

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"castpoint/agent/command"
	"castpoint/agent/probe"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/doctor"
)

// measuredMulticast is what castpoint doctor multicast --json prints.
type measuredMulticast struct {
	Measured *probe.Result    `json:"measured"`
	Findings []doctor.Finding `json:"findings"`
}

func newDoctorMulticast(o *cli.Options) *cobra.Command {
	var p probe.Options
	c := o.AddJSON(&cobra.Command{
		Use: "multicast --server URL --pin PIN --token TOKEN", Short: "Measure the way from a server's multicast to this machine", Args: cobra.NoArgs,
		Long: `Multicast asks a server for trains of datagrams, by multicast and of several sizes and rates,
looks at what arrives here, and says what to change: loss, order, the largest packet, the
highest rate, how many packets may come back to back, and with --for whether the group goes
on arriving, which without an IGMP querier it does for some minutes only.

It takes about ten seconds and up to the full rate of the link. The token is one for receive;
it is not used up. The server measures one machine at a time.

Exit codes: 0 nothing needs attention, 1 failed, 2 wrong call, 3 something needs attention,
5 refused.`,
		Example: `  castpoint doctor multicast --server https://192.0.2.1:8443 --pin sha256:HASH --token TOKEN
  castpoint doctor multicast --server https://192.0.2.1:8443 --pin sha256:HASH --token TOKEN --for 5m --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if p.For < 0 || p.For > 24*time.Hour {
				return command.Usage("--for %s: want up to 24h", p.For)
			}
			p.Say = func(s string) { fmt.Fprintln(cmd.ErrOrStderr(), "measuring "+s) }
			ctx, stop := command.Interrupted(cmd.Context())
			defer stop()
			res, err := probe.Measure(ctx, p)
			if err != nil {
				return err
			}
			found := doctor.JudgeMulticast(doctor.Multicast(*res))
			if o.JSON {
				err = terminal.JSON(cmd.OutOrStdout(), measuredMulticast{res, found})
			} else {
				err = printFindings(cmd.OutOrStdout(), found)
			}
			if n := doctor.Worst(found); err == nil && n > 0 {
				err = cli.PartlyDone(fmt.Errorf("%d of %d findings need attention", n, len(found)))
			}
			return err
		},
	})
	f := c.Flags()
	f.StringVar(&p.Server, "server", "", "join address of the server, as a `URL`")
	f.StringVar(&p.Pin, "pin", "", "hash of the server's certificate")
	f.StringVar(&p.Token, "token", "", "`TOKEN` of castpoint token create; it is not used up")
	f.StringVar(&p.Interface, "interface", "", "interface to listen on (default: the one that leads to the server)")
	f.DurationVar(&p.For, "for", 0, "how long to watch whether the group goes on arriving, as in 5m")
	return c
}
