package point

import (
	"context"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"go.uber.org/zap"

	"castpoint/internal/config"
	"castpoint/point/host"
	"castpoint/point/logging"
	"castpoint/point/settings"
	"castpoint/web/access"
	"castpoint/web/api"
	"castpoint/web/join"
)

// SettingsList is all settings, in the order in which they are documented.
type SettingsList struct {
	File     string             `json:"file,omitempty" doc:"left out when there is none"`
	Settings []settings.Setting `json:"settings" nullable:"false"`
}

// settingsOperation shows the settings of a serving point.
func settingsOperation(get func() *settings.Settings) func(*api.API) {
	return func(a *api.API) {
		api.Answer(a, api.Operation{
			ID: "list-settings", Method: http.MethodGet, Path: "/settings", Scope: access.Read, Tag: "server",
			Summary: "The settings, and where each comes from",
			About:   "Each with its value, whether the file, a flag or nobody has set it, and whether a change needs a restart. Secrets are in files and not among them.",
		}, func(_ context.Context, _ *struct{}) (SettingsList, error) {
			s := get()
			return SettingsList{File: s.File(), Settings: s.List()}, nil
		})
	}
}

// Reloaded says what a reload has changed.
type Reloaded struct {
	Changed []string `json:"changed" nullable:"false" doc:"settings that are in force now"`
	Restart []string `json:"restart" nullable:"false" doc:"settings that have changed in the file and need a restart"`
}

// reload reads the settings again and puts them in force, or changes nothing. The
// new state is made beside the old one; sockets, transfers and sessions stay.
func (p *point) reload() (*Reloaded, error) {
	p.reloading.Lock()
	defer p.reloading.Unlock()
	next, err := p.read()
	if err != nil {
		return nil, err
	}
	var before config.Config
	p.force.do(func(r *ruling) { before = r.settings.Config() })
	from, to := p.settings.Config(), next.Config()
	res := &Reloaded{Changed: []string{}, Restart: []string{}}
	for _, name := range config.Changed(&before, &to) {
		if settings.Reloads(name) {
			res.Changed = append(res.Changed, name)
		}
	}
	// What needs a restart is compared with what the server was started with.
	for _, name := range config.Changed(&from, &to) {
		if !settings.Reloads(name) {
			res.Restart = append(res.Restart, name)
		}
	}
	if err := p.apply(next); err != nil {
		return nil, err
	}
	p.log.Info("settings read again", zap.Strings("changed", res.Changed), zap.Strings("restart", res.Restart))
	return res, nil
}

// apply puts settings in force. What can fail comes first, and changes nothing.
func (p *point) apply(next *settings.Settings) error {
	// What needs a restart stays as it was.
	next = next.MergedWith(p.settings)
	cfg := p.inPlace(next)
	sessions, err := settings.Sessions(&cfg, p.links)
	if err != nil {
		return err
	}
	d, err := settings.DHCP(&cfg, p.links)
	if err != nil {
		return err
	}
	fresh, err := p.newRuling(next)
	if err != nil {
		return err
	}
	// Each of these checks before it changes anything, and what one of them
	// refuses config.Validate has refused already, but for the assignment, which
	// is the first.
	for _, step := range []func() error{
		func() error {
			return p.server.Reload(join.Assignment{Content: cfg.Assign, Target: cfg.Target, After: cfg.After}, *sessions)
		},
		func() error { return p.dhcp.Reload(d) },
		func() error { return p.kept.devices.Reload(settings.Devices(&cfg)) },
		func() error { return p.kept.timeline.Keep(cfg.EventsKeep, int64(cfg.EventsMax)) },
		func() error { return logging.SetLevels(p.levels, &cfg) },
	} {
		if err := step(); err != nil {
			fresh.close()
			return err
		}
	}
	p.force.replace(fresh)
	return nil
}

// routineReload reads the settings again at each SIGHUP.
func (p *point) routineReload(ctx context.Context) {
	hups := make(chan os.Signal, 1)
	signal.Notify(hups, syscall.SIGHUP)
	defer signal.Stop(hups)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hups:
			if err := host.Notify(ctx, "RELOADING=1"); err != nil {
				p.log.Warn("reload not reported", zap.Error(err))
			}
			if _, err := p.reload(); err != nil {
				p.log.Error("settings not read again: the old ones stay in force", zap.Error(err))
			}
			if err := host.Notify(ctx, "READY=1"); err != nil {
				p.log.Warn("reload not reported", zap.Error(err))
			}
		}
	}
}

func reloadOperation(reload func() (*Reloaded, error)) func(*api.API) {
	return func(a *api.API) {
		api.Answer(a, api.Operation{
			ID: "reload", Method: http.MethodPost, Path: "/reload", Scope: access.Admin, Tag: "server",
			Summary: "Read the settings again and put them in force, or change nothing",
			About:   "The new state is made beside the old one, and takes its place when nothing is wrong with it. Sockets, transfers and sessions stay. Settings of listeners and interfaces need a restart; the answer names those that have changed.",
		}, func(ctx context.Context, _ *struct{}) (*Reloaded, error) {
			res, err := reload()
			if err != nil {
				return nil, api.Problem(http.StatusUnprocessableEntity, "the old settings stay in force; castpoint config check looks for mistakes", "%v", err)
			}
			api.Note(ctx, "changed: %s", strings.Join(res.Changed, ", "))
			return res, nil
		})
	}
}
