package server

import (
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"castpoint/agent/command"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/internal/notice"
	"castpoint/point"
	"castpoint/web/call"
)

// NewNotify are the commands about notices.
func NewNotify(o *cli.Options) *cobra.Command {
	return command.Group("notify", "Tell people that something needs them", newNotifyList(o), newNotifyTest(o))
}

func newNotifyList(o *cli.Options) *cobra.Command {
	return o.AddJSON(&cobra.Command{
		Use: "list", Short: "Show by which ways people are told, and how each went last", Args: cobra.NoArgs,
		Example: "  castpoint notify list",
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, done, err := o.AdminRoutes(cmd.Context(), point.OnlyRunning)
			if err != nil {
				return err
			}
			defer done()
			list, err := call.List[notice.Channel](cmd.Context(), client, "/notify")
			if err != nil {
				return err
			}
			return printChannels(o, cmd.OutOrStdout(), list)
		},
	})
}

func newNotifyTest(o *cli.Options) *cobra.Command {
	return o.AddJSON(&cobra.Command{
		Use: "test", Short: "Tell people that this is a test", Args: cobra.NoArgs,
		Long: `Test sends a message by every webhook and mail server of the settings, once, and says
how it went. Its exit code is 3 when some have failed, and 1 when all have.`,
		Example: "  castpoint notify test",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var got point.Channels
			if err := o.CallWith(cmd.Context(), point.OnlyRunning, http.MethodPost, "/notify/test", nil, &got); err != nil {
				return err
			}
			if err := printChannels(o, cmd.OutOrStdout(), got.Items); err != nil {
				return err
			}
			failed := 0
			for _, c := range got.Items {
				if c.Error != "" {
					failed++
				}
			}
			switch {
			case failed == 0:
				return nil
			case failed == len(got.Items):
				return fmt.Errorf("nobody was told: %s", got.Items[0].Error)
			}
			return cli.PartlyDone(fmt.Errorf("%d of %d have failed", failed, len(got.Items)))
		},
	})
}

func printChannels(o *cli.Options, out io.Writer, list []notice.Channel) error {
	if o.JSON {
		return terminal.JSON(out, list)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(out, "nobody is told of anything: set notify-webhook or notify-mail")
		return err
	}
	rows := [][]string{{"WAY", "TOLD", "FAILED", "WHY"}}
	for _, c := range list {
		rows = append(rows, []string{c.Name, terminal.When(c.Sent), terminal.When(c.Failed), terminal.OrDash(c.Error)})
	}
	return terminal.Table(out, rows)
}
