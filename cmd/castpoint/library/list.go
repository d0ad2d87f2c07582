package library

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"castpoint/agent"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/content"
	"castpoint/web/call"
)

func newList(o *cli.Options) *cobra.Command {
	return o.AddJSON(&cobra.Command{
		Use: "list", Short: "List what is in the library", Args: cobra.NoArgs,
		Example: `  castpoint content list
  castpoint content list --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, done, err := o.Admin(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			list, err := call.List[content.Content](cmd.Context(), client, "/contents")
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if o.JSON {
				return terminal.JSON(out, list)
			}
			if len(list) == 0 {
				_, err := fmt.Fprintln(out, "the library is empty: add an image with castpoint content add")
				return err
			}
			rows := [][]string{{"ID", "KIND", "NAME", "VERSION", "ARCH", "SIZE", "MULTICAST", "VALIDATED"}}
			for _, c := range list {
				rows = append(rows, []string{c.ID, string(c.Kind), c.Name, terminal.OrDash(c.Version), terminal.OrDash(c.Arch), agent.Size(c.Size()), travels(c.Distribution), checkedShort(c.Checked)})
			}
			return terminal.Table(out, rows)
		},
	})
}

// travels says in a word how a content may travel.
func travels(d content.Distribution) string {
	switch {
	case d.MulticastOnly:
		return "only"
	case d.Multicast:
		return "yes"
	}
	return "no"
}

// checkedShort is when a content was last validated, or that it is damaged.
func checkedShort(c *content.Checked) string {
	switch {
	case c == nil:
		return "-"
	case c.Problem != "":
		return "DAMAGED"
	}
	return c.Time.Local().Format(time.DateOnly)
}
