package library

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"castpoint/agent/command"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/content/fetch"
	"castpoint/content/library"
	"castpoint/internal/config"
	"castpoint/web/admin/contents"
)

func newRepair(o *cli.Options) *cobra.Command {
	var req contents.RepairContent
	var rate config.Rate
	c := o.AddJSON(&cobra.Command{
		Use: "repair ID [PATH]", Short: "Replace damaged files of a content by the originals",
		Long: `Repair validates a content and replaces the blocks that are damaged by those of the
originals: the files, folder, ISO image or URL that it was made of (those that it came
from, when no PATH is given), or the same content of another castpoint server. Nothing
is replaced by bytes that do not have the SHA-256 that was there when it was added: for
other files there is castpoint content update.

Exit codes: 0 all good now, 1 failed, 4 not found, 5 these are other files.`,
		Example: `  castpoint content repair win11
  castpoint content repair win11 /mnt/images/install.wim
  castpoint content repair win11 --from https://192.0.2.1:8443 --pin PIN --token TOKEN`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if len(args) == 2 {
				if req.Path, err = sourcePath(args[1]); err != nil {
					return err
				}
			}
			switch {
			case req.From != "" && len(args) == 2:
				return command.Usage("say either PATH or --from")
			case req.From != "" && (req.Pin == "" || req.Token == ""):
				return command.Usage("--from needs --pin and --token: castpoint token create --files on that server prints them")
			case req.From == "" && (req.Pin != "" || req.Token != ""):
				return command.Usage("--pin and --token are for --from")
			}
			if req.Initrd, err = sourcePath(req.Initrd); err != nil {
				return err
			}
			if req.FetchRate = int64(rate); rate != 0 && req.Path != "" && !fetch.IsURL(req.Path) {
				return command.Usage("--fetch-rate is for URLs")
			}
			client, done, err := o.Admin(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			ctx, stop := command.Interrupted(cmd.Context())
			defer stop()
			progress, clear := terminal.Meter(cmd.ErrOrStderr(), "repair "+args[0])
			defer clear()
			var v library.Validation
			if err := client.Stream(ctx, http.MethodPost, "/contents/"+url.PathEscape(args[0])+"/repair", req, progress, &v); err != nil {
				return err
			}
			if o.JSON {
				return terminal.JSON(cmd.OutOrStdout(), v)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: good\n", v.ID)
			return err
		},
	})
	f := c.Flags()
	f.StringVar(&req.From, "from", "", "`URL` of another castpoint server's join listener that has the content")
	f.StringVar(&req.Pin, "pin", "", "`PIN` of its certificate")
	f.StringVar(&req.Token, "token", "", "`TOKEN` that castpoint token create --files has made there")
	f.StringVar(&req.Initrd, "initrd", "", "`FILE` of the initramfs of a Linux boot image; PATH is its kernel")
	f.Var(&rate, "fetch-rate", "`RATE` at which a URL is fetched at most, as in 200mbit (default: no limit)")
	return c
}
