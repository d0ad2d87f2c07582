package point

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"

	"go.uber.org/zap"

	"castpoint/boot"
	"castpoint/boot/winpe"
	"castpoint/content/library"
	"castpoint/internal/config"
	"castpoint/web/access"
	"castpoint/web/api"
)

// windowsConfig makes the settings of Microsoft's boot chain out of those of the
// file. Settings, Ticket and Log are missing.
func windowsConfig(cfg *config.Config, loaders *boot.Loaders, library *library.Library, agents fs.FS) boot.WindowsConfig {
	return boot.WindowsConfig{
		Loaders: loaders, Library: library, BootImage: cfg.BootImage, Extra: cfg.WinPEFiles,
		Agent: func(arch string) (io.ReaderAt, int64, error) { return windowsAgent(agents, arch) },
	}
}

// windowsAgent is the embedded agent for Windows machines of arch.
func windowsAgent(agents fs.FS, arch string) (io.ReaderAt, int64, error) {
	name := "castagent-windows-" + arch + ".exe"
	b, err := fs.ReadFile(agents, name)
	if err != nil {
		return nil, 0, fmt.Errorf("this castpoint was built without %s: build it with make build: %w", name, err)
	}
	return bytes.NewReader(b), int64(len(b)), nil
}

// reportOperation answers what machines can boot a boot image.
func reportOperation(library func() *library.Library, windows func() (*boot.Windows, func())) func(*api.API) {
	return func(a *api.API) {
		api.Answer(a, api.Operation{
			ID: "get-boot-report", Method: http.MethodGet, Path: "/boot-images/{id}/report", Scope: access.Read, Tag: "contents",
			Summary: "What machines can boot a Windows boot image",
			About:   "Says for each kind of firmware, with Secure Boot and without, whether it can boot the image, which files are missing, where they can be had, and who has signed the loaders.",
		}, func(_ context.Context, in *struct {
			ID string `path:"id" doc:"id or name of the boot image"`
		}) (*winpe.Report, error) {
			ct, err := library().Get(in.ID)
			if err != nil {
				return nil, api.Problem(http.StatusNotFound, "castpoint content list shows what there is", "%v", err)
			}
			w, done := windows()
			defer done()
			r, err := w.Report(ct)
			if err != nil {
				return nil, api.Problem(http.StatusUnprocessableEntity, "castpoint content show "+ct.ID+" says what it is", "content %s is no usable Windows boot image: %v", ct.ID, err)
			}
			return r, nil
		})
	}
}

// LocalReport answers without a server, with the settings of the file, or those of
// a server without one.
func LocalReport(data string) LocalRoutes {
	return func(lib *library.Library, kept *records, build Build) ([]func(*api.API), error) {
		cfg, err := config.Load("")
		if err != nil {
			return nil, err
		}
		cfg.Data = data
		parts, err := makeBoot(&cfg, lib, rules{devices: kept.devices, rollout: kept.rollout}, nil, build.Agents, zap.NewNop())
		if err != nil {
			return nil, err
		}
		return []func(*api.API){reportOperation(func() *library.Library { return lib }, func() (*boot.Windows, func()) {
			return parts.windows, func() { _ = parts.close() }
		})}, nil
	}
}
