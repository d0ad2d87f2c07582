package machines

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"castpoint/agent/command"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/dhcp/lease"
	"castpoint/point"
	"castpoint/web/call"
)

// NewDHCP are the commands about addresses.
func NewDHCP(o *cli.Options) *cobra.Command {
	return command.Group("dhcp", "Addresses and boot settings", newDHCPLeases(o), newDHCPSettings(o))
}

func newDHCPLeases(o *cli.Options) *cobra.Command {
	return o.AddJSON(&cobra.Command{
		Use: "leases", Short: "List the addresses that are given away", Args: cobra.NoArgs,
		Long: `Leases lists the addresses that the running server has given away with --dhcp server,
or, when none runs, those that the data folder remembers.`,
		Example: "  castpoint dhcp leases\n  castpoint dhcp leases --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, done, err := o.AdminRoutes(cmd.Context(), point.LocalLeases(o.Data))
			if err != nil {
				return err
			}
			defer done()
			all, err := call.List[lease.Lease](cmd.Context(), client, "/dhcp/leases")
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if o.JSON {
				return terminal.JSON(out, all)
			}
			if len(all) == 0 {
				_, err := fmt.Fprintln(out, "no address is given away")
				return err
			}
			rows := [][]string{{"ADDRESS", "MAC", "HOST NAME", "UNTIL", "UUID"}}
			for _, l := range all {
				rows = append(rows, []string{l.Address.String(), terminal.OrDash(l.MAC), terminal.OrDash(l.Hostname), l.Expires.Local().Format(time.DateTime), terminal.OrDash(l.UUID)})
			}
			return terminal.Table(out, rows)
		},
	})
}
