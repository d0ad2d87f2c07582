package point

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.uber.org/zap"

	"castpoint/content/library"
	"castpoint/internal/calendar"
	"castpoint/internal/config"
	"castpoint/point/settings"
	"castpoint/web"
)

// FolderLibrary is the library's folder in the data folder.
const FolderLibrary = "library"

// Build is what the program brings along.
type Build struct {
	Version string
	Agents  fs.FS // castagent-SYSTEM-ARCH[.exe]; those that are missing are not handed out
}

// openData opens the library of a data folder, making the folder when it is not
// there, and the state beside it. The records are closed after the server and
// before the library, which has the lock. more may be nil.
func openData(ctx context.Context, data string, cfg web.Config, c *config.Config, build Build, more LocalRoutes) (_ *web.Server, _ *library.Library, kept *records, err error) {
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, nil, nil, fmt.Errorf("data folder: %w; name another with --data", err)
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	clock, err := calendar.OpenWatch(filepath.Join(data, fileClock), cfg.Log.Named("clock"))
	if err != nil {
		return nil, nil, nil, err
	}
	library, err := library.OpenOptions(filepath.Join(data, FolderLibrary), library.Options{
		Reserve: settings.LibraryReserve(c), Log: cfg.Log.Named("content"), Trial: inspectApart(inspectLimits()), Steady: clock.Steady,
	})
	if err != nil {
		return nil, nil, nil, err
	}
	cfg.Library = library
	defer func() {
		if err != nil {
			if kept != nil {
				err = errors.Join(err, kept.close())
			}
			err = errors.Join(err, library.Close())
		}
	}()
	if kept, err = openRecords(ctx, data, c, clock, cfg.Log); err != nil {
		return nil, nil, nil, err
	}
	cfg.Devices, cfg.Timeline, cfg.Access, cfg.Rollout, cfg.Monitor = kept.devices, kept.timeline, kept.access, kept.rollout, kept.monitor
	if more != nil {
		cfg.Routes, err = more(library, kept, build)
	}
	if err == nil {
		cfg.Data, err = filepath.Abs(data)
	}
	if err == nil {
		var server *web.Server
		if server, err = web.New(cfg); err == nil {
			return server, library, kept, nil
		}
	}
	return nil, nil, kept, err
}
