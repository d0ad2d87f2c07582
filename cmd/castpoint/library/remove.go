package library

import (
	"fmt"
	"net/http"
	"net/url"

	"castpoint/cmd/castpoint/cli"

	"github.com/spf13/cobra"
)

func newRemove(o *cli.Options) *cobra.Command {
	return &cobra.Command{
		Use: "remove ID", Short: "Remove a content from the library", Args: cobra.ExactArgs(1),
		Long: `Remove takes a content out of the library and frees its disk space. It is refused
while the content is being sent or is assigned to machines.`,
		Example: "  castpoint content remove win10",
		RunE: func(cmd *cobra.Command, args []string) error {
			client, done, err := o.Admin(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			if err := client.Call(cmd.Context(), http.MethodDelete, "/contents/"+url.PathEscape(args[0]), nil, nil); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "removed %s\n", args[0])
			return err
		},
	}
}
