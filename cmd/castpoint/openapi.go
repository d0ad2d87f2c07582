package main

import (
	"github.com/spf13/cobra"

	"castpoint/point"
	"castpoint/web"
)

// openAPI is the document of the admin API of a serving point. Nothing of it is
// running: the operations are not called.
func openAPI() ([]byte, error) {
	return web.Document(point.Operations())
}

func newOpenAPI() *cobra.Command {
	return &cobra.Command{
		Use: "openapi", Short: "Print the OpenAPI document of the admin API", Args: cobra.NoArgs,
		Long: `Openapi prints the OpenAPI 3.1 document of the admin API of this version. A running
server gives it at /api/v1/openapi.json.`,
		Example: "  castpoint openapi > castpoint.json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := openAPI()
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(b)
			return err
		},
	}
}
