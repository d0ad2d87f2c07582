package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"castpoint/agent"
	"castpoint/agent/command"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/content/wim"
)

// Entry is a file or folder as wim list prints it.
type Entry struct {
	Path     string    `json:"path"`
	Dir      bool      `json:"dir,omitempty"`
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
	SHA1     string    `json:"sha1,omitempty"`
	Reparse  bool      `json:"reparse,omitempty"` // a link: not followed, not extracted
}

func newEntry(name string, e wim.Entry) Entry {
	w := Entry{Path: name, Dir: e.IsDir(), Modified: e.Modified, Reparse: e.ReparseTag != 0}
	if s, ok := e.Data(); ok {
		w.Size = s.Size
		if s.Hash != (wim.Hash{}) {
			w.SHA1 = s.Hash.String()
		}
	}
	return w
}

// withTree opens an image of a WIM file. index 0 is the only image, or the one
// that boots.
func withTree(file string, index int, f func(*wim.Reader, *wim.Tree) error) error {
	files, err := wim.OpenFiles(file)
	if err != nil {
		return inFile(file, err)
	}
	defer files.Close()
	reader, err := wim.OpenSet(files.Parts)
	if err != nil {
		return inFile(file, err)
	}
	info := reader.Info()
	switch {
	case index == 0 && len(info.Images) == 1:
		index = 1
	case index == 0 && info.BootIndex > 0:
		index = info.BootIndex
	case index == 0:
		return command.Usage("%s has %d images: say which with --index (castpoint wim info %s)", file, len(info.Images), file)
	}
	tree, err := reader.Image(index)
	if errors.Is(err, fs.ErrNotExist) {
		return noImage(file, index, info)
	}
	if err == nil {
		err = f(reader, tree)
	}
	return inFile(file, err)
}

// lookup finds a file or folder in an image.
func lookup(t *wim.Tree, name string) (wim.Entry, error) {
	e, err := t.Lookup(name)
	if errors.Is(err, fs.ErrNotExist) {
		return e, cli.NotFound(fmt.Errorf("image %d has no %s", t.Index(), name))
	}
	return e, err
}

