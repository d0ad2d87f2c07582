package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"
)

// Device is the row of a device. What its fields may hold is up to package deploy.
type Device struct {
	ID        string
	Name      string // "" for none; else one device has it, whatever its letter case
	UUID      string // "" for none; else one device has it
	MACs      []string
	State     string
	Protected bool
	Notes     string
	Variables map[string]string
	Groups    []string
	Settings  json.RawMessage // of its boot
	Seen      json.RawMessage // how it asked last
	Inventory json.RawMessage // what its agent has found; nil before that
	Created   time.Time
	FirstSeen time.Time // zero: never
	LastSeen  time.Time
}

// Devices reads all devices in no certain order. A distribution point keeps them
// in memory: what a packet asks for cannot wait for a disk.
func (s *Store) Devices(ctx context.Context) ([]Device, error) {
	macs := make(map[string][]string)
	err := s.query(ctx, func(r *sql.Rows) error {
		var mac, device string
		if err := r.Scan(&mac, &device); err != nil {
			return err
		}
		macs[device] = append(macs[device], mac)
		return nil
	}, "SELECT mac, device FROM device_mac ORDER BY device, place")
	if err != nil {
		return nil, err
	}
	var all []Device
	err = s.query(ctx, func(r *sql.Rows) error {
		var d Device
		var variables, groups, settings, seen, inventory string
		var created, first, last int64
		if err := r.Scan(&d.ID, &d.Name, &d.UUID, &d.State, &d.Protected, &d.Notes,
			&variables, &groups, &settings, &seen, &inventory, &created, &first, &last); err != nil {
			return err
		}
		for text, to := range map[string]any{variables: &d.Variables, groups: &d.Groups} {
			if text == "" {
				continue
			}
			if err := json.Unmarshal([]byte(text), to); err != nil {
				return fmt.Errorf("%w: device %s: %w", ErrDamaged, d.ID, err)
			}
		}
		d.MACs, d.Settings, d.Seen = macs[d.ID], json.RawMessage(settings), json.RawMessage(seen)
		if inventory != "" {
			d.Inventory = json.RawMessage(inventory)
		}
		d.Created, d.FirstSeen, d.LastSeen = fromMillis(created), fromMillis(first), fromMillis(last)
		all = append(all, d)
		return nil
	}, `SELECT id, name, uuid, state, protected, notes, variables, groups, settings, seen, inventory, created, first_seen, last_seen FROM device`)
	return all, err
}

// PutDevices writes devices, new ones and changed ones, all or none, and does not
// return before they are on the disk. ErrExists: another device has that name, UUID
// or MAC.
func (s *Store) PutDevices(ctx context.Context, list ...Device) error {
	return s.tx(ctx, true, func(tx *sql.Tx) error {
		// Names, UUIDs and MACs may move from one of the list to another, so all
		// are given up first.
		for _, d := range list {
			if _, err := tx.ExecContext(ctx, "DELETE FROM device WHERE id = ?", d.ID); err != nil {
				return err
			}
		}
		for _, d := range list {
			if err := insertDevice(ctx, tx, d); err != nil {
				return fmt.Errorf("device %s: %w", d.ID, err)
			}
		}
		return nil
	})
}

func insertDevice(ctx context.Context, tx *sql.Tx, d Device) error {
	variables, err := json.Marshal(d.Variables)
	if err != nil {
		return err
	}
	groups, err := json.Marshal(d.Groups)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO device(id, name, uuid, state, protected, notes, variables, groups, settings, seen, inventory, created, first_seen, last_seen)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		d.ID, d.Name, d.UUID, d.State, d.Protected, d.Notes, string(variables), string(groups),
		string(d.Settings), string(d.Seen), string(d.Inventory), toMillis(d.Created), toMillis(d.FirstSeen), toMillis(d.LastSeen))
	for i, mac := range d.MACs {
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO device_mac(mac, device, place) VALUES (?, ?, ?)", mac, d.ID, i)
	}
	return err
}

// DeleteDevice deletes a device. ErrNotFound: there is none.
func (s *Store) DeleteDevice(ctx context.Context, id string) error {
	return s.tx(ctx, true, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, "DELETE FROM device WHERE id = ?", id)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err == nil && n == 0 {
			return fmt.Errorf("device %s: %w", id, ErrNotFound)
		}
		return nil
	})
}

func toMillis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
