package library

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"castpoint/agent"
	"castpoint/agent/command"
	"castpoint/boot/asset"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/point/answer"
)

// NewAssets are the commands about boot programs.
func NewAssets(o *cli.Options) *cobra.Command {
	return command.Group("assets", "Import boot programs: iPXE, wimboot, shim and GRUB", newAssetsImport(o), newAssetsList(o), newAssetsRemove(o))
}

func newAssetsImport(o *cli.Options) *cobra.Command {
	var opts asset.Options
	c := o.AddJSON(&cobra.Command{
		Use: "import PATH...", Short: "Import boot programs, checked by hash",
		Long: `Import takes iPXE (its archive ipxeboot.tar.gz, or single files), wimboot, and shim and
GRUB files into the data folder, unchanged, and hands them out from then on: before
those of installed packages, behind those of --loaders. Each has to be known by its
SHA-256, or the archive that it is in; what is not known is named with its hash, and
taken when --trust says so. A folder is imported with the names in it.`,
		Example: `  castpoint assets import ipxeboot.tar.gz wimboot
  castpoint assets import shimx64.efi --trust 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.Now = time.Now()
			var all []*asset.Asset
			for _, path := range args {
				opts.Path = path
				a, err := asset.Import(filepath.Join(o.Data, answer.FolderAssets), opts)
				if unknown := (*asset.UnknownError)(nil); errors.As(err, &unknown) {
					return cli.Refused(err)
				}
				if errors.Is(err, fs.ErrExist) {
					return cli.Refused(err)
				}
				if err != nil {
					return err
				}
				all = append(all, a)
				if o.JSON {
					continue
				}
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "imported %s: %s\n", a.ID, assetWords(a)); err != nil {
					return err
				}
			}
			if o.JSON {
				return terminal.JSON(cmd.OutOrStdout(), all)
			}
			return nil
		},
	})
	c.Flags().StringSliceVar(&opts.Trust, "trust", nil, "`HASH` (SHA-256) of a file that is not known, or all; may be repeated")
	c.Flags().StringVar(&opts.Name, "name", "", "`NAME` of what is not known (default: from the file)")
	return c
}

// assetWords says how far an asset is known.
func assetWords(a *asset.Asset) string {
	size := int64(0)
	for _, f := range a.Files {
		size += f.Size
	}
	by := "known by hash"
	if !a.Known() {
		by = "trusted by you, not known by hash"
	}
	return fmt.Sprintf("%d files, %s, %s", len(a.Files), agent.Size(size), by)
}

func newAssetsList(o *cli.Options) *cobra.Command {
	var files bool
	c := o.AddJSON(&cobra.Command{
		Use: "list", Short: "List imported boot programs", Args: cobra.NoArgs,
		Example: "  castpoint assets list --files",
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := asset.List(filepath.Join(o.Data, answer.FolderAssets))
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if o.JSON {
				if list == nil {
					list = []asset.Asset{}
				}
				return terminal.JSON(out, list)
			}
			if len(list) == 0 {
				_, err := fmt.Fprintln(out, "nothing was imported")
				return err
			}
			rows := [][]string{{"ID", "VERSION", "FROM", "IMPORTED", ""}}
			if files {
				rows = [][]string{{"ID", "FILE", "SIZE", "SIGNED BY", "SHA256"}}
			}
			for i := range list {
				a := &list[i]
				if !files {
					rows = append(rows, []string{a.ID, terminal.OrDash(a.Version), a.Source, a.Imported.Local().Format(time.DateTime), assetWords(a)})
					continue
				}
				for _, f := range a.Files {
					signer := "-"
					if len(f.Signers) > 0 {
						signer = f.Signers[0].Subject + " (" + f.Signers[0].CA + ")"
					}
					rows = append(rows, []string{a.ID, f.Name, agent.Size(f.Size), signer, f.SHA256})
				}
			}
			return terminal.Table(out, rows)
		},
	})
	c.Flags().BoolVar(&files, "files", false, "list the files, with their signers and hashes")
	return c
}

func newAssetsRemove(o *cli.Options) *cobra.Command {
	return &cobra.Command{
		Use: "remove ID", Short: "Remove imported boot programs", Args: cobra.ExactArgs(1),
		Example: "  castpoint assets remove wimboot-2.9.0",
		ValidArgsFunction: func(_ *cobra.Command, args []string, begin string) (ids []string, _ cobra.ShellCompDirective) {
			list, err := asset.List(filepath.Join(o.Data, answer.FolderAssets))
			for i := range list {
				if err == nil && len(args) == 0 && strings.HasPrefix(list[i].ID, begin) {
					ids = append(ids, list[i].ID)
				}
			}
			return ids, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			err := asset.Remove(filepath.Join(o.Data, answer.FolderAssets), args[0])
			if errors.Is(err, asset.ErrNotFound) {
				return cli.NotFound(fmt.Errorf("%w; castpoint assets list shows what there is", err))
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "removed %s\n", args[0])
			return err
		},
	}
}
