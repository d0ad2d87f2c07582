package machines

import (
	"fmt"
	"net/http"
	"net/url"

	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"

	"github.com/spf13/cobra"
)

// NewSecret is the command that sets a secret variable of what is at a path of the API.
func NewSecret(o *cli.Options, path, what, example string) *cobra.Command {
	var remove bool
	c := o.AddJSON(&cobra.Command{
		Use: "secret ID NAME", Short: "Set a secret variable of a " + what, Args: cobra.ExactArgs(2), Example: example,
		Long: `Secret sets a variable whose value is never shown or logged. It is asked for on a terminal,
and read from standard input otherwise. It is kept sealed, and only devices whose task
sequence declares a variable of that name get it.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			value := ""
			if !remove {
				var err error
				if value, err = cli.ReadPassword(cmd, args[1]); err != nil {
					return err
				}
			}
			body := map[string]string{"value": value}
			if err := o.Call(cmd.Context(), http.MethodPut, path+url.PathEscape(args[0])+"/secrets/"+url.PathEscape(args[1]), body, nil); err != nil {
				return err
			}
			done := "is set"
			if remove {
				done = "is taken away"
			}
			if o.JSON {
				return terminal.JSON(cmd.OutOrStdout(), map[string]any{"name": args[1], "set": !remove})
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "secret %s of %s %s %s\n", args[1], what, args[0], done)
			return err
		},
	})
	c.Flags().BoolVar(&remove, "remove", false, "take it away")
	return c
}

// newDeviceSecret sets secret variables.
func newDeviceSecret(o *cli.Options) *cobra.Command {
	return NewSecret(o, "/devices/", "device", "  castpoint device secret pc-17 AdminPassword")
}
