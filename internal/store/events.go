package store

import (
	"context"
	"database/sql"
	"math"
	"slices"
	"time"
)

// Event is the row of something that happened to a machine.
type Event struct {
	ID      int64 // given by the store, rising
	Time    time.Time
	MAC     string // "" when not known
	UUID    string // "" when not known
	Kind    string
	Trouble bool
	Message string
	Details string // JSON object, or ""
}

// AddEvents writes events and fills in their numbers. They are safe from a kill of
// the process when it returns; a power cut may take the last second's.
func (s *Store) AddEvents(ctx context.Context, list []Event) error {
	return s.tx(ctx, false, func(tx *sql.Tx) error {
		add, err := tx.PrepareContext(ctx, "INSERT INTO event(time, mac, uuid, kind, trouble, message, details) VALUES (?, ?, ?, ?, ?, ?, ?)")
		if err != nil {
			return err
		}
		defer func() { _ = add.Close() }()
		for i := range list {
			e := &list[i]
			r, err := add.ExecContext(ctx, toMillis(e.Time), e.MAC, e.UUID, e.Kind, e.Trouble, e.Message, e.Details)
			if err != nil {
				return err
			}
			if e.ID, err = r.LastInsertId(); err != nil {
				return err
			}
		}
		return nil
	})
}

// EventQuery says which events are wanted.
type EventQuery struct {
	// MACs and UUIDs of the machine: an event that has one of them belongs to it.
	// None of both means the events of all machines.
	MACs, UUIDs []string
	Kinds       []string // none means all
	Before      int64    // only events with lower numbers; 0 for all
	After       int64    // only events with higher numbers
	Limit       int      // at most so many, the newest; 0 means 100
}

// DefaultLimit is the length of a page when none is named.
const DefaultLimit = 100

const (
	eventColumns = "SELECT id, time, mac, uuid, kind, trouble, message, details FROM event"
	eventRange   = " id > ? AND id < ? ORDER BY id DESC LIMIT ?"
)

// Events reads a page of events, the newest ones that fit, oldest first. Each of a
// machine's addresses is one search in an index that is read backwards until the
// page is full, however long the history is.
func (s *Store) Events(ctx context.Context, q EventQuery) ([]Event, error) {
	if q.Limit <= 0 {
		q.Limit = DefaultLimit
	}
	if q.Before <= 0 {
		q.Before = 1<<63 - 1
	}
	var found []Event
	scan := func(r *sql.Rows) error {
		var e Event
		var ms int64
		if err := r.Scan(&e.ID, &ms, &e.MAC, &e.UUID, &e.Kind, &e.Trouble, &e.Message, &e.Details); err != nil {
			return err
		}
		e.Time = fromMillis(ms)
		found = append(found, e)
		return nil
	}
	// The sign keeps SQLite from the index of kinds: a machine has fewer events.
	kinds, kindArgs := "", []any(nil)
	for i, k := range q.Kinds {
		sep := ", ?"
		if i == 0 {
			sep = " +kind IN (?"
		}
		kinds += sep
		kindArgs = append(kindArgs, k)
	}
	if kinds != "" {
		kinds += ") AND"
	}
	ranged := func(where string, args ...any) error {
		return s.query(ctx, scan, eventColumns+" WHERE"+where+eventRange, append(args, q.After, q.Before, q.Limit)...)
	}
	search := func(where string, args ...any) error { return ranged(where+kinds, append(args, kindArgs...)...) }
	if len(q.MACs)+len(q.UUIDs) == 0 {
		if len(q.Kinds) == 0 {
			if err := ranged(""); err != nil {
				return nil, err
			}
		}
		// One search for each: the index gives the events of one kind in order, not
		// those of several.
		for _, k := range q.Kinds {
			if err := ranged(" kind = ? AND", k); err != nil {
				return nil, err
			}
		}
	}
	// The second half of each condition lets SQLite use the partial index.
	for _, mac := range q.MACs {
		if err := search(" mac = ? AND mac <> '' AND", mac); err != nil {
			return nil, err
		}
	}
	for _, uuid := range q.UUIDs {
		if err := search(" uuid = ? AND uuid <> '' AND", uuid); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(found, func(a, b Event) int { return int(a.ID - b.ID) })
	found = slices.CompactFunc(found, func(a, b Event) bool { return a.ID == b.ID })
	return found[max(0, len(found)-q.Limit):], nil
}

// LastEvent is the number of the newest event, 0 when there has been none.
func (s *Store) LastEvent(ctx context.Context) (last int64, err error) {
	err = s.query(ctx, func(r *sql.Rows) error { return r.Scan(&last) }, "SELECT coalesce(max(id), 0) FROM event")
	return last, err
}

// trimBatch bounds how long a deletion holds up the writer.
const trimBatch = 2000

// TrimEvents deletes the events from before a time, and the oldest ones beyond
// keep; the zero time deletes none for its age. It says how many went.
//
// Numbers rise with time, but for a clock that was set. What was recorded after an event
// that is young is young itself, though its own time says that it is years old. A time of
// the future says nothing.
func (s *Store) TrimEvents(ctx context.Context, before, now time.Time, keep int64) (gone int64, err error) {
	last, err := s.LastEvent(ctx)
	if err != nil {
		return 0, err
	}
	from, to := toMillis(before), toMillis(now)
	if before.IsZero() {
		from, to = math.MinInt64, math.MaxInt64
	}
	for {
		var n int64
		err := s.tx(ctx, false, func(tx *sql.Tx) error {
			r, err := tx.ExecContext(ctx, `WITH front AS MATERIALIZED (SELECT id, time FROM event ORDER BY id LIMIT ?)
				DELETE FROM event WHERE id IN (SELECT id FROM front)
				AND (id <= ? OR id < coalesce((SELECT min(id) FROM front WHERE time BETWEEN ? AND ?), ?))`,
				trimBatch, last-keep, from, to, int64(math.MaxInt64))
			if err != nil {
				return err
			}
			n, err = r.RowsAffected()
			return err
		})
		gone += n
		if err != nil || n < trimBatch {
			return gone, err
		}
	}
}
