package library

import (
	"fmt"

	"github.com/spf13/cobra"

	"castpoint/agent"
	"castpoint/agent/command"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
)

func newUpdate(o *cli.Options) *cobra.Command {
	var source sourceFlags
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
			if err := source.resolve(args, command.Usage("say what is new: castpoint content update %s PATH", args[0])); err != nil {
				return err
			}
			ct, err := addFiles(o, cmd, args[0], source.req, source.upload)
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
	source.add(f)
	f.StringVar(&source.req.Name, "name", "", "new `NAME` for people")
	f.StringVar(&source.req.Comment, "comment", "", "new `TEXT` for people")
	return c
}
