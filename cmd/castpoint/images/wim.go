package images

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"castpoint/agent"
	"castpoint/agent/command"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/content/wim"
	"castpoint/content/wim/integrity"
)

// NewWIM are the commands about WIM files.
func NewWIM(o *cli.Options) *cobra.Command {
	return command.Group("wim", "Look into WIM files", newWIMInfo(o), newWIMList(o), newWIMExtract(o), newWIMVerify(o), newWIMBoot(o))
}

// openWIM opens a file and says how long it is.
func openWIM(path string) (*os.File, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	st, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, 0, err
	}
	if st.IsDir() {
		_ = f.Close()
		return nil, 0, fmt.Errorf("%s: it is a folder, not a WIM file", path)
	}
	return f, st.Size(), nil
}

// inFile puts the name of a WIM file into an error that does not have it.
func inFile(path string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) || strings.Contains(err.Error(), path) {
		return err
	}
	return fmt.Errorf("%s: %w", path, err)
}

// imageNumber reads the INDEX behind FILE, 0 when there is none.
func imageNumber(args []string) (int, error) {
	if len(args) < 2 {
		return 0, nil
	}
	n, err := strconv.Atoi(args[1])
	if err != nil || n < 1 {
		return 0, command.Usage("INDEX %q is no number of an image, from 1", args[1])
	}
	return n, nil
}

// noImage is the error for an index that a file does not have.
func noImage(file string, index int, info *wim.Info) error {
	if len(info.Images) == 0 {
		return cli.NotFound(fmt.Errorf("%s has no images", file))
	}
	if len(info.Images) == 1 {
		return cli.NotFound(fmt.Errorf("%s has no image %d, only image 1", file, index))
	}
	return cli.NotFound(fmt.Errorf("%s has no image %d, only 1 to %d", file, index, len(info.Images)))
}

const splitHelp = `
Of a split WIM (SWM) any part can be named; the others are looked for in its folder.`

func newWIMInfo(o *cli.Options) *cobra.Command {
	return o.AddJSON(&cobra.Command{
		Use: "info FILE [INDEX]", Short: "Say what is in a WIM file", Args: cobra.RangeArgs(1, 2),
		Long: `Info describes a WIM or ESD file and its images, by what the file says of itself. With
INDEX it says all of one image.
` + splitHelp,
		Example: `  castpoint wim info install.wim
  castpoint wim info install.esd 6`,
		RunE: func(cmd *cobra.Command, args []string) error {
			index, err := imageNumber(args)
			if err != nil {
				return err
			}
			files, err := wim.OpenFiles(args[0])
			if err != nil {
				return inFile(args[0], err)
			}
			defer files.Close()
			info, err := wim.DescribeSet(files.Parts)
			if err != nil {
				return inFile(args[0], err)
			}
			if index != 0 {
				image, ok := info.Image(index)
				if !ok {
					return noImage(args[0], index, info)
				}
				info.Images = []wim.Image{image}
			}
			out := cmd.OutOrStdout()
			if o.JSON {
				return terminal.JSON(out, info)
			}
			if err := terminal.Table(out, fileRows(args[0], info)); err != nil {
				return err
			}
			fmt.Fprintln(out)
			if len(info.Images) == 1 {
				return terminal.Table(out, imageRows(&info.Images[0]))
			}
			rows := [][]string{{"INDEX", "NAME", "EDITION", "VERSION", "ARCH", "LANGUAGES", "FILES", "SIZE"}}
			for _, i := range info.Images {
				rows = append(rows, []string{
					strconv.Itoa(i.Index), terminal.OrDash(i.Name), terminal.OrDash(i.Edition), terminal.OrDash(i.Version), terminal.OrDash(i.Arch),
					terminal.OrDash(strings.Join(i.Languages, " ")), strconv.FormatInt(i.Files, 10), agent.Size(i.TotalBytes),
				})
			}
			return terminal.Table(out, rows)
		},
	})
}

