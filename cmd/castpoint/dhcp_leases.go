package main

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"castpoint/content"
	"castpoint/dhcp"
	"castpoint/web"
)

// currentLeases are the addresses that are given away, in order.
func (p *point) currentLeases(http.ResponseWriter, *http.Request) (any, error) {
	if dhcp.Mode(p.cfg.DHCP) != dhcp.ModeServer {
		return nil, web.NewProblem(http.StatusConflict, "--dhcp server does", "this server runs with --dhcp %s and gives no addresses", p.cfg.DHCP)
	}
	return p.leases(), nil
}

func (p *point) leases() []dhcp.Lease {
	now, all := time.Now(), []dhcp.Lease{}
	if l := p.dhcp.Leases(); l != nil {
		all = append(all, l.Current(now)...)
	}
	if l := p.dhcp.Leases6(); l != nil {
		for _, six := range l.Current(now) {
			all = append(all, dhcp.Lease{Address: six.Address, Key: six.Key, MAC: six.MAC, UUID: six.UUID, Expires: six.Expires, Declined: six.Declined})
		}
	}
	sortLeases(all)
	return all
}

func sortLeases(all []dhcp.Lease) {
	slices.SortFunc(all, func(a, b dhcp.Lease) int { return a.Address.Compare(b.Address) })
}

// storedLeases are those in the data folder of a server that does not run.
func storedLeases(data string) (all []dhcp.Lease, err error) {
	j, err := dhcp.OpenJournal(filepath.Join(data, fileLeases))
	if err != nil {
		return nil, err
	}
	defer func() {
		if closeErr := j.Close(); err == nil {
			err = closeErr
		}
	}()
	stored, err := j.Load()
	if err != nil {
		return nil, err
	}
	all = []dhcp.Lease{}
	for _, l := range stored {
		if !l.Declined && l.Expires.After(time.Now()) {
			all = append(all, l)
		}
	}
	sortLeases(all)
	return all, nil
}

func newDHCPLeases(o *options) *cobra.Command {
	return o.addJSON(&cobra.Command{
		Use: "leases", Short: "List the addresses that are given away", Args: cobra.NoArgs,
		Long: `Leases lists the addresses that the running server has given away with --dhcp server,
or, when none runs, those that the data folder remembers.`,
		Example: "  castpoint dhcp leases\n  castpoint dhcp leases --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			all := []dhcp.Lease{}
			// Without a server the library is open here, and nobody writes the journal.
			local := func(*content.Library, *records) ([]web.Route, error) {
				return []web.Route{{Pattern: "GET /dhcp/leases", Answer: func(http.ResponseWriter, *http.Request) (any, error) {
					return storedLeases(o.data)
				}}}, nil
			}
			err := o.callWith(cmd.Context(), local, http.MethodGet, "/dhcp/leases", nil, &all)
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

// callWith is call for requests that only a serving point knows; local are their
// stand-ins when no server runs.
func (o *options) callWith(ctx context.Context, local localRoutes, method, path string, body, answer any) error {
	client, done, err := o.adminRoutes(ctx, local)
	if err != nil {
		return err
	}
	defer done()
	return client.Call(ctx, method, path, body, answer)
}
