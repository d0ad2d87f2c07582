package main

import (
	"github.com/spf13/cobra"

	"castpoint/point"
	"castpoint/web/admin"
	"castpoint/web/api"
)

// operations are those of a serving point. Nothing of it is running: they must not be
// called.
func operations() *api.API { return admin.Operations(point.Operations()) }

func newOpenAPI() *cobra.Command {
	return &cobra.Command{
		Use: "openapi", Short: "Print the OpenAPI document of the admin API", Args: cobra.NoArgs,
		Long: `Openapi prints the OpenAPI 3.1 document of the admin API of this version. A running
server gives it at /api/v1/openapi.json.`,
		Example: "  castpoint openapi > castpoint.json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := operations().Document(api.BuiltIn())
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(b)
			return err
		},
	}
}