// fileRows describes a WIM file.
func fileRows(file string, info *wim.Info) [][]string {
	how := string(info.Compression)
	if info.ChunkSize > 0 {
		how += fmt.Sprintf(", chunks of %s", agent.Size(int64(info.ChunkSize)))
	}
	if info.Solid {
		how += ", solid"
	}
	if info.Pipable {
		how += ", pipable"
	}
	rows := [][]string{
		{"file", file}, {"size", agent.Size(info.Size)}, {"guid", info.GUID},
		{"compression", how}, {"integrity table", terminal.YesNo(info.Integrity)},
	}
	if info.Split() {
		rows = append(rows, []string{"parts", strconv.Itoa(info.Parts)})
	}
	rows = append(rows, []string{"boot index", strconv.Itoa(info.BootIndex)})
	if info.ReadOnly {
		rows = append(rows, []string{"read-only", "yes"})
	}
	if info.Unfinished {
		rows = append(rows, []string{"unfinished", "a program is writing it, or crashed doing so"})
	}
	return rows
}

// imageRows says all of one image.
func imageRows(i *wim.Image) [][]string {
	day := func(t time.Time) string {
		if t.IsZero() {
			return "-"
		}
		return t.UTC().Format("2006-01-02 15:04:05 UTC")
	}
	languages := strings.Join(i.Languages, " ")
	if i.DefaultLanguage != "" && len(i.Languages) > 1 {
		languages += " (default " + i.DefaultLanguage + ")"
	}
	build := ""
	if parts := strings.Split(i.Version, "."); len(parts) == 4 {
		build = parts[2] + "." + parts[3]
	}
	rows := [][]string{{"index", strconv.Itoa(i.Index)}, {"name", terminal.OrDash(i.Name)}}
	for _, r := range [][]string{
		{"description", i.Description}, {"display name", i.DisplayName}, {"display description", i.DisplayDescription},
		{"flags", i.Flags}, {"edition", i.Edition}, {"installation type", i.InstallationType}, {"product", i.ProductName},
		{"version", i.Version}, {"build", build}, {"architecture", i.Arch}, {"languages", languages}, {"system root", i.SystemRoot},
	} {
		if r[1] != "" {
			rows = append(rows, r)
		}
	}
	size := agent.Size(i.TotalBytes)
	if i.HardLinkBytes > 0 {
		size += ", of it " + agent.Size(i.HardLinkBytes) + " in further names of files"
	}
	return append(rows, []string{"files", strconv.FormatInt(i.Files, 10)}, []string{"folders", strconv.FormatInt(i.Dirs, 10)},
		[]string{"size", size}, []string{"created", day(i.Created)}, []string{"modified", day(i.Modified)})
}

// verified is what wim verify did.
type verified struct {
	File      string `json:"file"`
	Size      int64  `json:"size"` // bytes of all parts
	Parts     int    `json:"parts"`
	Index     int    `json:"index,omitempty"`
	Integrity bool   `json:"integrity"`     // there is an integrity table, and it matches
	Bytes     int64  `json:"content_bytes"` // decompressed and compared with their SHA-1
	Good      bool   `json:"good"`
}

