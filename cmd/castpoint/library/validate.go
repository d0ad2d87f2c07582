package library

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"castpoint/agent/command"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/content"
	"castpoint/content/library"
	"castpoint/web/call"
)

func newValidate(o *cli.Options) *cobra.Command {
	return o.AddJSON(&cobra.Command{
		Use: "validate [ID]", Short: "Read contents and compare them with their hashes",
		Long: `Validate reads every file of a content, or of all contents, and compares it with the
hash of each block and of the whole. A manifest that is damaged is written anew.

Exit codes: 0 all good, 1 all damaged, 3 some damaged, 4 not found.`,
		Example: `  castpoint content validate
  castpoint content validate win11`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, done, err := o.Admin(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			ctx, stop := command.Interrupted(cmd.Context())
			defer stop()
			ids := args
			if len(ids) == 0 {
				list, err := call.List[content.Content](ctx, client, "/contents")
				if err != nil {
					return err
				}
				for _, c := range list {
					ids = append(ids, c.ID)
				}
			}
			out := cmd.OutOrStdout()
			results := []library.Validation{}
			var bad []error
			for _, id := range ids {
				progress, clear := terminal.Meter(cmd.ErrOrStderr(), "validate "+id)
				var v library.Validation
				err := client.Stream(ctx, http.MethodPost, "/contents/"+url.PathEscape(id)+"/validate", nil, progress, &v)
				clear()
				if err != nil {
					return err
				}
				results = append(results, v)
				err = v.Err()
				if err != nil {
					bad = append(bad, err)
				}
				if !o.JSON && err == nil {
					fmt.Fprintf(out, "%s: good\n", v.ID)
				}
			}
			if o.JSON {
				if err := terminal.JSON(out, results); err != nil {
					return err
				}
			}
			switch {
			case len(bad) == 0:
				return nil
			case len(bad) == len(ids):
				return joinLine(bad)
			}
			return cli.PartlyDone(joinLine(bad))
		},
	})
}

// joinLine makes one line of several errors.
func joinLine(errs []error) error {
	err := errs[0]
	for _, e := range errs[1:] {
		err = fmt.Errorf("%w; %w", err, e)
	}
	return err
}
