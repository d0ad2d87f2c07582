package point

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"kernel.org/pub/linux/libs/security/libcap/cap"

	"castpoint/agent/protocol"
	"castpoint/boot/httpboot"
	"castpoint/boot/source"
	"castpoint/content/library"
	"castpoint/dhcp"
	"castpoint/dhcp/dhcp4"
	"castpoint/dhcp/lease"
	"castpoint/doctor"
	"castpoint/internal/config"
	"castpoint/internal/loglevel"
	"castpoint/internal/netio"
	"castpoint/point/answer"
	"castpoint/point/host"
	"castpoint/point/inbox"
	"castpoint/point/logging"
	"castpoint/point/settings"
	"castpoint/point/witness"
	"castpoint/tftp"
	"castpoint/web"
	"castpoint/web/call"
	"castpoint/web/console"
	"castpoint/web/join"
	"castpoint/web/metrics"
	"castpoint/web/upload"
)

// StopTime bounds a clean stop.
const StopTime = 5 * time.Second

// point is a distribution point. The order of use is newPoint, listen, run; close at
// any time.
type point struct {
	build  Build
	cfg    config.Config
	log    *zap.Logger
	levels *loglevel.Levels
	doctor func(ctx context.Context, api *call.Client, cfg *config.Config, file string) ([]doctor.Finding, error)

	settings  *settings.Settings // that the server was started with
	read      func() (*settings.Settings, error)
	reloading sync.Mutex
	force     force
	links     []host.Link // at least one; the first is the one that is told to people

	library *library.Library
	server  *web.Server
	dhcp    *dhcp.Server
	journal *lease.Journal // nil unless addresses are given
	tftp    *tftp.Server   // nil when switched off
	inbox   *inbox.Inbox   // nil unless TFTP takes them
	kept    *records
	witness *witness.Witness

	queriers *netio.Queriers // nil when IGMP cannot be heard
	console  *console.Console
	metrics  *metrics.Metrics

	http, join, admin, socket net.Listener
	https                     net.Listener // nil when switched off
	httpsTLS                  *tls.Config
	adminTLS                  *tls.Config // nil for plain HTTP, on loopback
	adminToken                string
}

// Options are what a distribution point is made of.
type Options struct {
	Build    Build
	Settings *settings.Settings
	Read     func() (*settings.Settings, error) // reads them again
	Log      *zap.Logger
	Levels   *loglevel.Levels
	Announce func(*Summary) error // called once everything is bound
	// Doctor looks for what keeps machines from booting, with an API of this server
	// and its settings, which come from a file.
	Doctor func(ctx context.Context, api *call.Client, cfg *config.Config, file string) ([]doctor.Finding, error)
}

// Serve runs a distribution point until ctx ends, which is no error.
func Serve(ctx context.Context, o Options) error {
	if err := host.BecomeOwner(o.Settings.Config().Data, slices.Concat(host.AsRoot(), onPorts(), []cap.Value{cap.NET_ADMIN})...); err != nil {
		return err
	}
	p, err := newPoint(ctx, o)
	if err != nil {
		return err
	}
	defer p.close()
	if err := p.listen(ctx); err != nil {
		return err
	}
	if err := host.KeepOnly(p.stillNeeded()...); err != nil {
		return err
	}
	if err := host.NoNewPrivileges(); err != nil {
		return err
	}
	summary, err := p.summary()
	if err == nil {
		err = o.Announce(summary)
	}
	if err != nil {
		return err
	}
	return p.run(ctx)
}

