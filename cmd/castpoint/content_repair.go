package main

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"castpoint/agent/command"
	"castpoint/content"
	"castpoint/content/fetch"
	"castpoint/internal/config"
	"castpoint/web"
)

func newContentRepair(o *options) *cobra.Command {
	var req web.RepairContent
	var rate config.Rate
	c := o.addJSON(&cobra.Command{
		Use: "repair ID PATH", Short: "Replace damaged files of a content by the originals",
		Long: `Repair reads the files that a content was made of once more, from a path or a URL, and
puts them in the place of damaged ones. They must be the same files, by SHA-256:
for others there is castpoint content update.

Exit codes: 0 all good now, 1 failed, 4 not found, 5 these are other files.`,
		Example: `  castpoint content repair win11 /mnt/images/install.wim
  castpoint content repair win11 https://images.example.net/install.wim`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if req.Path, err = sourcePath(args[1]); err != nil {
				return err
			}
			if req.Initrd, err = sourcePath(req.Initrd); err != nil {
				return err
			}
			if req.FetchRate = int64(rate); rate != 0 && !fetch.IsURL(req.Path) {
				return command.Usage("--fetch-rate is for URLs")
			}
			client, done, err := o.admin(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			ctx, stop := command.Interrupted(cmd.Context())
			defer stop()
			progress, clear := meter(cmd.ErrOrStderr(), "repair "+args[0])
			defer clear()
			var v content.Validation
			if err := client.Stream(ctx, http.MethodPost, "/contents/"+url.PathEscape(args[0])+"/repair", req, progress, &v); err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), v)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: good\n", v.ID)
			return err
		},
	})
	f := c.Flags()
	f.StringVar(&req.Initrd, "initrd", "", "`FILE` of the initramfs of a Linux boot image; PATH is its kernel")
	f.Var(&rate, "fetch-rate", "`RATE` at which a URL is fetched at most, as in 200mbit (default: no limit)")
	return c
}
