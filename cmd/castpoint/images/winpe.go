package images

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"castpoint/boot/winpe"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/content"
	"castpoint/content/iso"
	"castpoint/content/wim"
	"castpoint/point"
)

// describeBootImage looks into a WinPE boot image, and into folders for what it
// lacks.
func describeBootImage(path string, index int, folders []string) (*winpe.Report, error) {
	f, size, err := openWIM(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var o winpe.Options
	r, size, media, err := bootWIM(f, size, path)
	if err != nil {
		return nil, err
	}
	if media != nil {
		o.Extra = append(o.Extra, media)
	}
	for _, dir := range folders {
		if _, err := os.ReadDir(dir); err != nil {
			return nil, err
		}
		o.Extra = append(o.Extra, winpe.FoldCase(os.DirFS(dir)))
	}
	img, err := winpe.Open(r, size, index, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return img.Report(), nil
}

func newWIMBoot(o *cli.Options) *cobra.Command {
	var index int
	var folders []string
	c := o.AddJSON(&cobra.Command{
		Use: "boot FILE", Short: "Say what machines can boot a WinPE image, and what is missing",
		Long: `Boot lists the boot files in a WinPE image (boot managers, boot.sdi, fonts), who signed
them, and for each one that is missing what does not work without it. FILE is a WIM or
the ISO image of Windows installation media. With --files it looks into folders too, as
castpoint serve --winpe-files does.`,
		Example: `  castpoint wim boot boot.wim
  castpoint wim boot boot.wim --files /media/windows`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := describeBootImage(args[0], index, folders)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if o.JSON {
				return terminal.JSON(out, b)
			}
			if _, err := fmt.Fprintf(out, "image %d, %s, Windows %s\n\n", b.Index, terminal.OrDash(b.Arch), terminal.OrDash(b.Version)); err != nil {
				return err
			}
			return b.Print(out, time.Now(), terminal.Table)
		},
	})
	c.Flags().IntVar(&index, "index", 0, "`NUMBER` of the image inside the WIM (default: the one marked for booting)")
	c.Flags().StringSliceVar(&folders, "files", nil, "`FOLDER` of boot files that the image lacks; may be repeated")
	return c
}

// FillArch fills in the architecture of a boot image that is being added, which
// WIMs made by other tools than Microsoft's do not name: that of its programs.
func FillArch(path string, index int, arch *string) {
	if *arch != "" {
		return
	}
	b, err := describeBootImage(path, index, nil)
	if err != nil {
		return // no Windows PE; what is wrong with it, adding it says better
	}
	f, size, err := openWIM(path)
	if err != nil {
		return
	}
	defer f.Close()
	r, size, _, err := bootWIM(f, size, path)
	if err != nil {
		return
	}
	if info, err := wim.Describe(r, size); err == nil {
		if i, ok := info.Image(b.Index); ok && i.Arch == "" {
			*arch = b.Arch
		}
	}
}

// BootReport asks what machines can boot a content, nil when it is no Windows PE.
func BootReport(ctx context.Context, o *cli.Options, ct *content.Content) (*winpe.Report, error) {
	if _, ok := ct.File(content.RoleImage); ct.Kind != content.KindBootImage || !ok {
		return nil, nil
	}
	client, done, err := o.AdminRoutes(ctx, point.LocalReport(o.Data))
	if err != nil {
		return nil, err
	}
	defer done()
	var r winpe.Report
	if err := client.Call(ctx, http.MethodGet, "/boot-images/"+url.PathEscape(ct.ID)+"/report", nil, &r); err != nil {
		return nil, err
	}
	return &r, nil
}

// PrintBootReport prints what machines can boot a content, if it is a Windows PE.
func PrintBootReport(ctx context.Context, o *cli.Options, out io.Writer, ct *content.Content) error {
	r, err := BootReport(ctx, o, ct)
	if err != nil {
		// It is in the library, and may be something else than Windows PE.
		_, err := fmt.Fprintf(out, "what can boot it is not known: %v\n", err)
		return err
	}
	if r == nil {
		return nil
	}
	if _, err := fmt.Fprintln(out); err != nil {
		return err
	}
	return r.Print(out, time.Now(), terminal.Table)
}

// bootWIM is the WIM of a boot image: the file itself, or the one inside the ISO
// image of installation media, whose other files are then given too.
func bootWIM(f *os.File, size int64, path string) (io.ReaderAt, int64, fs.FS, error) {
	if !iso.Sniff(f) {
		return f, size, nil, nil
	}
	img, err := iso.Open(f, size)
	if err != nil {
		return nil, 0, nil, fmt.Errorf("%s: %w", path, err)
	}
	boot, ok := img.Find("sources/boot.wim")
	if !ok {
		return nil, 0, nil, fmt.Errorf("%s: the ISO image has no sources/boot.wim: it is not of Windows installation media", path)
	}
	return boot.Open(f), boot.Size, img.FS(f), nil
}
