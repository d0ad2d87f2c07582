package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"castpoint/cmd/castpoint/terminal"
)

// List says what the command list of a group shows: a line for each thing that is at a
// path of the API.
type List[T any] struct {
	Short, Example string
	Path           string
	Empty          string // what to do when there is nothing
	Heads          []string
	Row            func(T) []string
}

// Command makes the command.
func (l List[T]) Command(o *Options) *cobra.Command {
	return o.AddJSON(&cobra.Command{
		Use: "list", Short: l.Short, Args: cobra.NoArgs,
		Example: l.Example,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := ListAll[T](cmd.Context(), o, l.Path)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if o.JSON {
				return terminal.JSON(out, list)
			}
			if len(list) == 0 {
				_, err := fmt.Fprintln(out, l.Empty)
				return err
			}
			rows := [][]string{l.Heads}
			for _, one := range list {
				rows = append(rows, l.Row(one))
			}
			return terminal.Table(out, rows)
		},
	})
}