// newPoint opens the data folder and makes all parts. It binds nothing.
func newPoint(ctx context.Context, o Options) (_ *point, err error) {
	machines := new(atomic.Pointer[witness.Whois])
	cfg, log := o.Settings.Config(), logging.Follow(o.Log, machines)
	p := &point{build: o.Build, cfg: cfg, settings: o.Settings, read: o.Read, log: log, levels: o.Levels, doctor: o.Doctor, adminToken: call.NewToken()}
	if p.cfg.Data, err = filepath.Abs(cfg.Data); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	if p.links, err = host.FindLinks(cfg.Interface); err != nil {
		return nil, err
	}
	if _, err := settings.PortOf("admin", cfg.Admin); err != nil {
		return nil, err
	}
	joinPort, err := settings.PortOf("join", cfg.Join)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if p.adminTLS, err = adminTLS(&p.cfg, p.links); err != nil {
		return nil, err
	}
	provider, err := settings.OIDC(&cfg, log.Named("access"))
	if err != nil {
		return nil, err
	}
	p.metrics = metrics.New(metrics.Config{Version: p.build.Version, Read: p.metricsState, Log: log.Named("admin")})
	sessions, err := settings.Sessions(&cfg, p.links)
	if err != nil {
		return nil, err
	}
	err = whenFree(ctx, p.cfg.Data, log, func() (err error) {
		p.server, p.library, p.kept, err = openData(ctx, p.cfg.Data, web.Config{
			Sessions: sessions, Version: p.build.Version, Log: log,
			JoinURL: "https://" + netip.AddrPortFrom(p.links[0].Address, joinPort).String(),
			Assign:  join.Assignment{Content: cfg.Assign, Target: cfg.Target, After: cfg.After},
			Agents:  p.build.Agents,
			Routes:  p.routes(), Network: p.network, OIDC: provider, Metrics: p.metrics, Observe: p.metrics.API,
			Uploads: upload.Limits{Max: cfg.UploadMax, Size: int64(cfg.UploadSize), Stall: cfg.UploadStall},
		}, &p.cfg, p.build, nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	p.witness = witness.New(p.metrics, p.kept.timeline, p.kept.devices)
	machines.Store(&p.witness.Whois)
	p.cfg.Assign = p.server.Assigned() // the id, where a name was given
	if err := p.makeConsole(); err != nil {
		return nil, err
	}
	if err := p.makeBoot(); err != nil {
		return nil, err
	}
	return p, p.makeServers()
}

// makeBoot makes what machines boot from.
func (p *point) makeBoot() (err error) {
	if p.cfg.HTTPS != "" {
		if _, err := settings.PortOf("https", p.cfg.HTTPS); err != nil {
			return err
		}
		var authority []byte
		if p.httpsTLS, authority, err = bootTLS(&p.cfg, p.links); err != nil {
			return err
		}
		if authority != nil {
			if err := os.WriteFile(filepath.Join(p.cfg.Data, fileBootCA), authority, 0o644); err != nil {
				return fmt.Errorf("certificate of the boot CA: %w", err)
			}
		}
	}
	first, err := p.newRuling(p.settings)
	if err == nil {
		p.force.replace(first)
	}
	return err
}

// makeServers makes the servers of the boot protocols.
func (p *point) makeServers() error {
	d, err := settings.DHCP(&p.cfg, p.links)
	if err != nil {
		return err
	}
	d.Planner, d.Log, d.Observer = &p.force, p.log.Named("dhcp"), p.witness.DHCP
	d.Device = answer.Rules{Devices: p.kept.devices, Whois: &p.witness.Whois}.Terms
	if d.Mode == dhcp4.ModeServer {
		if p.journal, err = lease.OpenJournal(filepath.Join(p.cfg.Data, fileLeases)); err != nil {
			return err
		}
		d.Store = p.journal
	}
	if p.dhcp, err = dhcp.New(d); err != nil {
		return err
	}
	if !p.cfg.TFTP {
		return nil
	}
	t, err := settings.TFTP(&p.cfg)
	if err != nil {
		return err
	}
	t.Open, t.Log, t.Observer = p.openTFTP, p.log.Named("tftp"), p.witness.TFTP
	if p.cfg.TFTPUpload != "" {
		if p.inbox, err = inbox.Open(p.cfg.TFTPUpload, int64(p.cfg.DiskReserve)); err != nil {
			return err
		}
		t.Create = p.inbox.Create
	}
	p.tftp, err = tftp.New(t)
	return err
}

// Files of the data folder that belong to this package.
const (
	fileLeases = "leases"
	fileClock  = "clock.json"
	fileBootCA = "boot-ca.crt" // the certificate to enroll in machines, for https
)

// linkName is the name of the interface with that index, the first one's when it
// is not known.
func (p *point) linkName(index int) string {
	for _, l := range p.links {
		if l.Index == index {
			return l.Name
		}
	}
	return p.links[0].Name
}

// tftpFile is a boot file as the TFTP server wants it.
type tftpFile struct{ *source.File }

func (f tftpFile) Size() int64 { return f.File.Size }

// run serves until ctx ends or a part fails, then stops everything within
// StopTime.
func (p *point) run(ctx context.Context) error {
	servers, err := p.httpServers()
	if err != nil {
		return err
	}
	data := p.cfg.Data
	file := call.File{Address: p.admin.Addr().String(), Token: p.adminToken, PID: os.Getpid()}
	if p.adminTLS != nil {
		file.Pin = protocol.NewPin(p.adminTLS.Certificates[0].Certificate[0]).String()
	}
	if err := call.WriteFile(data, file); err != nil {
		return err
	}
	// A server that no longer runs must not be looked for.
	gone := func() {
		if err := call.RemoveFile(data); err != nil {
			p.log.Warn("admin file not removed", zap.Error(err))
		}
	}
	defer gone()

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return p.dhcp.Serve(ctx) })
	if p.tftp != nil {
		group.Go(func() error { return p.tftp.Serve(ctx) })
	}
	for _, s := range servers {
		group.Go(func() error {
			if err := s.server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serve %s: %w", s.listener.Addr(), err)
			}
			return nil
		})
		group.Go(func() error {
			<-ctx.Done()
			stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), StopTime/2)
			defer cancel()
			if s.server.Shutdown(stopping) != nil {
				return s.server.Close() // transfers that take longer are cut off; members resume
			}
			return nil
		})
	}
	group.Go(func() error {
		<-ctx.Done()
		gone()
		p.console.Close() // pages that are watched, before the listener waits for them
		p.server.Close()  // members are told that their sessions have ended
		return nil
	})
	group.Go(func() error { p.routineReload(ctx); return nil })
	group.Go(func() error { p.kept.clock.Run(ctx); return nil })
	if p.queriers != nil {
		group.Go(func() error { return p.queriers.Serve(ctx) })
	}
	if p.cfg.ValidateEvery > 0 {
		group.Go(func() error { return p.library.Schedule(ctx, p.cfg.ValidateEvery) })
	}
	if err := host.Notify(ctx, "READY=1"); err != nil {
		p.log.Warn("readiness not reported", zap.Error(err))
	}
	p.log.Info("serving", zap.Strings("interfaces", host.LinkNames(p.links)), zap.Stringer("address", p.links[0].Address), zap.String("dhcp", p.cfg.DHCP))

	ended := make(chan error, 1)
	go func() { ended <- group.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	p.log.Info("stopping")
	if err := host.Notify(context.WithoutCancel(ctx), "STOPPING=1"); err != nil {
		p.log.Warn("stop not reported", zap.Error(err))
	}
	select {
	case err := <-ended:
		return err
	case <-time.After(StopTime):
		return fmt.Errorf("something did not stop within %s", StopTime)
	}
}