func newWIMVerify(o *cli.Options) *cobra.Command {
	var table bool
	var threads int
	c := o.AddJSON(&cobra.Command{
		Use: "verify FILE [INDEX]", Short: "Check all that is in a WIM file", Args: cobra.RangeArgs(1, 2),
		Long: `Verify hashes a WIM or ESD file against the integrity table inside it, when it has one,
then decompresses every file of every image, or of the image INDEX, and compares the SHA-1.
With --table only the integrity table is used, which is faster.
` + splitHelp + `

Exit codes: 0 good, 1 damaged or no WIM, 3 with --table: the file has no table, so that
only its structure was checked.`,
		Example: `  castpoint wim verify install.wim
  castpoint wim verify install.swm
  castpoint wim verify --table install.wim`,
		RunE: func(cmd *cobra.Command, args []string) error {
			index, err := imageNumber(args)
			if err != nil {
				return err
			}
			if threads, err = threadCount(threads); err != nil {
				return err
			}
			if table && index != 0 {
				return command.Usage("the integrity table is of the whole file: leave out INDEX or --table")
			}
			files, err := wim.OpenFiles(args[0])
			if err != nil {
				return inFile(args[0], err)
			}
			defer files.Close()
			ctx, stop := command.Interrupted(cmd.Context())
			defer stop()
			done := verified{File: args[0], Parts: len(files.Parts), Index: index, Good: true}
			info, err := wim.DescribeSet(files.Parts)
			if err != nil {
				return inFile(args[0], err)
			}
			done.Size = info.Size
			if index == 0 {
				progress, clear := terminal.Meter(cmd.ErrOrStderr(), "verify "+filepath.Base(args[0]))
				err = integrity.VerifySet(ctx, files.Parts, threads, progress)
				clear()
				done.Integrity = err == nil
				if err != nil && (table || !errors.Is(err, integrity.ErrNoIntegrity)) {
					return inFile(args[0], err)
				}
			}
			if !table {
				progress, clear := terminal.Meter(cmd.ErrOrStderr(), "verify contents of "+filepath.Base(args[0]))
				err = verifyContents(ctx, args[0], files.Parts, index, threads, func(n, total int64) {
					done.Bytes = n
					if progress != nil {
						progress(n, total)
					}
				})
				clear()
				if err != nil {
					return inFile(args[0], err)
				}
			}
			if o.JSON {
				return terminal.JSON(cmd.OutOrStdout(), done)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: good%s\n", args[0], done.text())
			return err
		},
	})
	c.Flags().BoolVar(&table, "table", false, "check the integrity table only")
	threadsFlag(c, &threads)
	return c
}

// text says what was checked.
func (v *verified) text() string {
	var what []string
	if v.Integrity {
		what = append(what, "integrity table of "+agent.Size(v.Size))
	} else if v.Index == 0 {
		what = append(what, "no integrity table")
	}
	if v.Bytes > 0 {
		what = append(what, "contents of "+agent.Size(v.Bytes))
	}
	return " (" + strings.Join(what, ", ") + ")"
}

func threadsFlag(c *cobra.Command, n *int) {
	c.Flags().IntVar(n, "threads", 0, "`NUMBER` of processors to use (default: all)")
}

// threadCount is what --threads means.
func threadCount(n int) (int, error) {
	switch {
	case n < 0:
		return 0, command.Usage("--threads %d: at least 1", n)
	case n == 0:
		return runtime.GOMAXPROCS(0), nil
	}
	return n, nil
}

// verifyContents reads every blob, or those of one image.
func verifyContents(ctx context.Context, file string, parts []wim.Part, index, threads int, progress func(done, total int64)) error {
	r, err := wim.OpenSet(parts)
	if err != nil {
		return err
	}
	first, last := 1, len(r.Info().Images)
	if index != 0 {
		if _, ok := r.Info().Image(index); !ok {
			return noImage(file, index, r.Info())
		}
		first, last = index, index
	}
	var blobs []wim.Hash
	for i := first; i <= last; i++ {
		// The directory trees have rules of their own, beside their SHA-1.
		tree, err := r.Image(i)
		if err != nil || index == 0 {
			if err != nil {
				return err
			}
			continue
		}
		if blobs, err = blobsOf(tree); err != nil {
			return err
		}
	}
	if index != 0 {
		err = r.ReadBlobs(ctx, blobs, threads, nil, progress)
	} else {
		err = r.VerifyBlobs(ctx, threads, progress)
	}
	var damaged *wim.BlobError
	if errors.As(err, &damaged) {
		return fmt.Errorf("%s: %w", whereIs(r, damaged.Hash), err)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: image %d refers to what is not in the file: %w", wim.ErrCorrupt, index, err)
	}
	return err
}

// blobsOf lists the contents of an image.
func blobsOf(t *wim.Tree) ([]wim.Hash, error) {
	var blobs []wim.Hash
	err := t.Walk(func(_ string, e wim.Entry) error {
		for _, s := range e.Streams {
			if s.Hash != (wim.Hash{}) {
				blobs = append(blobs, s.Hash)
			}
		}
		return nil
	})
	return blobs, err
}

// whereIs says which file has a content.
func whereIs(r *wim.Reader, h wim.Hash) string {
	where := "no file of any image"
	for i := range r.Info().Images {
		tree, err := r.Image(i + 1)
		if err != nil {
			continue
		}
		err = tree.Walk(func(path string, e wim.Entry) error {
			for _, s := range e.Streams {
				if s.Hash == h {
					where = fmt.Sprintf("image %d, %s", i+1, visible(path))
					return fs.SkipAll
				}
			}
			return nil
		})
		if err == nil && strings.HasPrefix(where, "image") {
			break
		}
	}
	return where
}
