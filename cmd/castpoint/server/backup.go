package server

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"
	"kernel.org/pub/linux/libs/security/libcap/cap"

	"castpoint/agent"
	"castpoint/agent/command"
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
			ctx, stop := command.Interrupted(cmd.Context())
			defer stop()
			if _, err := os.Stat(settings); settings != "" && errors.Is(err, fs.ErrNotExist) {
				if cmd.Flags().Changed("config") {
					return cli.NotFound(fmt.Errorf("settings: %w", err))
				}
				settings = "" // a server without a file has the defaults
			}
			o.Data = dataOf(cmd, o, settings)
			byRoot := os.Geteuid() == 0
			if err := host.BecomeOwner(o.Data, append(host.AsRoot(), cap.CHOWN)...); err != nil {
				return err
			}
			r, err := backup.Write(ctx, args[0], o.Data, settings, o.Build.Version)
			if err != nil {
				return err
			}
			// What root has made the service cannot change.
			if byRoot {
				if err := os.Lchown(args[0], 0, 0); err != nil {
					return err
				}
			}
			whole := carried{r, elsewhere(settings, func(string) bool { return true })}
			if o.JSON {
				return terminal.JSON(cmd.OutOrStdout(), whole)
			}
			with := "settings " + settings
			if settings == "" {
				with = "no settings, as there is no " + config.DefaultPath
			}
			if _, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s; %d files of %s, %s; images are named and not in it, %s\n",
				args[0], with, r.Files, o.Data, agent.Size(r.Bytes), objects(r.Objects)); err != nil {
				return err
			}
			return whole.print(cmd.OutOrStdout(), "not in it, keep a copy")
		},
	})
	settingsFlag(c, &settings)
	return c
}

// dataOf is the data folder: the one that is named, or that of the settings.
func dataOf(cmd *cobra.Command, o *cli.Options, settings string) string {
	if cmd.Flags().Changed("data") || settings == "" {
		return o.Data
	}
	c, err := config.Load(settings)
	if err != nil { // what is wrong with it serve says
		return o.Data
	}
	return c.Data
}

// NewRestore is the command that brings it back.
func NewRestore(o *cli.Options) *cobra.Command {
	var settings, from string
	c := o.AddJSON(&cobra.Command{
		Use: "restore FILE", Short: "Make a data folder out of a backup", Args: cobra.ExactArgs(1),
		Long: `Restore makes a data folder out of what castpoint backup has saved. The folder must be
empty or not there; it is there whole or not at all. The file is read to its end and
compared with its checksum first.

Objects come out of another library's folder of objects, if one is named. Contents
whose objects are not there are repaired from their source or from another server:
castpoint content repair. A settings file that is there and differs is left alone,
and the backup's is put beside it as .restored.

Exit code 3: restored, with objects missing.`,
		Example: `  castpoint restore castpoint-2026-11-21.tar.zst
  castpoint restore castpoint-2026-11-21.tar.zst --objects /mnt/old/library/objects`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := command.Interrupted(cmd.Context())
			defer stop()
			if _, err := os.Stat(settings); err == nil {
				o.Data = dataOf(cmd, o, settings)
			}
			if err := forService(o.Data); err != nil {
				return err
			}
			r, err := backup.Restore(ctx, args[0], o.Data, settings, from)
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
			} else if err = printRestored(cmd, o.Data, settings, r); err == nil {
				err = whole.print(cmd.OutOrStdout(), "not there, and in no backup")
			}
			if err == nil && len(r.Missing) > 0 {
				err = cli.PartlyDone(fmt.Errorf("missing of the library: %s, of %s; castpoint content validate says of which contents, castpoint content repair ID fetches them", objects(r.Missing), objects(r.Objects)))
			}
			return err
		},
	})
	settingsFlag(c, &settings)
	c.Flags().StringVar(&from, "objects", "", "`FOLDER` of objects of another library")
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

// printRestored says what was restored, and what there is to do until it serves.
func printRestored(cmd *cobra.Command, data, settings string, r *backup.Result) error {
	out := cmd.OutOrStdout()
	if _, err := fmt.Fprintf(out, "%s: %d files, %s, of %s, castpoint %s, %s\n",
		data, r.Files, agent.Size(r.Bytes), r.Host, r.Version, r.Time.Local().Format("2006-01-02 15:04")); err != nil {
		return err
	}
	next := []string{"castpoint content validate, which reads all images", "castpoint config check", "start the server"}
	switch r.Settings {
	case "":
		if _, err := fmt.Fprintln(out, "settings: none in the backup"); err != nil {
			return err
		}
	case settings:
		if _, err := fmt.Fprintf(out, "settings: %s\n", r.Settings); err != nil {
			return err
		}
	default:
		if _, err := fmt.Fprintf(out, "settings: %s, as another %s is there\n", r.Settings, settings); err != nil {
			return err
		}
		next = append([]string{"compare the two files of settings, and keep one as " + settings}, next...)
	}
	if c, err := config.Load(r.Settings); r.Settings != "" && err == nil && !samePath(c.Data, data) {
		next = append([]string{fmt.Sprintf("the settings have data: %s, and restored is %s: change the setting, or move the folder", c.Data, data)}, next...)
	}
	for _, step := range next {
		if _, err := fmt.Fprintln(out, "next: "+step); err != nil {
			return err
		}
	}
	return nil
}

func samePath(a, b string) bool {
	x, errX := filepath.Abs(a)
	y, errY := filepath.Abs(b)
	return errX == nil && errY == nil && x == y
}

// service is the user that packages run the server as.
const service = "castpoint"

// forService makes the packages' data folder again when it was moved away, so that what
// root restores belongs to the service.
func forService(data string) error {
	if data != cli.DefaultData || os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup(service)
	if _, ok := errors.AsType[user.UnknownUserError](err); ok {
		return nil
	}
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(u.Uid)
	gid, errGroup := strconv.Atoi(u.Gid)
	if err := errors.Join(err, errGroup); err != nil {
		return fmt.Errorf("user %s: %w", service, err)
	}
	switch err := os.Mkdir(data, 0o700); {
	case errors.Is(err, fs.ErrExist):
		return nil
	case err != nil:
		return err
	}
	return os.Lchown(data, uid, gid)
}

// objects says how many there are, and how large they are.
func objects(list []backup.Object) string {
	what := "objects"
	if len(list) == 1 {
		what = "object"
	}
	return fmt.Sprintf("%d %s (%s)", len(list), what, agent.Size(total(list)))
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
