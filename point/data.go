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
	"castpoint/web"
	"castpoint/web/api"
)

// FolderLibrary is the library's folder in the data folder.
const FolderLibrary = "library"

// LocalRoutes makes operations of the admin API for a data folder that no server has:
// those that a running server answers with parts of its own.
type LocalRoutes func(*library.Library, *records, Build) ([]func(*api.API), error)

// Build is what the program brings along.
type Build struct {
	Version string
	Agents  fs.FS // castagent-SYSTEM-ARCH[.exe]; those that are missing are not handed out
}

// Local opens a data folder that no server has and answers as one would that serves
// nobody. done gives it up again. Errors: content.ErrLocked when a server has it.
func Local(ctx context.Context, data string, build Build, settings *config.Config, more LocalRoutes) (_ *web.Server, done func(), err error) {
	server, library, kept, err := openData(ctx, data, web.Config{Version: build.Version}, settings, build, more)
	if err != nil {
		return nil, nil, err
	}
	return server, func() {
		server.Close()
		_ = kept.close()
		_ = library.Close() // only gives up the lock
	}, nil
}

// openData opens the library of a data folder, making the folder when it is not
// there, and the state beside it. The records are closed after the server and
// before the library, which has the lock. more may be nil.
func openData(ctx context.Context, data string, cfg web.Config, settings *config.Config, build Build, more LocalRoutes) (_ *web.Server, _ *library.Library, kept *records, err error) {
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
		Reserve: libraryReserve(settings), Log: cfg.Log.Named("content"), Trial: inspectApart(inspectLimits()), Steady: clock.Steady,
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
	if kept, err = openRecords(ctx, data, settings, clock, cfg.Log); err != nil {
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

// libraryReserve is the reserve as the library takes it, where 0 is the default.
func libraryReserve(c *config.Config) int64 {
	if c.DiskReserve == 0 {
		return -1
	}
	return int64(c.DiskReserve)
}
