package monitor

import (
	"fmt"
	"net"
	"time"

	"go.uber.org/zap"

	"castpoint/deploy/rollout"
)

// Times of Wake-on-LAN: how long before the start of a required deployment its
// devices are woken, how long after it those are woken again that have not begun,
// and how often.
const (
	wakeBefore = 2 * time.Minute
	wakeAfter  = 30 * time.Minute
	wakeEvery  = 5 * time.Minute
)

// wakeDue wakes the devices of required deployments that are about to start.
func (m *Monitor) wakeDue() {
	if m.cfg.Wake == nil {
		return
	}
	now := m.now()
	// A start that lies between two looks was not missed: the clock was put forward.
	before := m.looked
	if m.looked = now; before.IsZero() {
		before = now
	}
	for _, d := range m.cfg.Register.Deployments() {
		if !d.Wake || d.Disabled || d.Purpose != rollout.Required || d.Start.IsZero() || now.Before(d.Start.Add(-wakeBefore)) {
			continue
		}
		if now.After(d.Start.Add(wakeAfter)) && !before.Round(0).Before(d.Start) || !d.End.IsZero() && !now.Before(d.End) {
			continue
		}
		_, _, targets, err := m.Status(d.ID)
		if err != nil {
			continue // it was removed in this moment
		}
		for _, t := range targets {
			key := d.ID + " " + t.Device
			if t.Gone || t.Run != nil && !t.Again && t.Run.Started.After(d.Start) || t.Run != nil && !t.Run.State.Ended() || now.Sub(m.woken[key]) < wakeEvery {
				continue
			}
			m.woken[key] = now
			if _, err := m.wake(t.Device, "", "before the start of deployment "+d.Name); err != nil {
				m.log.Warn("device not woken", zap.String("name", t.Label), zap.Error(err))
			}
		}
	}
}

// Wake sends Wake-on-LAN packets to all cards of a device, and says to which.
func (m *Monitor) Wake(device, by string) ([]string, error) {
	d, err := m.cfg.Devices.Find(device)
	if err != nil {
		return nil, err
	}
	return m.wake(d.ID, by, "")
}

func (m *Monitor) wake(id, by, why string) ([]string, error) {
	d, err := m.cfg.Devices.Get(id)
	if err != nil {
		return nil, err
	}
	if len(d.MACs) == 0 {
		return nil, fmt.Errorf("%w: device %s has no MAC on record, so it cannot be woken", rollout.ErrRefused, d.Label())
	}
	if m.cfg.Wake == nil {
		return nil, fmt.Errorf("%w: no server is running that could send the packets: start castpoint serve", rollout.ErrRefused)
	}
	for _, text := range d.MACs {
		mac, err := net.ParseMAC(text)
		if err == nil {
			err = m.cfg.Wake(mac)
		}
		if err != nil {
			return nil, fmt.Errorf("wake %s (%s): %w", d.Label(), text, err)
		}
	}
	text := "woken by Wake-on-LAN"
	if why != "" {
		text += " " + why
	}
	m.cfg.Register.Tell(&d, by, text)
	return d.MACs, nil
}
