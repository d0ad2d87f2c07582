package server

import (
	"cmp"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"castpoint/agent"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/deploy"
	"castpoint/web/admin"
)

// NewStatus is the command that shows what a server says about itself.
func NewStatus(o *cli.Options) *cobra.Command {
	return o.AddJSON(&cobra.Command{
		Use: "status", Short: "Say what the running server does and sees", Args: cobra.NoArgs,
		Long: `Status prints what the running server serves, which contents are damaged, and which other
DHCP and PXE servers it has seen on its networks.`,
		Example: "  castpoint status\n  castpoint status --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var s admin.Status
			if err := o.Call(cmd.Context(), http.MethodGet, "/status", nil, &s); err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if o.JSON {
				return terminal.JSON(out, s)
			}
			rows := [][]string{{"data", s.Data}, {"contents", strconv.Itoa(s.Contents)}, {"pin", s.Pin}}
			for _, id := range s.Damaged {
				rows = append(rows, []string{"DAMAGED", "content " + id + ": castpoint content show " + id + " says how, castpoint content repair " + id + " mends it"})
			}
			for _, p := range s.Problems {
				rows = append(rows, []string{"PROBLEM", p})
			}
			if s.Network == nil {
				rows = append([][]string{{"server", "not running"}}, rows...)
				return terminal.Table(out, rows)
			}
			n := s.Network
			rows = append([][]string{{"server", s.Version + ", since " + s.Started.Local().Format(time.DateTime)}, {"join", s.Join}}, rows...)
			if all, waiting := waitingDevices(s.Devices); all > 0 {
				text := strconv.Itoa(all) + " on record"
				if waiting > 0 {
					text += fmt.Sprintf(", %d waiting for approval: castpoint device list --state waiting", waiting)
				}
				rows = append(rows, []string{"devices", text})
			}
			if s.EventsLost > 0 {
				rows = append(rows, []string{"events lost", fmt.Sprintf("%d: they came faster than they could be kept", s.EventsLost)})
			}
			rows = append(rows, []string{"sessions", strconv.Itoa(s.Sessions)}, []string{"assigned", terminal.OrDash(s.Assigned)})
			for _, u := range s.Uploads {
				text := fmt.Sprintf("%s of %s, %s", cmp.Or(u.File, "an export"), u.Who, agent.Size(u.Done))
				if u.Total > 0 {
					text += " of " + agent.Size(u.Total)
				}
				rows = append(rows, []string{"upload", text})
			}
			for _, i := range n.Interfaces {
				rows = append(rows, []string{"interface", i})
			}
			if n.DHCP6 {
				n.DHCP += ", and DHCPv6"
			}
			rows = append(rows, []string{"dhcp", fmt.Sprintf("%s; %d of %d packets answered", n.DHCP, n.Answered, n.Requests)})
			if n.Malformed+n.Limited+n.Dropped > 0 {
				rows = append(rows, []string{"ignored", fmt.Sprintf("%d malformed packets, %d of machines that ask too often, %d because of overload", n.Malformed, n.Limited, n.Dropped)})
			}
			if n.Leases > 0 {
				rows = append(rows, []string{"leases", strconv.Itoa(n.Leases)})
			}
			for _, other := range n.Others {
				text := fmt.Sprintf("%s at %s on %s", other.What, other.Address, other.Interface)
				if other.Trouble != "" {
					text += ": " + other.Trouble
				}
				rows = append(rows, []string{"seen", text})
			}
			return terminal.Table(out, rows)
		},
	})
}

// waitingDevices counts the devices, and those that wait for approval.
func waitingDevices(n map[deploy.State]int) (all, waiting int) {
	for state, count := range n {
		all += count
		if state == deploy.StateWaiting {
			waiting = count
		}
	}
	return all, waiting
}
