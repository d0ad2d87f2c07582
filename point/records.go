package point

import (
	"context"
	"errors"
	"net"

	"go.uber.org/zap"

	"castpoint/deploy"
	"castpoint/deploy/monitor"
	"castpoint/deploy/rollout"
	"castpoint/internal/calendar"
	"castpoint/internal/config"
	"castpoint/internal/event"
	"castpoint/internal/notice"
	"castpoint/internal/store"
	"castpoint/point/host"
	"castpoint/point/settings"
	"castpoint/web/access"
)

// records are the devices of a data folder, what has happened to them, and who may
// use the server. Close them last: others record until they stop.
type records struct {
	clock    *calendar.Watch
	store    *store.Store
	timeline *event.Recorder
	devices  *deploy.Devices
	access   *access.Access
	rollout  *rollout.Register
	monitor  *monitor.Monitor
	notices  *notice.Sender
	// wake sends a Wake-on-LAN packet.
	wake func(interfaces []string, mac net.HardwareAddr) error
}

// openRecords opens the database of a data folder. The caller holds the library's
// lock, so no other castpoint has it.
func openRecords(ctx context.Context, data string, cfg *config.Config, clock *calendar.Watch, log *zap.Logger) (_ *records, err error) {
	if log == nil {
		log = zap.NewNop()
	}
	r := &records{clock: clock, wake: host.SendWake}
	defer func() {
		if err != nil {
			_ = r.close()
		}
	}()
	if r.store, err = store.Open(ctx, data); err != nil {
		return nil, err
	}
	if r.timeline, err = event.New(event.Config{Store: r.store, Age: cfg.EventsKeep, Count: int64(cfg.EventsMax), Steady: clock.Steady, Log: log.Named("events")}); err != nil {
		return nil, err
	}
	dc := settings.Devices(cfg)
	dc.Store, dc.Note, dc.Steady, dc.Log = r.store, r.timeline.Record, clock.Steady, log.Named("devices")
	if r.devices, err = deploy.Open(ctx, dc); err != nil {
		return nil, err
	}
	if r.access, err = access.Open(ctx, access.Config{Store: r.store, Steady: clock.Steady, Log: log.Named("access")}); err != nil {
		return nil, err
	}
	if r.notices, err = settings.Notices(cfg, log); err != nil {
		return nil, err
	}
	r.rollout, err = rollout.Open(ctx, rollout.Config{
		Store: r.store, Devices: r.devices, Data: data, Note: r.timeline.Record, Log: log.Named("rollout"),
	})
	if err != nil {
		return nil, err
	}
	r.monitor, err = monitor.New(monitor.Config{
		Register: r.rollout, Devices: r.devices, Log: log.Named("rollout"),
		Wake: func(mac net.HardwareAddr) error { return r.wake(cfg.Interface, mac) },
		Notify: func(n monitor.Notice) {
			r.notices.Send(notice.Message{Kind: n.Kind, Subject: "deployment " + n.Deployment, Text: n.Text, Details: n})
		},
	})
	return r, err
}

func (r *records) close() error {
	var errs []error
	if r.monitor != nil {
		r.monitor.Close()
	}
	if r.notices != nil {
		r.notices.Close()
	}
	if r.devices != nil {
		errs = append(errs, r.devices.Close())
	}
	if r.timeline != nil {
		r.timeline.Close()
	}
	if r.store != nil {
		errs = append(errs, r.store.Close())
	}
	return errors.Join(errs...)
}
