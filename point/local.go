package point

import (
	"context"
	"errors"

	"github.com/spf13/pflag"

	"castpoint/agent/command"
	"castpoint/content/library"
	"castpoint/internal/config"
	"castpoint/point/settings"
	"castpoint/web"
	"castpoint/web/api"
)

// LocalRoutes makes operations of the admin API for a data folder that no server has:
// those that a running server answers with parts of its own.
type LocalRoutes func(*library.Library, *records, Build) ([]func(*api.API), error)

// Local opens a data folder that no server has and answers as one would that serves
// nobody. done gives it up again. Errors: content.ErrLocked when a server has it.
func Local(ctx context.Context, data string, build Build, c *config.Config, more LocalRoutes) (_ *web.Server, done func(), err error) {
	server, library, kept, err := openData(ctx, data, web.Config{Version: build.Version}, c, build, more)
	if err != nil {
		return nil, nil, err
	}
	return server, func() {
		server.Close()
		_ = kept.close()
		_ = library.Close() // only gives up the lock
	}, nil
}

// LocalSettings answers with the file of settings, the default one for "".
func LocalSettings(path string) LocalRoutes {
	return func(*library.Library, *records, Build) ([]func(*api.API), error) {
		s, err := settings.Read(path, pflag.NewFlagSet("", pflag.ContinueOnError))
		if err != nil {
			return nil, command.Usage("%w", err)
		}
		return []func(*api.API){settingsOperation(func() *settings.Settings { return s })}, nil
	}
}

// OnlyRunning is for requests that mean nothing without a server.
func OnlyRunning(*library.Library, *records, Build) ([]func(*api.API), error) {
	return nil, errors.New("no server is running for this data folder; start it with castpoint serve")
}
