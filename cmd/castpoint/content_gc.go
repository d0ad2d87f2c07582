package main

import (
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"castpoint/agent"
	"castpoint/web/admin"
)

func newContentGC(o *options) *cobra.Command {
	return o.addJSON(&cobra.Command{
		Use: "gc", Short: "Delete files that no content uses", Args: cobra.NoArgs,
		Long: `Gc deletes objects that no content refers to. Removing a content frees its space by
itself; this also finds what a power failure has left behind.`,
		Example: "  castpoint content gc",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var g admin.Garbage
			if err := o.call(cmd.Context(), http.MethodPost, "/garbage", nil, &g); err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), g)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "deleted %d files, %s\n", g.Objects, agent.Size(g.Bytes))
			return err
		},
	})
}
