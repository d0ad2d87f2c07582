package library

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"castpoint/agent"
	"castpoint/agent/command"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/content"
	"castpoint/web/admin/contents"
)

func newExport(o *cli.Options) *cobra.Command {
	var force bool
	c := o.AddJSON(&cobra.Command{
		Use: "export ID FILE", Short: "Write a content into one file that another server imports",
		Long: `Export writes a content with all its files and settings into one tar archive. With - as
FILE it goes to standard output. Every file is checked on its way.`,
		Example: `  castpoint content export win11 /media/usb/win11.tar
  castpoint content export win11 - | ssh branch castpoint content import -`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if o.JSON && args[1] == "-" {
				return command.Usage("--json and - both want standard output")
			}
			client, done, err := o.Admin(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			ctx, stop := command.Interrupted(cmd.Context())
			defer stop()
			var ct content.Content
			if err := client.Call(ctx, http.MethodGet, "/contents/"+url.PathEscape(args[0]), nil, &ct); err != nil {
				return err
			}
			progress, clear := terminal.Meter(cmd.ErrOrStderr(), "export "+ct.ID)
			defer clear()
			total := ct.Size()
			write := func(w io.Writer) error {
				return client.Export(ctx, ct.ID, w, func(n int64) {
					if progress != nil {
						progress(min(n, total), total) // what is around the files does not count
					}
				})
			}
			out := cmd.OutOrStdout()
			if args[1] == "-" {
				return write(out)
			}
			if err := writeWhole(args[1], force, write); err != nil {
				return err
			}
			if o.JSON {
				return terminal.JSON(out, map[string]any{"content": ct.ID, "file": args[1], "bytes": total})
			}
			_, err = fmt.Fprintf(out, "exported %s to %s, %s\n", ct.ID, args[1], agent.Size(total))
			return err
		},
	})
	c.Flags().BoolVar(&force, "force", false, "replace the file if it exists")
	return c
}

// writeWhole makes a file that is there whole or not at all.
func writeWhole(path string, force bool, write func(io.Writer) error) (err error) {
	if _, err := os.Lstat(path); !force && !errors.Is(err, fs.ErrNotExist) {
		if err != nil {
			return err
		}
		return cli.Refused(fmt.Errorf("%s exists: --force replaces it", path))
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".part-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close() // a second close does no harm
			_ = os.Remove(f.Name())
		}
	}()
	if err := write(f); err != nil {
		return err
	}
	if err := errors.Join(f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func newImport(o *cli.Options) *cobra.Command {
	return o.AddJSON(&cobra.Command{
		Use: "import FILE", Short: "Add a content that another server has exported",
		Long: `Import adds the content of a file that castpoint content export has written, or of
standard input with - as FILE. Everything in it is checked; on an error nothing is
left behind.`,
		Example: `  castpoint content import /media/usb/win11.tar
  ssh main castpoint content export win11 - | castpoint content import -`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ct, err := importContent(o, cmd, args[0])
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if o.JSON {
				return terminal.JSON(out, ct)
			}
			_, err = fmt.Fprintf(out, "imported %s: %s, %s\n", ct.ID, ct.Name, agent.Size(ct.Size()))
			return err
		},
	})
}

func importContent(o *cli.Options, cmd *cobra.Command, path string) (*content.Content, error) {
	from := cmd.InOrStdin()
	if path != "-" {
		abs, err := filepath.Abs(path)
		if err != nil {
			return nil, err
		}
		here := readable([]string{abs})
		if o.Remote.URL == "" || here != nil {
			ct, err := streamContent(o, cmd, "/contents/import", "import "+filepath.Base(path), contents.ImportContent{Path: abs})
			if here != nil || !mustSend(cmd.Context(), o, err) {
				return ct, err
			}
		}
		f, err := os.Open(abs)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		from = f
	}
	client, done, err := o.Admin(cmd.Context())
	if err != nil {
		return nil, err
	}
	defer done()
	ctx, stop := command.Interrupted(cmd.Context())
	defer stop()
	return client.Import(ctx, from)
}