// inside is a path of an image as Tree.Walk writes it, or of what lies below.
func inside(name string) string { return path.Clean("/" + strings.ReplaceAll(name, `\`, "/")) }

// walkBelow calls f for an entry and, with deep, for what lies below it. Paths
// are those of Walk.
func walkBelow(t *wim.Tree, name string, e wim.Entry, deep bool, f func(name string, e wim.Entry) error) error {
	if err := f(name, e); err != nil || !deep {
		return err
	}
	for child := range t.Children(e) {
		if err := walkBelow(t, path.Join(name, child.Name), child, true, f); err != nil {
			return err
		}
	}
	return nil
}

func newWIMList(o *cli.Options) *cobra.Command {
	var index int
	var recursive bool
	c := o.AddJSON(&cobra.Command{
		Use: "list FILE [PATH]", Short: "List the files in an image of a WIM file", Args: cobra.RangeArgs(1, 2),
		Long: `List prints a folder of an image, or a file. Paths are written with / or \, case does not
matter. With --recursive everything below is listed too.`,
		Example: `  castpoint wim list boot.wim /Windows/Boot/EFI
  castpoint wim list install.wim --index 3 --recursive --json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			name := "/"
			if len(args) == 2 {
				name = inside(args[1])
			}
			entries := []Entry{}
			err := withTree(args[0], index, func(_ *wim.Reader, t *wim.Tree) error {
				e, err := lookup(t, name)
				if err != nil {
					return err
				}
				if !e.IsDir() {
					entries = append(entries, newEntry(name, e))
					return nil
				}
				for child := range t.Children(e) {
					if err := walkBelow(t, path.Join(name, child.Name), child, recursive, func(name string, e wim.Entry) error {
						entries = append(entries, newEntry(name, e))
						return nil
					}); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if o.JSON {
				return terminal.JSON(out, entries)
			}
			var rows [][]string
			for _, e := range entries {
				size := agent.Size(e.Size)
				switch {
				case e.Dir:
					size, e.Path = "-", e.Path+"/"
				case e.Reparse:
					size = "link"
				}
				rows = append(rows, []string{size, e.Modified.UTC().Format("2006-01-02 15:04"), visible(e.Path)})
			}
			return terminal.Table(out, rows)
		},
	})
	wimIndexFlag(c, &index)
	c.Flags().BoolVar(&recursive, "recursive", false, "list what lies below too")
	return c
}

// visible keeps a name of a file from steering the terminal.
func visible(name string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, name)
}

func wimIndexFlag(c *cobra.Command, index *int) {
	c.Flags().IntVar(index, "index", 0, "`NUMBER` of the image (default: the only one, or the one that boots)")
}

// Extracted is what wim extract did.
type Extracted struct {
	Files   int      `json:"files"`
	Folders int      `json:"folders"`
	Bytes   int64    `json:"bytes"`
	Skipped []string `json:"skipped,omitempty"` // links and encrypted files
}

func newWIMExtract(o *cli.Options) *cobra.Command {
	var index, threads int
	var force bool
	var out string
	c := o.AddJSON(&cobra.Command{
		Use: "extract FILE PATH [PATH...] --out FOLDER", Short: "Take files out of an image of a WIM file", Args: cobra.MinimumNArgs(2),
		Long: `Extract copies files, and folders with all that is in them, into a folder, checking the
SHA-1 of each. With - as --out a single file goes to standard output.

Only contents and times are kept: no permissions, streams or short names. Links and
encrypted files are left out and named.
` + splitHelp + `

Exit codes: 0 done, 3 something was left out, 4 the image has no such path, 5 a file
is there already.`,
		Example: `  castpoint wim extract boot.wim /Windows/Boot/EFI/bootmgfw.efi --out loaders
  castpoint wim extract boot.wim /Windows/System32/winpeshl.ini --out -`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return command.Usage("say where to: --out FOLDER, or --out - for standard output")
			}
			threads, err := threadCount(threads)
			if err != nil {
				return err
			}
			if out == "-" && (len(args) > 2 || o.JSON) {
				return command.Usage("standard output takes one file, and no --json")
			}
			ctx, stop := command.Interrupted(cmd.Context())
			defer stop()
			var done Extracted
			err = withTree(args[0], index, func(r *wim.Reader, t *wim.Tree) error {
				if out == "-" {
					return extractTo(ctx, t, inside(args[1]), cmd.OutOrStdout())
				}
				x, err := newExtraction(r, t, out, force)
				if err != nil {
					return err
				}
				defer x.root.Close()
				for _, name := range args[1:] {
					if err := x.plan(ctx, inside(name)); err != nil {
						return err
					}
				}
				progress, clear := terminal.Meter(cmd.ErrOrStderr(), "extract from "+filepath.Base(args[0]))
				err = x.run(ctx, threads, progress)
				clear()
				done = x.done
				return err
			})
			if err != nil || out == "-" {
				return err
			}
			w := cmd.OutOrStdout()
			if o.JSON {
				err = terminal.JSON(w, done)
			} else {
				_, err = fmt.Fprintf(w, "extracted %d files and %d folders, %s\n", done.Files, done.Folders, agent.Size(done.Bytes))
			}
			if n := len(done.Skipped); err == nil && n > 0 {
				err = cli.PartlyDone(fmt.Errorf("%d links or encrypted files were left out, such as %s", n, visible(done.Skipped[0])))
			}
			return err
		},
	})
	wimIndexFlag(c, &index)
	c.Flags().StringVar(&out, "out", "", "`FOLDER` to write to, made when it is not there; or -")
	c.Flags().BoolVar(&force, "force", false, "replace files that exist")
	threadsFlag(c, &threads)
	return c
}

// extractTo writes one file.
func extractTo(ctx context.Context, t *wim.Tree, name string, w io.Writer) error {
	if _, err := lookup(t, name); err != nil {
		return err
	}
	b, err := t.Open(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, contextReader{ctx, b.Reader()})
	return err
}

// contextReader ends when its context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}
