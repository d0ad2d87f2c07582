package library

import (
	"fmt"

	"github.com/spf13/cobra"

	"castpoint/agent"
	"castpoint/agent/command"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/content/fetch"
	"castpoint/internal/config"
	"castpoint/web/admin"
)

func newUpdate(o *cli.Options) *cobra.Command {
	var req admin.AddContent
	var rate config.Rate
	var kernel string
	var upload bool
	c := o.AddJSON(&cobra.Command{
		Use: "update ID [PATH]", Short: "Give a content new files under the same id",
		Long: `Update replaces the files of a content by a new revision. Everybody gets the old one
until the new one is complete; what is being sent is sent to its end.

Name, comment, programs and distribution stay as they are. Version and index are those of the
new files unless they are given. Files that a running server cannot read are sent to it,
as castpoint content add does.`,
		Example: `  castpoint content update win11 install-2026-10.wim
  castpoint content update win11 https://images.example.net/install.wim --sha256 HASH
  castpoint content update linux --kernel vmlinuz --initrd initrd`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := knownArch(req.Arch); err != nil {
				return err
			}
			path := kernel
			switch {
			case len(args) == 2 && kernel != "":
				return command.Usage("say either PATH or --kernel")
			case len(args) == 2:
				path = args[1]
			case kernel == "":
				return command.Usage("say what is new: castpoint content update %s PATH", args[0])
			}
			var err error
			if req.Path, err = sourcePath(path); err != nil {
				return err
			}
			if req.Initrd, err = sourcePath(req.Initrd); err != nil {
				return err
			}
			if req.FetchRate = int64(rate); !fetch.IsURL(req.Path) && (req.SHA256 != "" || rate != 0) {
				return command.Usage("--sha256 and --fetch-rate are for URLs")
			}
			ct, err := addFiles(o, cmd, args[0], req, upload)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if o.JSON {
				return terminal.JSON(out, ct)
			}
			_, err = fmt.Fprintf(out, "updated %s to revision %d: %s, %s\n", ct.ID, ct.Revision, ct.Name, agent.Size(ct.Size()))
			return err
		},
	})
	f := c.Flags()
	f.StringVar(&kernel, "kernel", "", "`FILE` of the kernel of a Linux boot image")
	f.StringVar(&req.Initrd, "initrd", "", "`FILE` of its initramfs")
	f.StringVar(&req.Name, "name", "", "new `NAME` for people")
	f.StringVar(&req.Version, "version", "", "`VERSION` (default: from the image)")
	f.StringVar(&req.Comment, "comment", "", "new `TEXT` for people")
	f.StringVar(&req.Language, "language", "", "`TAGS` of its languages (default: from the image)")
	f.StringVar(&req.Source, "source", "", "`PATH` or URL that repairs read from (default: what is added)")
	f.IntVar(&req.Index, "index", 0, "`NUMBER` of the image inside the WIM that is meant")
	f.StringVar(&req.Arch, "arch", "", "`ARCH`: amd64, arm64, 386, arm (default: from the image)")
	f.BoolVar(&req.HardLink, "hard-link", false, "take the files themselves instead of copies; they become read-only and must not be written again")
	fetchFlags(f, &req, &rate)
	uploadFlag(f, &upload)
	return c
}
