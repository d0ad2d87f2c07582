package point

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"go.uber.org/zap"

	"castpoint/agent/command"
	"castpoint/boot"
	"castpoint/content"
	"castpoint/content/library"
	"castpoint/internal/config"
	"castpoint/point/settings"
)

// bootParts are what machines boot from, by whatever way they ask.
type bootParts struct {
	planner *boot.Policy
	files   *boot.Files
	windows *boot.Windows
}

func (b *bootParts) close() error {
	if b.windows == nil {
		return nil
	}
	return b.windows.Close()
}

// FolderAssets is where imported boot programs are, in the data folder.
const FolderAssets = "assets"

// makeBoot makes them. Boot images are opened when the first machine needs them.
func makeBoot(cfg *config.Config, library *library.Library, who rules, ticket boot.TicketFunc, agents fs.FS, log *zap.Logger) (*bootParts, error) {
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
	loaders, err := boot.NewLoaders(cfg.Loaders...)
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
	settings, err := boot.NewResolver(rc)
	if err != nil {
		return nil, command.Usage("%w", err)
	}
	wc := windowsConfig(cfg, loaders, library, agents)
	wc.Settings, wc.Record, wc.Ticket, wc.Log = settings, who.record, ticket, log.Named("winpe")
	// With 0 some firmware takes the boot as done and opens its setup.
	idle := boot.Idle{Exit: cfg.Idle == "disk", ExitCode: 1}
	b := &bootParts{}
	if b.windows, err = boot.NewWindows(wc); err != nil {
		return nil, err
	}
	if b.planner, err = boot.NewPlanner(boot.PlannerConfig{Loaders: loaders, HTTPPort: int(httpPort), Windows: b.windows,
		Settings: settings, Record: who.plan, Library: library, BootImage: cfg.BootImage, Idle: idle}); err == nil {
		b.files, err = boot.NewFiles(boot.FilesConfig{
			Loaders: loaders, Library: library, BootImage: cfg.BootImage, HTTPPort: int(httpPort), KernelArgs: args,
			Ticket: ticket, Windows: b.windows, Settings: settings, Record: who.record, Idle: idle, Log: log.Named("boot"),
		})
	}
	if err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}
