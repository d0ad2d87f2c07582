package server

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/point"
)

// NewReload is the command that has a server read its settings again.
func NewReload(o *cli.Options) *cobra.Command {
	return o.AddJSON(&cobra.Command{
		Use: "reload", Short: "Let the running server read its settings again", Args: cobra.NoArgs,
		Long: `Reload lets the running server read its file of settings again, as SIGHUP does. The new
state is made beside the old one; when something is wrong with it, nothing changes.
Sockets stay open, and transfers and sessions go on. Settings of listeners, interfaces,
address pools, TFTP and HTTP limits need a restart: castpoint config show --all --json
says which.

Exit codes: 0 all that has changed is in force, 1 the settings are wrong, 3 some of them
need a restart.`,
		Example: "  castpoint reload\n  kill -HUP $(pidof castpoint)",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var res point.Reloaded
			if err := o.CallWith(cmd.Context(), point.OnlyRunning, http.MethodPost, "/reload", nil, &res); err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if o.JSON {
				if err := terminal.JSON(out, res); err != nil {
					return err
				}
			} else if len(res.Changed) == 0 {
				fmt.Fprintln(out, "nothing has changed")
			} else {
				fmt.Fprintln(out, "in force now: "+strings.Join(res.Changed, ", "))
			}
			if len(res.Restart) > 0 {
				return cli.PartlyDone(fmt.Errorf("these need a restart: %s", strings.Join(slices.Clone(res.Restart), ", ")))
			}
			return nil
		},
	})
}
