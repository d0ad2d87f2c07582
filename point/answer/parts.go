package answer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"go.uber.org/zap"

	"castpoint/agent/command"
	"castpoint/boot"
	"castpoint/boot/bootfile"
	"castpoint/boot/policy"
	"castpoint/boot/source"
	"castpoint/boot/windows"
	"castpoint/content"
	"castpoint/content/library"
	"castpoint/internal/config"
	"castpoint/point/settings"
)

// Parts are what machines boot from, by whatever way they ask.
type Parts struct {
	Planner *policy.Planner
	Files   *bootfile.Space
	Windows *windows.Chain
}

// Close gives up boot images. Those that are being sent stay open until they are.
func (b *Parts) Close() error {
	if b.Windows == nil {
		return nil
	}
	return b.Windows.Close()
}

// FolderAssets is where imported boot programs are, in the data folder.
const FolderAssets = "assets"

// New makes them out of the settings. Boot images are opened when the first machine needs them.
func New(cfg *config.Config, library *library.Library, who Rules, ticket boot.TicketFunc, agents fs.FS, log *zap.Logger) (*Parts, error) {
	httpPort, err := settings.PortOf("http", cfg.HTTP)
	if err != nil {
		return nil, err
	}
	if cfg.BootImage != "" {
		ct, err := library.Get(cfg.BootImage)
		if err != nil {
			return nil, fmt.Errorf("boot-image: %w; castpoint content list shows what there is", err)
		}
		if ct.Kind != content.KindBootImage {
			return nil, command.Usage("boot-image %s is an %s: choose a boot image", ct.ID, ct.Kind)
		}
	}
	loaders, err := source.NewLoaders(cfg.Loaders...)
	if err != nil {
		return nil, fmt.Errorf("loaders: %w", err)
	}
	loaders.Assets(filepath.Join(cfg.Data, FolderAssets))
	var args []string
	for _, a := range cfg.KernelArgs {
		args = append(args, strings.Fields(a)...)
	}
	rc, err := settings.Boot(cfg)
	if err != nil {
		return nil, err
	}
	rc.Log, rc.Device = log.Named("boot"), who.change
	machines, err := boot.NewResolver(rc)
	if err != nil {
		return nil, command.Usage("%w", err)
	}
	wc := windowsConfig(cfg, loaders, library, agents)
	wc.Settings, wc.Record, wc.Ticket, wc.Log = machines, who.record, ticket, log.Named("winpe")
	// With 0 some firmware takes the boot as done and opens its setup.
	idle := boot.Idle{Exit: cfg.Idle == "disk", ExitCode: 1}
	b := &Parts{}
	if b.Windows, err = windows.New(wc); err != nil {
		return nil, err
	}
	if b.Planner, err = policy.New(policy.Config{Loaders: loaders, HTTPPort: int(httpPort), Windows: b.Windows,
		Settings: machines, Record: who.plan, Library: library, BootImage: cfg.BootImage, Idle: idle}); err == nil {
		b.Files, err = bootfile.New(bootfile.Config{
			Loaders: loaders, Library: library, BootImage: cfg.BootImage, HTTPPort: int(httpPort), KernelArgs: args,
			Ticket: ticket, Windows: b.Windows, Settings: machines, Record: who.record, Idle: idle, Log: log.Named("boot"),
		})
	}
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// windowsConfig makes the settings of Microsoft's boot chain out of those of the
// file. Settings, Ticket and Log are missing.
func windowsConfig(cfg *config.Config, loaders *source.Loaders, library *library.Library, agents fs.FS) windows.Config {
	return windows.Config{
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
