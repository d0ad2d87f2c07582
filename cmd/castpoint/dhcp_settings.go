package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"

	"github.com/spf13/cobra"

	"castpoint/agent/command"
	"castpoint/dhcp"
	"castpoint/web/api"
)

// products are the DHCP servers that settings are written for.
func products() []string {
	return []string{dhcp.ProductKea, dhcp.ProductDnsmasq, dhcp.ProductWindows}
}

// foreignSettings are the settings of another DHCP server.
type foreignSettings struct {
	Product string `json:"product"`
	Server  string `json:"server"` // this server's address in them
	Text    string `json:"text"`
	// Missing names the kinds of firmware that are not served, with the reason.
	Missing map[string]string `json:"missing,omitempty"`
}

func (e *explainer) settings(product, server string) (*foreignSettings, error) {
	if !slices.Contains(products(), product) {
		return nil, api.Problem(http.StatusBadRequest, "", "no settings for %q: known are %v", product, products())
	}
	addr := e.links[0].addr
	if server != "" {
		var err error
		if addr, err = netip.ParseAddr(server); err != nil {
			return nil, api.Problem(http.StatusBadRequest, "", "server %q: want an address", server)
		}
	}
	all := dhcp.ExternalSettings(e.planner.General(), addr)
	var b bytes.Buffer
	if err := dhcp.WriteSettings(&b, product, all); err != nil {
		return nil, err
	}
	f := &foreignSettings{Product: product, Server: addr.String(), Text: b.String(), Missing: map[string]string{}}
	for _, s := range all {
		if s.Missing != "" {
			f.Missing[s.Name] = s.Missing
		}
	}
	return f, nil
}

func newDHCPSettings(o *options) *cobra.Command {
	var path, server string
	c := o.addJSON(&cobra.Command{
		Use: "settings {kea|dnsmasq|windows}", Short: "Print what another DHCP server has to say",
		Long: `Settings prints what the network's own DHCP server has to answer so that machines boot
from castpoint, for servers that run with --dhcp off: client classes for ISC Kea,
lines for dnsmasq.conf, or PowerShell for Windows Server. With an IPv6 address as
--server they are those of the network's DHCPv6 server.`,
		Example: `  castpoint dhcp settings kea
  castpoint dhcp settings dnsmasq --server 192.0.2.1 > /etc/dnsmasq.d/castpoint.conf
  castpoint dhcp settings kea --server 2001:db8::1`,
		Args: cobra.ExactArgs(1), ValidArgs: products(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(products(), args[0]) {
				return command.Usage("no settings for %q: want kea, dnsmasq or windows", args[0])
			}
			if _, err := netip.ParseAddr(server); server != "" && err != nil {
				return command.Usage("server %q: want an address", server)
			}
			var f foreignSettings
			query := "?" + url.Values{"product": args, "server": {server}}.Encode()
			if err := o.callWith(cmd.Context(), localExplain(path, o.data), http.MethodGet, "/dhcp/settings"+query, nil, &f); err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), f)
			}
			_, err := fmt.Fprint(cmd.OutOrStdout(), f.Text)
			return err
		},
	})
	configFlag(c, &path)
	c.Flags().StringVar(&server, "server", "", "`ADDRESS` of castpoint as machines reach it (default: that of its first interface)")
	return c
}
