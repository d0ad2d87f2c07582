package point

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"castpoint/boot"
	"castpoint/boot/httpboot"
	"castpoint/boot/source"
	"castpoint/internal/config"
	"castpoint/point/answer"
	"castpoint/point/explain"
	"castpoint/point/settings"
	"castpoint/tftp"
)

// ruling is what castpoint reload replaces as a whole: the settings that are in
// force, and what answers by them. It has no sockets.
type ruling struct {
	settings *settings.Settings
	*answer.Parts
	handler   *httpboot.Handler
	explainer *explain.Explainer
}

// newRuling makes one beside the one that is in force.
func (p *point) newRuling(s *settings.Settings) (_ *ruling, err error) {
	r := &ruling{settings: s}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	cfg := p.inPlace(s)
	if r.Parts, err = answer.New(&cfg, p.library, answer.Rules{Devices: p.kept.devices, Rollout: p.kept.rollout, See: true, Whois: &p.witness.Whois}, p.server.BootToken, p.build.Agents, p.log); err != nil {
		return nil, err
	}
	r.handler, err = httpboot.NewHandler(httpboot.HandlerConfig{Files: r.Files, Client: p.witness.Asker, Observe: p.witness.HTTP, Stall: cfg.HTTPStall, Log: p.log.Named("http")})
	if err != nil {
		return nil, err
	}
	r.explainer, err = explain.New(explain.Config{
		Settings: cfg, Links: p.links, Library: p.library, Rules: answer.Rules{Devices: p.kept.devices, Rollout: p.kept.rollout}, Agents: p.build.Agents,
		Recent: &p.witness.Recent, Leases: p.leases,
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// inPlace are settings with the data folder that this server has, and the id of the
// content that is assigned in place of its name.
func (p *point) inPlace(s *settings.Settings) config.Config {
	cfg := s.Config()
	cfg.Data = p.cfg.Data
	if ct, err := p.library.Get(cfg.Assign); err == nil {
		cfg.Assign = ct.ID
	}
	return cfg
}

// close gives up boot images. Those that are being sent stay open until they are.
func (r *ruling) close() {
	if r.explainer != nil {
		r.explainer.Close()
	}
	if parts := r.Parts; parts != nil {
		_ = parts.Close() // they were only read
	}
}

// force holds the ruling that is in force. Who asks it something keeps it from being
// replaced until the answer is there; transfers do not, they have their files.
type force struct {
	mu  sync.RWMutex
	now *ruling
}

// do asks the ruling that is in force.
func (f *force) do(ask func(*ruling)) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	ask(f.now)
}

// replace puts another ruling in force and gives up the one before.
func (f *force) replace(r *ruling) {
	f.mu.Lock()
	before := f.now
	f.now = r
	f.mu.Unlock()
	if before != nil {
		before.close()
	}
}

// Plan is that of the ruling that is in force.
func (f *force) Plan(c boot.Client) (plan boot.Plan) {
	f.do(func(r *ruling) { plan = r.Planner.Plan(c) })
	return plan
}

// ServeHTTP answers by the ruling that is in force when the request comes.
func (f *force) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var h *httpboot.Handler
	f.do(func(now *ruling) { h = now.handler })
	h.ServeHTTP(w, r)
}

// openTFTP gives the TFTP server files of the one name space.
func (p *point) openTFTP(ctx context.Context, r tftp.Request) (_ tftp.File, err error) {
	var f *source.File
	client := boot.Client{Interface: p.linkName(r.Interface), Server: r.Local.Addr(), Remote: r.Peer.Addr().Unmap()}
	p.force.do(func(now *ruling) { f, err = now.Files.Open(ctx, r.Path, client) })
	switch {
	case errors.Is(err, boot.ErrNotFound):
		return nil, fmt.Errorf("%w: %s", tftp.ErrNotFound, r.Path)
	case errors.Is(err, boot.ErrForbidden):
		return nil, fmt.Errorf("%w: %s", tftp.ErrForbidden, r.Path)
	case err != nil:
		return nil, err
	}
	return tftpFile{f}, nil
}
