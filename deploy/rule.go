package deploy

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"castpoint/boot"
	"castpoint/deploy/sequence"
	"castpoint/internal/event"
)

// Policy says what becomes of machines that are not on record.
type Policy string

// The policies.
const (
	PolicyServe   Policy = "serve"   // they boot by the general settings
	PolicyIgnore  Policy = "ignore"  // they hear nothing
	PolicyApprove Policy = "approve" // they wait until somebody approves them
)

func (p Policy) check() error {
	if !slices.Contains([]Policy{PolicyServe, PolicyIgnore, PolicyApprove}, p) {
		return fmt.Errorf("%w: policy for unknown devices %q: want %s, %s or %s", ErrInvalid, p, PolicyServe, PolicyIgnore, PolicyApprove)
	}
	return nil
}

// Ruling is what follows for one machine that asks.
type Ruling struct {
	Device *Device // on record for it; nil for none
	Record boot.Record
	Change boot.Change    // of the boot settings
	Style  string         // of ProxyDHCP; "" for that of the firmware table
	Delay  *time.Duration // nil for the general one
}

// Rule says what follows for a client. It changes nothing.
func (d *Devices) Rule(c boot.Client) Ruling {
	r, _ := d.rule(c, false)
	return r
}

// Explain is Rule, and why: one sentence for each rule that was gone through.
func (d *Devices) Explain(c boot.Client) (Ruling, []string) { return d.rule(c, true) }

