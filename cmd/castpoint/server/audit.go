package server

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"castpoint/agent/command"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/web/admin/accounts"
	"castpoint/web/api"
)

// NewAudit is the command that shows who changed what.
func NewAudit(o *cli.Options) *cobra.Command {
	var limit int
	var before int64
	c := o.AddJSON(&cobra.Command{
		Use: "audit", Short: "Show who changed what", Args: cobra.NoArgs,
		Long: `Audit prints the audit log, newest first: every change and every login, with who did it,
from where, and how it ended. root is whoever may open the unix socket, or read
admin.json, in the data folder.`,
		Example: "  castpoint audit\n  castpoint audit --limit 1000 --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 || limit > api.MaxLimit {
				return command.Usage("limit %d: want 1 to %d", limit, api.MaxLimit)
			}
			v := url.Values{"limit": {strconv.Itoa(limit)}}
			if before > 0 {
				v.Set("before", strconv.FormatInt(before, 10))
			}
			var p accounts.AuditPage
			if err := o.Call(cmd.Context(), http.MethodGet, "/audit?"+v.Encode(), nil, &p); err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if o.JSON {
				return terminal.JSON(out, p.Entries)
			}
			rows := [][]string{{"TIME", "WHO", "FROM", "DID", "TO", "RESULT"}}
			for _, e := range p.Entries {
				from := e.Remote
				if from == "" {
					from = e.How
				}
				result := "done"
				if e.Error != "" {
					result = fmt.Sprintf("%d: %s", e.Status, e.Error)
				} else if e.Detail != "" {
					result = e.Detail
				}
				rows = append(rows, []string{e.Time.Local().Format(time.DateTime), terminal.OrDash(e.Who), from, e.Action, terminal.OrDash(e.Target), result})
			}
			if err := terminal.Table(out, rows); err != nil {
				return err
			}
			if p.Before != 0 {
				_, err := fmt.Fprintf(out, "older entries: castpoint audit --before %d\n", p.Before)
				return err
			}
			return nil
		},
	})
	c.Flags().IntVar(&limit, "limit", api.DefaultLimit, "at most `N` entries")
	c.Flags().Int64Var(&before, "before", 0, "only entries with lower ids than `ID`")
	return c
}
