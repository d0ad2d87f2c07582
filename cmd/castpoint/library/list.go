package library

import (
	"time"

	"github.com/spf13/cobra"

	"castpoint/agent"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/content"
)

func newList(o *cli.Options) *cobra.Command {
	return cli.List[content.Content]{
		Short: "List what is in the library", Example: `  castpoint content list
  castpoint content list --json`,
		Path: "/contents", Empty: "the library is empty: add an image with castpoint content add",
		Heads: []string{"ID", "KIND", "NAME", "VERSION", "ARCH", "SIZE", "MULTICAST", "VALIDATED"},
		Row: func(c content.Content) []string {
			return []string{c.ID, string(c.Kind), c.Name, terminal.OrDash(c.Version), terminal.OrDash(c.Arch), agent.Size(c.Size()), travels(c.Distribution), checkedShort(c.Checked)}
		},
	}.Command(o)
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
