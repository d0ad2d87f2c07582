package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"castpoint/agent/command"
	"castpoint/boot"
	"castpoint/boot/bcd"
	"castpoint/boot/winpe"
	"castpoint/content"
	"castpoint/content/iso"
	"castpoint/content/wim"
	"castpoint/internal/config"
	"castpoint/web/access"
	"castpoint/web/api"
)

// windowsConfig makes the settings of Microsoft's boot chain out of those of the
// file. Settings, Ticket and Log are missing.
func windowsConfig(cfg *config.Config, loaders *boot.Loaders, library *content.Library) boot.WindowsConfig {
	return boot.WindowsConfig{
		Loaders: loaders, Library: library, BootImage: cfg.BootImage, Extra: cfg.WinPEFiles, Agent: windowsAgent,
	}
}

// bootSettings makes the settings of machines out of those of the file.
func bootSettings(cfg *config.Config) (boot.ResolverConfig, error) {
	r := boot.ResolverConfig{Base: boot.Settings{
		CA: cfg.ChainCA, Prompt: cfg.WinPEPrompt,
		Store: bcd.Options{BlockSize: cfg.RamdiskBlockSize, WindowSize: cfg.RamdiskWindow, VariableWindow: &cfg.RamdiskVariableWindow},
	}}
	if cfg.BCD != "" {
		var err error
		if r.Base.BCD, err = os.ReadFile(cfg.BCD); err != nil {
			return r, fmt.Errorf("bcd: %w", err)
		}
	}
	rules, err := cfg.BootRules()
	if err != nil {
		return r, err
	}
	for _, from := range rules {
		rule := boot.Rule{MAC: from.MAC, UUID: from.UUID}
		for _, arch := range config.ChainArchs()[from.Arch] {
			rule.Archs = append(rule.Archs, boot.Arch(arch))
		}
		if rule.Set, err = boot.ParseChange(from.Set); err != nil {
			return r, command.Usage("machine: %w", err)
		}
		r.Rules = append(r.Rules, rule)
	}
	return r, nil
}

// windowsAgent is the embedded agent for Windows machines of arch.
func windowsAgent(arch string) (io.ReaderAt, int64, error) {
	name := "castagent-windows-" + arch + ".exe"
	b, err := agents.ReadFile("agents/" + name)
	if err != nil {
		return nil, 0, fmt.Errorf("this castpoint was built without %s: build it with make build: %w", name, err)
	}
	return bytes.NewReader(b), int64(len(b)), nil
}

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

func newWIMBoot(o *options) *cobra.Command {
	var index int
	var folders []string
	c := o.addJSON(&cobra.Command{
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
			if o.json {
				return printJSON(out, b)
			}
			if _, err := fmt.Fprintf(out, "image %d, %s, Windows %s\n\n", b.Index, orDash(b.Arch), orDash(b.Version)); err != nil {
				return err
			}
			return b.Print(out, time.Now(), table)
		},
	})
	c.Flags().IntVar(&index, "index", 0, "`NUMBER` of the image inside the WIM (default: the one marked for booting)")
	c.Flags().StringSliceVar(&folders, "files", nil, "`FOLDER` of boot files that the image lacks; may be repeated")
	return c
}

// fillArch fills in the architecture of a boot image that is being added, which
// WIMs made by other tools than Microsoft's do not name: that of its programs.
func fillArch(path string, index int, arch *string) {
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

// reportOperation answers what machines can boot a boot image.
func reportOperation(library func() *content.Library, windows func() (*boot.Windows, func())) func(*api.API) {
	return func(a *api.API) {
		api.Answer(a, api.Operation{
			ID: "get-boot-report", Method: http.MethodGet, Path: "/boot-images/{id}/report", Scope: access.Read, Tag: "contents",
			Summary: "What machines can boot a Windows boot image",
		}, func(_ context.Context, in *struct {
			ID string `path:"id"`
		}) (*winpe.Report, error) {
			ct, err := library().Get(in.ID)
			if err != nil {
				return nil, api.Problem(http.StatusNotFound, "castpoint content list shows what there is", "%v", err)
			}
			w, done := windows()
			defer done()
			return w.Report(ct)
		})
	}
}

// localReport answers without a server, with the settings of the file, or those of
// a server without one.
func localReport(data string) localRoutes {
	return func(library *content.Library, kept *records) ([]func(*api.API), error) {
		cfg, err := config.Load("")
		if err != nil {
			return nil, err
		}
		cfg.Data = data
		parts, err := makeBoot(&cfg, library, rules{devices: kept.devices, rollout: kept.rollout}, nil, zap.NewNop())
		if err != nil {
			return nil, err
		}
		return []func(*api.API){reportOperation(func() *content.Library { return library }, func() (*boot.Windows, func()) {
			return parts.windows, func() { _ = parts.close() }
		})}, nil
	}
}

// bootReport asks what machines can boot a content, nil when it is no Windows PE.
func (o *options) bootReport(ctx context.Context, ct *content.Content) (*winpe.Report, error) {
	if _, ok := ct.File(content.RoleImage); ct.Kind != content.KindBootImage || !ok {
		return nil, nil
	}
	client, done, err := o.adminRoutes(ctx, localReport(o.data))
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

// printBootReport prints what machines can boot a content, if it is a Windows PE.
func (o *options) printBootReport(ctx context.Context, out io.Writer, ct *content.Content) error {
	r, err := o.bootReport(ctx, ct)
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
	return r.Print(out, time.Now(), table)
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
