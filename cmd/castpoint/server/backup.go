package server

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"castpoint/agent"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/internal/backup"
	"castpoint/internal/config"
	"castpoint/point/host"
)

// NewBackup is the command that carries a data folder away.
func NewBackup(o *cli.Options) *cobra.Command {
	var settings string
	c := o.AddJSON(&cobra.Command{
		Use: "backup FILE", Short: "Save settings, database, keys and the library's contents", Args: cobra.ExactArgs(1),
		Long: `Backup writes one file with all that a distribution point is, but for the images: the
settings file, the database, keys and certificates, tokens, leases, imported boot
programs, and the library's contents with the hashes of their blocks. Objects, the
bytes of the images, are named in it and not carried.

Files that settings name, certificates of your own and passwords, are not in it; the
command names them.

The server may run meanwhile. The file holds the keys: keep it as you keep them.`,
		Example: "  castpoint backup /mnt/backup/castpoint-$(date +%F).tar.zst",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := host.BecomeOwner(o.Data, host.AsRoot()...); err != nil {
				return err
			}
			r, err := backup.Write(cmd.Context(), args[0], o.Data, settings, o.Build.Version)
			if err != nil {
				return err
			}
			whole := carried{r, elsewhere(settings, func(string) bool { return true })}
			if o.JSON {
				return terminal.JSON(cmd.OutOrStdout(), whole)
			}
			if _, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %d files, %s; %d objects of the library are named and not in it, %s\n",
				args[0], r.Files, agent.Size(r.Bytes), len(r.Objects), agent.Size(total(r.Objects))); err != nil {
				return err
			}
			return whole.print(cmd.OutOrStdout(), "not in it, keep a copy")
		},
	})
	settingsFlag(c, &settings)
	return c
}

// NewRestore is the command that brings it back.
func NewRestore(o *cli.Options) *cobra.Command {
	var settings, objects string
	c := o.AddJSON(&cobra.Command{
		Use: "restore FILE", Short: "Make a data folder out of a backup", Args: cobra.ExactArgs(1),
		Long: `Restore makes a data folder out of what castpoint backup has saved. The folder must be
empty or not there; it is there whole or not at all.

Objects come out of another library's folder of objects, if one is named. Contents
whose objects are not there are repaired from their source or from another server:
castpoint content repair. A settings file that is there and differs is left alone,
and the backup's is put beside it as .restored.

Exit code 3: restored, with objects missing.`,
		Example: `  castpoint restore castpoint-2026-11-21.tar.zst
  castpoint restore castpoint-2026-11-21.tar.zst --objects /mnt/old/library/objects`,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := backup.Restore(cmd.Context(), args[0], o.Data, settings, objects)
			if errors.Is(err, backup.ErrInUse) {
				return cli.Refused(err)
			}
			if err != nil {
				return err
			}
			whole := carried{r, elsewhere(r.Settings, func(path string) bool {
				_, err := os.Stat(path)
				return errors.Is(err, fs.ErrNotExist)
			})}
			if o.JSON {
				err = terminal.JSON(cmd.OutOrStdout(), whole)
			} else if err = printRestored(cmd, o.Data, r); err == nil {
				err = whole.print(cmd.OutOrStdout(), "not there, and in no backup")
			}
			if err == nil && len(r.Missing) > 0 {
				err = fmt.Errorf("%d of %d objects are missing (%s): castpoint content repair fetches them: %w",
					len(r.Missing), len(r.Objects), agent.Size(total(r.Missing)), agent.ErrPartly)
			}
			return err
		},
	})
	settingsFlag(c, &settings)
	c.Flags().StringVar(&objects, "objects", "", "`FOLDER` of objects of another library")
	return c
}

// carried is what a backup or a restore has done, with the files that the settings name
// and that no backup has: they are outside the data folder.
type carried struct {
	*backup.Result
	Elsewhere []config.NamedFile `json:"elsewhere,omitempty"`
}

// elsewhere are the files that a settings file names, of which want is true. Settings
// that cannot be read name none: serve says what is wrong with them.
func elsewhere(settings string, want func(path string) bool) (list []config.NamedFile) {
	if settings == "" {
		return nil
	}
	c, err := config.Load(settings)
	if err != nil {
		return nil
	}
	for _, f := range c.NamedFiles() {
		if want(f.Path) {
			list = append(list, f)
		}
	}
	return list
}

func (c *carried) print(out io.Writer, what string) error {
	for _, f := range c.Elsewhere {
		if _, err := fmt.Fprintf(out, "%s: %s (setting %s)\n", what, f.Path, f.Setting); err != nil {
			return err
		}
	}
	return nil
}

func printRestored(cmd *cobra.Command, data string, r *backup.Result) error {
	out := cmd.OutOrStdout()
	if _, err := fmt.Fprintf(out, "%s: %d files, %s, of %s, castpoint %s, %s\n",
		data, r.Files, agent.Size(r.Bytes), r.Host, r.Version, r.Time.Local().Format("2006-01-02 15:04")); err != nil {
		return err
	}
	if r.Settings == "" {
		return nil
	}
	_, err := fmt.Fprintf(out, "settings: %s\n", r.Settings)
	return err
}

func settingsFlag(c *cobra.Command, to *string) {
	c.Flags().StringVar(to, "config", config.DefaultPath, "`FILE` of settings")
}

func total(objects []backup.Object) (n int64) {
	for _, o := range objects {
		n += o.Size
	}
	return n
}