// served is an HTTP server and what it listens on.
type served struct {
	server   *http.Server
	listener net.Listener
}

// httpServers are the servers of all listeners.
func (p *point) httpServers() ([]served, error) {
	if p.adminTLS != nil {
		p.admin = tls.NewListener(p.admin, p.adminTLS)
	}
	plain, err := bootServer(&p.cfg, &p.force, nil, p.log)
	if err != nil {
		return nil, err
	}
	all := []served{
		{plain, p.http},
		{p.server.JoinServer(), tls.NewListener(p.join, p.server.Identity().TLS())},
		{p.server.AdminServer(p.adminToken, p.cfg.AdminName...), p.admin},
		{p.server.SocketServer(), p.socket},
	}
	if p.https != nil {
		secure, err := bootServer(&p.cfg, &p.force, p.httpsTLS, p.log)
		if err != nil {
			return nil, err
		}
		all = append(all, served{secure, tls.NewListener(p.https, p.httpsTLS)})
	}
	return all, nil
}

// bootServer makes the server of a boot listener; t is nil for plain HTTP.
func bootServer(cfg *config.Config, handler http.Handler, t *tls.Config, log *zap.Logger) (*http.Server, error) {
	return httpboot.NewServer(httpboot.ServerConfig{
		Handler: handler, TLS: t, MaxConns: cfg.HTTPConns, MaxPerClient: cfg.HTTPClientConns,
		HeaderTimeout: cfg.HTTPHeader, IdleTimeout: cfg.HTTPIdle, Log: log,
	})
}

// close gives up everything that was opened and not yet closed by run.
func (p *point) close() {
	for _, l := range []net.Listener{p.http, p.https, p.join, p.admin, p.socket} {
		if l != nil {
			_ = l.Close()
		}
	}
	if p.dhcp != nil {
		_ = p.dhcp.Close()
	}
	if p.tftp != nil {
		_ = p.tftp.Close()
	}
	if p.queriers != nil {
		_ = p.queriers.Close()
	}
	if p.inbox != nil {
		p.inbox.Close()
	}
	if p.journal != nil {
		if err := p.journal.Close(); err != nil {
			p.log.Error("leases not closed", zap.Error(err))
		}
	}
	if p.console != nil {
		p.console.Close()
	}
	if p.server != nil {
		p.server.Close()
	}
	if p.force.now != nil {
		p.force.now.close()
	}
	if p.kept != nil {
		if err := p.kept.close(); err != nil {
			p.log.Error("records of devices not closed", zap.Error(err))
		}
	}
	if p.library != nil {
		if err := p.library.Close(); err != nil {
			p.log.Error("library not closed", zap.Error(err))
		}
	}
}
