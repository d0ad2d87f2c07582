package point

import (
	"context"
	"errors"

	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"castpoint/agent/command"
	"castpoint/boot/windows"
	"castpoint/content/library"
	"castpoint/deploy"
	"castpoint/internal/config"
	"castpoint/point/answer"
	"castpoint/point/explain"
	"castpoint/point/host"
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

// LocalExplain answers from the file of settings when no server runs.
func LocalExplain(path, data string) LocalRoutes {
	return func(library *library.Library, kept *records, build Build) ([]func(*api.API), error) {
		cfg, err := config.Load(path)
		if err == nil {
			cfg.Data = data
			err = cfg.Validate()
		}
		if err != nil {
			return nil, command.Usage("%w", err)
		}
		links, err := host.FindLinks(cfg.Interface)
		if err != nil {
			return nil, err
		}
		// The same records under the file's policy.
		dc := settings.Devices(&cfg)
		dc.Store = kept.store
		devices, err := deploy.Open(context.Background(), dc)
		if err != nil {
			return nil, err
		}
		e, err := explain.New(explain.Config{
			Settings: cfg, Links: links, Library: library, Rules: answer.Rules{Devices: devices, Rollout: kept.rollout}, Agents: build.Agents,
		})
		if err != nil {
			return nil, errors.Join(err, devices.Close())
		}
		return []func(*api.API){explain.Operations(func() (*explain.Explainer, func()) {
			return e, func() {
				e.Close()
				_ = devices.Close() // nothing was seen, so nothing is written
			}
		})}, nil
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
		parts, err := answer.New(&cfg, lib, answer.Rules{Devices: kept.devices, Rollout: kept.rollout}, nil, build.Agents, zap.NewNop())
		if err != nil {
			return nil, err
		}
		return []func(*api.API){reportOperation(func() *library.Library { return lib }, func() (*windows.Chain, func()) {
			return parts.Windows, func() { _ = parts.Close() }
		})}, nil
	}
}

// OnlyRunning is for requests that mean nothing without a server.
func OnlyRunning(*library.Library, *records, Build) ([]func(*api.API), error) {
	return nil, errors.New("no server is running for this data folder; start it with castpoint serve")
}
