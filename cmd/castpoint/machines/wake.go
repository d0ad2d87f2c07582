package machines

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/web/admin/deployments"
)

func newDeviceWake(o *cli.Options) *cobra.Command {
	return o.AddJSON(&cobra.Command{
		Use: "wake ID", Short: "Send a device Wake-on-LAN packets", Args: cobra.ExactArgs(1), Long: "Wake sends Wake-on-LAN packets to all cards of a device.\n\n" + deviceIDs,
		Example: "  castpoint device wake pc-17",
		RunE: func(cmd *cobra.Command, args []string) error {
			var macs deployments.Names
			if err := o.Call(cmd.Context(), http.MethodPost, DevicePath(args[0], "/wake"), nil, &macs); err != nil {
				return err
			}
			if o.JSON {
				return terminal.JSON(cmd.OutOrStdout(), macs.Items)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "packets were sent to %s\n", strings.Join(macs.Items, ", "))
			return err
		},
	})
}
