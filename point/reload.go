package point

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"go.uber.org/zap"

	"castpoint/content/library"
	"castpoint/internal/config"
	"castpoint/point/host"
	"castpoint/web/access"
	"castpoint/web/api"
	"castpoint/web/join"
)

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
	var before *Settings
	p.force.do(func(r *ruling) { before = r.settings })
	res := &Reloaded{Changed: []string{}, Restart: []string{}}
	for _, name := range config.Changed(&before.cfg, &next.cfg) {
		if Reloads(name) {
			res.Changed = append(res.Changed, name)
		}
	}
	// What needs a restart is compared with what the server was started with.
	for _, name := range config.Changed(&p.settings.cfg, &next.cfg) {
		if !Reloads(name) {
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
func (p *point) apply(next *Settings) error {
	// What needs a restart stays as it was.
	next = next.mergedWith(p.settings)
	cfg := p.inPlace(&next.cfg)
	sessions, err := sessionConfig(&cfg, p.links)
	if err != nil {
		return err
	}
	d, err := dhcpConfig(&cfg, p.links)
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
		func() error { return p.kept.devices.Reload(devicesConfig(&cfg)) },
		func() error { return p.kept.timeline.Keep(cfg.EventsKeep, int64(cfg.EventsMax)) },
		func() error { return setLevels(p.levels, &cfg) },
	} {
		if err := step(); err != nil {
			fresh.close()
			return err
		}
	}
	p.force.replace(fresh)
	return nil
}

// mergedWith are the settings with those that need a restart taken from others.
func (s *Settings) mergedWith(started *Settings) *Settings {
	stays := func(name string) bool { return !Reloads(name) }
	merged := &Settings{cfg: config.Merge(&s.cfg, &started.cfg, stays), file: s.file, lines: make(map[string]int), given: s.given}
	for _, name := range config.Names() {
		from := s
		if stays(name) {
			from = started
		}
		if line, ok := from.lines[name]; ok {
			merged.lines[name] = line
		}
	}
	return merged
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

// OnlyRunning is for requests that mean nothing without a server.
func OnlyRunning(*library.Library, *records, Build) ([]func(*api.API), error) {
	return nil, errors.New("no server is running for this data folder; start it with castpoint serve")
}
