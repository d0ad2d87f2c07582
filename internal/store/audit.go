package store

import (
	"context"
	"database/sql"
	"time"
)

// AuditEntry is the row of something that somebody changed, or tried to.
type AuditEntry struct {
	ID     int64 // given by the store, rising
	Time   time.Time
	Who    string
	How    string // socket, token, password, ...
	Remote string
	Action string
	Target string
	Detail string
	Status int    // of HTTP
	Error  string // "" when it was done
}

// AddAudit writes an entry and fills in its number. It is on the disk when it
// returns.
func (s *Store) AddAudit(ctx context.Context, e *AuditEntry) error {
	return s.tx(ctx, true, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, "INSERT INTO audit(time, who, how, remote, action, target, detail, status, error) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
			toMillis(e.Time), e.Who, e.How, e.Remote, e.Action, e.Target, e.Detail, e.Status, e.Error)
		if err == nil {
			e.ID, err = r.LastInsertId()
		}
		return err
	})
}

// Audit reads at most limit entries with numbers below before (0: the newest),
// newest first.
func (s *Store) Audit(ctx context.Context, before int64, limit int) (all []AuditEntry, err error) {
	if before <= 0 {
		before = 1<<63 - 1
	}
	err = s.query(ctx, func(r *sql.Rows) error {
		var e AuditEntry
		var ms int64
		if err := r.Scan(&e.ID, &ms, &e.Who, &e.How, &e.Remote, &e.Action, &e.Target, &e.Detail, &e.Status, &e.Error); err != nil {
			return err
		}
		e.Time = fromMillis(ms)
		all = append(all, e)
		return nil
	}, "SELECT id, time, who, how, remote, action, target, detail, status, error FROM audit WHERE id < ? ORDER BY id DESC LIMIT ?", before, limit)
	return all, err
}

// TrimAudit deletes the oldest entries beyond keep.
func (s *Store) TrimAudit(ctx context.Context, keep int64) error {
	return s.tx(ctx, false, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM audit WHERE id <= (SELECT coalesce(max(id), 0) FROM audit) - ?", keep)
		return err
	})
}
