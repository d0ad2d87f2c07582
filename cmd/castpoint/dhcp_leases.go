package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"castpoint/dhcp"
	"castpoint/point"
	"castpoint/web/call"
)

func newDHCPLeases(o *options) *cobra.Command {
	return o.addJSON(&cobra.Command{
		Use: "leases", Short: "List the addresses that are given away", Args: cobra.NoArgs,
		Long: `Leases lists the addresses that the running server has given away with --dhcp server,
or, when none runs, those that the data folder remembers.`,
		Example: "  castpoint dhcp leases\n  castpoint dhcp leases --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, done, err := o.adminRoutes(cmd.Context(), point.LocalLeases(o.data))
			if err != nil {
				return err
			}
			defer done()
			all, err := call.List[dhcp.Lease](cmd.Context(), client, "/dhcp/leases")
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if o.json {
				return printJSON(out, all)
			}
			if len(all) == 0 {
				_, err := fmt.Fprintln(out, "no address is given away")
				return err
			}
			rows := [][]string{{"ADDRESS", "MAC", "HOST NAME", "UNTIL", "UUID"}}
			for _, l := range all {
				rows = append(rows, []string{l.Address.String(), orDash(l.MAC), orDash(l.Hostname), l.Expires.Local().Format(time.DateTime), orDash(l.UUID)})
			}
			return table(out, rows)
		},
	})
}
