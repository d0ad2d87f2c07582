package machines

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"

	"github.com/spf13/cobra"

	"castpoint/agent/command"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/point"
	"castpoint/point/explain"
)

func newDHCPSettings(o *cli.Options) *cobra.Command {
	var path, address string
	c := o.AddJSON(&cobra.Command{
		Use: "settings {kea|dnsmasq|windows}", Short: "Print what another DHCP server has to say",
		Long: `Settings prints what the network's own DHCP server has to answer so that machines boot
from castpoint, for servers that run with --dhcp off: client classes for ISC Kea,
lines for dnsmasq.conf, or PowerShell for Windows Server. With an IPv6 address as
--address they are those of the network's DHCPv6 server.`,
		Example: `  castpoint dhcp settings kea
  castpoint dhcp settings dnsmasq --address 192.0.2.1 > /etc/dnsmasq.d/castpoint.conf
  castpoint dhcp settings kea --address 2001:db8::1`,
		Args: cobra.ExactArgs(1), ValidArgs: explain.Products(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(explain.Products(), args[0]) {
				return command.Usage("no settings for %q: want kea, dnsmasq or windows", args[0])
			}
			if _, err := netip.ParseAddr(address); address != "" && err != nil {
				return command.Usage("--address %q: want an address", address)
			}
			var f explain.ForeignSettings
			query := "?" + url.Values{"product": args, "server": {address}}.Encode()
			if err := o.CallWith(cmd.Context(), point.LocalExplain(path, o.Data), http.MethodGet, "/dhcp/settings"+query, nil, &f); err != nil {
				return err
			}
			if o.JSON {
				return terminal.JSON(cmd.OutOrStdout(), f)
			}
			_, err := fmt.Fprint(cmd.OutOrStdout(), f.Text)
			return err
		},
	})
	cli.ConfigFlag(c, &path)
	c.Flags().StringVar(&address, "address", "", "`ADDRESS` of castpoint as machines reach it (default: that of its first interface)")
	return c
}
