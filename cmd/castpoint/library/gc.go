package library

import (
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"castpoint/agent"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/web/admin/contents"
)

func newGC(o *cli.Options) *cobra.Command {
	return o.AddJSON(&cobra.Command{
		Use: "gc", Short: "Delete files that no content uses", Args: cobra.NoArgs,
		Long: `Gc deletes objects that no content refers to. Removing a content frees its space by
itself; this also finds what a power failure has left behind.`,
		Example: "  castpoint content gc",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var g contents.Garbage
			if err := o.Call(cmd.Context(), http.MethodPost, "/garbage", nil, &g); err != nil {
				return err
			}
			if o.JSON {
				return terminal.JSON(cmd.OutOrStdout(), g)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "deleted %d files, %s\n", g.Objects, agent.Size(g.Bytes))
			return err
		},
	})
}