func (d *Devices) rule(c boot.Client, explain bool) (Ruling, []string) {
	var why []string
	say := func(format string, args ...any) {
		if explain {
			why = append(why, fmt.Sprintf(format, args...))
		}
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	m := d.index.match(c)
	for _, text := range m.ignored {
		say("%s", text)
	}
	if explain {
		if text := m.conflict(); text != "" {
			say("%s", text)
		}
	}
	var r Ruling
	one := m.device
	if one != nil {
		r.Device = one.clone()
		r.Record.Name = one.Name
		say("on record as device %s (%s), known by its %s, state %s", one.Label(), one.ID, m.by, one.State)
	} else {
		say("not on record")
	}
	if one != nil && one.State == StateDenied {
		r.Record.Denied = true
		r.Record.Silent = fmt.Sprintf("device %s is denied; castpoint device approve %s lets it boot", one.Label(), one.ID)
		return r, why
	}
	if one == nil || one.State == StateWaiting {
		switch {
		case d.cfg.Unknown == PolicyIgnore:
			r.Record.Silent = "machines that are not on record are ignored (setting devices-unknown); castpoint device add lets it boot"
		case d.cfg.Unknown == PolicyApprove && m.mac == "" && m.uuid == "":
			r.Record.Silent = "it can be told from no other machine, so it cannot be approved: it has neither a UUID nor a MAC of its own"
		case d.cfg.Unknown == PolicyApprove && one == nil && d.waiting >= maxWaiting:
			r.Record.Silent = fmt.Sprintf("%d devices wait for approval already, and no more are taken: castpoint device list --state waiting", maxWaiting)
		case d.cfg.Unknown == PolicyApprove:
			r.Record.Waiting = true
		}
		say("machines that nobody has approved: %s (setting devices-unknown)", d.cfg.Unknown)
	}
	if one == nil {
		return r, why
	}
	b := one.Boot
	r.Record.Loader, r.Record.BootImage, r.Change, r.Style = b.Loader, b.Image, one.change, b.Style
	if b.Delay != nil {
		delay := time.Duration(*b.Delay) * time.Second
		r.Delay = &delay
	}
	for _, set := range []struct{ name, value string }{
		{"boot settings", strings.Join(b.Settings, " ")}, {"boot image", b.Image}, {"loader", b.Loader}, {"style", b.Style},
	} {
		if set.value != "" {
			say("its record sets %s %s", set.name, set.value)
		}
	}
	if r.Delay != nil {
		say("its record sets a delay of %s", *r.Delay)
	}
	return r, why
}

// See notes that a client has asked for something to boot. A machine that is not
// on record is put there, waiting, when the policy says so. It is called for each
// packet and does not wait for the disk.
func (d *Devices) See(c boot.Client) {
	if !c.PXE && !c.IPXE && !c.HTTPBoot {
		return
	}
	clock := d.now()
	now := clock.UTC().Truncate(time.Millisecond)
	var events []event.Event
	note := func(trouble bool, text string) {
		events = append(events, event.Event{Time: now, MAC: c.MAC.String(), UUID: c.UUID, Kind: event.KindRecord, Trouble: trouble, Message: text})
		d.log.Info("device noted", zap.Inline(c), zap.String("note", text))
	}
	d.mu.Lock()
	m := d.index.match(c)
	if text := m.conflict(); text != "" && d.tellConflict(&m, clock) {
		note(true, text)
	}
	one := m.device
	switch {
	case one != nil:
		d.seen(one, &m, c, now, func(text string) { note(false, text) })
	case d.cfg.Unknown != PolicyApprove || m.mac == "" && m.uuid == "":
	case d.waiting >= maxWaiting:
		if !d.full {
			d.full = true
			note(true, fmt.Sprintf("%d devices wait for approval: no more are taken before some are approved, denied or removed", maxWaiting))
		}
	default:
		one = &Device{ID: newID(), State: StateWaiting, Created: now, FirstSeen: now, UUID: m.uuid}
		if m.mac != "" && m.other == nil {
			one.MACs = []string{m.mac}
		}
		if one.UUID == "" && len(one.MACs) == 0 {
			break
		}
		one.see(c, now)
		d.index.add(one)
		d.count(StateWaiting, 1)
		d.dirty[one.ID] = true
		note(true, "unknown device: it waits for approval; castpoint device approve "+one.ID+", or deny")
	}
	if one != nil {
		one.heard = clock
	}
	d.mu.Unlock()
	for _, e := range events {
		d.cfg.Note(e)
	}
}

// seen notes a sighting of a device on record. mu is held.
func (d *Devices) seen(one *Device, m *match, c boot.Client, now time.Time, note func(string)) {
	if one.FirstSeen.IsZero() {
		one.FirstSeen = now
	}
	one.see(c, now)
	d.dirty[one.ID] = true
	if one.Protected {
		return
	}
	if one.State == StateImported {
		one.State = StateKnown
		note("seen for the first time since it was imported")
	}
	before := len(one.MACs)
	if !m.learn(one) {
		return
	}
	d.index.add(one)
	if len(one.MACs) > before {
		note("its MAC " + m.mac + " is new: added to the record of " + one.Label())
		return
	}
	note("its UUID " + m.uuid + " is new: added to the record of " + one.Label())
}

func (d *Device) see(c boot.Client, now time.Time) {
	d.LastSeen = now
	d.Seen.MAC, d.Seen.Interface = c.MAC.String(), c.Interface
	if c.HasArch {
		d.Seen.Firmware = c.Arch.String()
	}
	d.Seen.Firmware = strings.TrimSuffix(d.Seen.Firmware, ", iPXE")
	if c.IPXE {
		d.Seen.Firmware += ", iPXE"
	}
	if c.Remote.IsValid() {
		d.Seen.Remote = c.Remote.String()
	}
}

// tellConflict says whether a contradiction is to be told: once in conflictLife.
// mu is held.
func (d *Devices) tellConflict(m *match, now time.Time) bool {
	key := m.mac + " " + m.uuid
	if last, ok := d.conflicts[key]; ok && now.Sub(last) < conflictLife {
		return false
	}
	if len(d.conflicts) >= maxConflicts {
		d.conflicts = make(map[string]time.Time)
	}
	d.conflicts[key] = now
	return true
}

// expired lists those that wait and were not seen for a long time: by the calendar when
// another process has seen them last.
func (d *Devices) expired(now time.Time) []Device {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var old []Device
	for _, one := range d.index.byID {
		last := one.LastSeen
		if !one.heard.IsZero() {
			last = one.heard
		}
		if one.State == StateWaiting && !one.Protected && now.Sub(last) > waitingLife {
			old = append(old, *one.clone())
		}
	}
	return old
}

// Approve lets a device boot. name, when not "", becomes its name.
func (d *Devices) Approve(ctx context.Context, id, name, by string) (Device, error) {
	return d.Change(ctx, id, by, "approved", func(one *Device) error {
		if name != "" {
			one.Name = name
		}
		one.State = StateKnown
		return nil
	})
}

// Deny keeps a device from booting.
func (d *Devices) Deny(ctx context.Context, id, by string) (Device, error) {
	return d.Change(ctx, id, by, "denied", func(one *Device) error {
		one.State = StateDenied
		return nil
	})
}

// Identify finds the device of a machine by what its boot token says of it; either
// may be "".
func (d *Devices) Identify(mac, uuid string) (Device, bool) {
	c := boot.Client{UUID: uuid}
	if addr, err := net.ParseMAC(mac); err == nil {
		c.MAC = addr
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	m := d.index.match(c)
	if m.device == nil {
		return Device{}, false
	}
	return *m.device.clone(), true
}

// TakeInventory notes what the agent of a device has found. A protected device's
// record stays as it is.
func (d *Devices) TakeInventory(id string, facts sequence.Facts) (Device, error) {
	one, err := d.Get(id)
	if err != nil || one.Protected {
		return one, err
	}
	facts.Clean()
	d.edit.Lock()
	defer d.edit.Unlock()
	_, now, err := d.replace(id, func(one *Device) error {
		one.Inventory = &Inventory{Time: d.now().UTC().Truncate(time.Millisecond), Facts: facts}
		return nil
	})
	if err != nil {
		return Device{}, err
	}
	// Written with the sightings: after a crash the machine says it again.
	d.mu.Lock()
	d.dirty[id] = true
	d.mu.Unlock()
	return *now, nil
}
