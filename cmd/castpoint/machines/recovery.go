package machines

import (
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/web/admin/deployments"
)

func newDeviceRecovery(o *cli.Options) *cobra.Command {
	return o.AddJSON(&cobra.Command{
		Use: "recovery ID", Short: "Show the recovery passwords of a device's encrypted volumes", Args: cobra.ExactArgs(1),
		Long: `Recovery shows what opens the volumes that enable-bitlocker steps of a device have
encrypted with recovery: server, the newest first. It needs the scope admin, and each
look is in the audit log. ` + deviceIDs,
		Example: "  castpoint device recovery pc-17",
		RunE: func(cmd *cobra.Command, args []string) error {
			var got deployments.Recoveries
			if err := o.Call(cmd.Context(), http.MethodPost, DevicePath(args[0], "/recovery"), nil, &got); err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			switch {
			case o.JSON:
				return terminal.JSON(out, got.Items)
			case len(got.Items) == 0:
				_, err := fmt.Fprintln(out, "no recovery passwords of this device are kept")
				return err
			}
			rows := [][]string{{"TIME", "STEP", "RUN", "PASSWORD"}}
			for _, r := range got.Items {
				rows = append(rows, []string{terminal.When(r.Time), r.Step, r.Run, r.Password})
			}
			return terminal.Table(out, rows)
		},
	})
}
