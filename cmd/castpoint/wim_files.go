package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"castpoint/agent"
	"castpoint/agent/command"
	"castpoint/content/wim"
)

// wimEntry is a file or folder as wim list prints it.
type wimEntry struct {
	Path     string    `json:"path"`
	Dir      bool      `json:"dir,omitempty"`
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
	SHA1     string    `json:"sha1,omitempty"`
	Reparse  bool      `json:"reparse,omitempty"` // a link: not followed, not extracted
}

func newWIMEntry(name string, e wim.Entry) wimEntry {
	w := wimEntry{Path: name, Dir: e.IsDir(), Modified: e.Modified, Reparse: e.ReparseTag != 0}
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
func withTree(file string, index int, f func(*wim.Tree) error) error {
	r, size, err := openWIM(file)
	if err != nil {
		return err
	}
	defer r.Close()
	reader, err := wim.Open(r, size)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
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
		return notFound(fmt.Errorf("%s has no image %d, only 1 to %d", file, index, len(info.Images)))
	}
	if err == nil {
		err = f(tree)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s: %w", file, err)
	}
	return err
}

// lookup finds a file or folder in an image.
func lookup(t *wim.Tree, name string) (wim.Entry, error) {
	e, err := t.Lookup(name)
	if errors.Is(err, fs.ErrNotExist) {
		return e, notFound(fmt.Errorf("image %d has no %s", t.Index(), name))
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

func newWIMList(o *options) *cobra.Command {
	var index int
	var recursive bool
	c := o.addJSON(&cobra.Command{
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
			entries := []wimEntry{}
			err := withTree(args[0], index, func(t *wim.Tree) error {
				e, err := lookup(t, name)
				if err != nil {
					return err
				}
				if !e.IsDir() {
					entries = append(entries, newWIMEntry(name, e))
					return nil
				}
				for child := range t.Children(e) {
					if err := walkBelow(t, path.Join(name, child.Name), child, recursive, func(name string, e wim.Entry) error {
						entries = append(entries, newWIMEntry(name, e))
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
			if o.json {
				return printJSON(out, entries)
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
			return table(out, rows)
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

// extracted is what wim extract did.
type extracted struct {
	Files   int      `json:"files"`
	Folders int      `json:"folders"`
	Bytes   int64    `json:"bytes"`
	Skipped []string `json:"skipped,omitempty"` // links and encrypted files
}

func newWIMExtract(o *options) *cobra.Command {
	var index int
	var force bool
	var out string
	c := o.addJSON(&cobra.Command{
		Use: "extract FILE PATH [PATH...] --out FOLDER", Short: "Take files out of an image of a WIM file", Args: cobra.MinimumNArgs(2),
		Long: `Extract copies files, and folders with all that is in them, into a folder, checking the
SHA-1 of each. With - as --out a single file goes to standard output.

Only contents and times are kept: no permissions, streams or short names. Links and
encrypted files are left out and named.

Exit codes: 0 done, 3 something was left out, 4 the image has no such path, 5 a file
is there already.`,
		Example: `  castpoint wim extract boot.wim /Windows/Boot/EFI/bootmgfw.efi --out loaders
  castpoint wim extract boot.wim /Windows/System32/winpeshl.ini --out -`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return command.Usage("say where to: --out FOLDER, or --out - for standard output")
			}
			if out == "-" && (len(args) > 2 || o.json) {
				return command.Usage("standard output takes one file, and no --json")
			}
			ctx, stop := command.Interrupted(cmd.Context())
			defer stop()
			var done extracted
			err := withTree(args[0], index, func(t *wim.Tree) error {
				if out == "-" {
					return extractTo(ctx, t, inside(args[1]), cmd.OutOrStdout())
				}
				x, err := newExtraction(ctx, t, out, force)
				if err != nil {
					return err
				}
				defer x.root.Close()
				for _, name := range args[1:] {
					if err := x.take(inside(name)); err != nil {
						return err
					}
				}
				done = x.done
				return nil
			})
			if err != nil || out == "-" {
				return err
			}
			w := cmd.OutOrStdout()
			if o.json {
				err = printJSON(w, done)
			} else {
				_, err = fmt.Fprintf(w, "extracted %d files and %d folders, %s\n", done.Files, done.Folders, agent.Size(done.Bytes))
			}
			if n := len(done.Skipped); err == nil && n > 0 {
				err = &partly{fmt.Errorf("%d links or encrypted files were left out, such as %s", n, visible(done.Skipped[0]))}
			}
			return err
		},
	})
	wimIndexFlag(c, &index)
	c.Flags().StringVar(&out, "out", "", "`FOLDER` to write to, made when it is not there; or -")
	c.Flags().BoolVar(&force, "force", false, "replace files that exist")
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

// extraction writes into one folder and nowhere else, whatever the image says.
type extraction struct {
	ctx   context.Context
	tree  *wim.Tree
	root  *os.Root
	force bool
	done  extracted
}

func newExtraction(ctx context.Context, t *wim.Tree, out string, force bool) (*extraction, error) {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(out)
	if err != nil {
		return nil, err
	}
	return &extraction{ctx: ctx, tree: t, root: root, force: force}, nil
}

// take extracts a file or folder under its own name; of the root, what is in it.
func (x *extraction) take(name string) error {
	e, err := lookup(x.tree, name)
	if err != nil {
		return err
	}
	top := path.Dir(name)
	return walkBelow(x.tree, name, e, true, func(full string, e wim.Entry) error {
		if err := x.ctx.Err(); err != nil {
			return err
		}
		to := strings.TrimPrefix(strings.TrimPrefix(full, top), "/")
		if to == "" {
			return nil
		}
		data, ok := e.Data()
		switch {
		case e.IsDir():
			x.done.Folders++
			return x.root.MkdirAll(to, 0o755)
		case !ok || e.ReparseTag != 0:
			if len(e.Streams) == 0 && e.ReparseTag == 0 { // an empty file
				return x.write(to, e, nil)
			}
			x.done.Skipped = append(x.done.Skipped, full)
			return nil
		}
		b, err := x.tree.OpenStream(data)
		if err != nil {
			return fmt.Errorf("%s: %w", full, err)
		}
		return x.write(to, e, b)
	})
}

// write makes a file; b is nil for an empty one.
func (x *extraction) write(to string, e wim.Entry, b *wim.Blob) error {
	flags := os.O_CREATE | os.O_WRONLY | os.O_EXCL
	if x.force {
		flags = os.O_CREATE | os.O_WRONLY | os.O_TRUNC
	}
	f, err := x.root.OpenFile(to, flags, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return &refusal{fmt.Errorf("%s exists: --force replaces it", to)}
	}
	if err != nil {
		return err
	}
	var n int64
	if b != nil {
		n, err = io.Copy(f, contextReader{x.ctx, b.Reader()})
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = x.root.Remove(to) // what is wrong is not left behind
		return fmt.Errorf("%s: %w", to, err)
	}
	x.done.Files++
	x.done.Bytes += n
	return x.root.Chtimes(to, e.Modified, e.Modified)
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
