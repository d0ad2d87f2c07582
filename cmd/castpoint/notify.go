package main

import (
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"castpoint/internal/notice"
	"castpoint/point"
	"castpoint/web/call"
)

func newNotifyList(o *options) *cobra.Command {
	return o.addJSON(&cobra.Command{
		Use: "list", Short: "Show by which ways people are told, and how each went last", Args: cobra.NoArgs,
		Example: "  castpoint notify list",
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, done, err := o.adminRoutes(cmd.Context(), point.OnlyRunning)
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

func newNotifyTest(o *options) *cobra.Command {
	return o.addJSON(&cobra.Command{
		Use: "test", Short: "Tell people that this is a test", Args: cobra.NoArgs,
		Long: `Test sends a message by every webhook and mail server of the settings, once, and says
how it went. Its exit code is 3 when some have failed, and 1 when all have.`,
		Example: "  castpoint notify test",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var got point.Channels
			if err := o.callWith(cmd.Context(), point.OnlyRunning, http.MethodPost, "/notify/test", nil, &got); err != nil {
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
			return &partly{fmt.Errorf("%d of %d have failed", failed, len(got.Items))}
		},
	})
}

func printChannels(o *options, out io.Writer, list []notice.Channel) error {
	if o.json {
		return printJSON(out, list)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(out, "nobody is told of anything: set notify-webhook or notify-mail")
		return err
	}
	rows := [][]string{{"WAY", "TOLD", "FAILED", "WHY"}}
	for _, c := range list {
		rows = append(rows, []string{c.Name, when(c.Sent), when(c.Failed), orDash(c.Error)})
	}
	return table(out, rows)
}
