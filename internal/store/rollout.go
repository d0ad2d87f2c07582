package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"
)

// Named is the row of a collection or a deployment: what people gave it, as JSON.
type Named struct {
	ID      string
	Name    string // one of its table has it, whatever its letter case
	Body    json.RawMessage
	Changed time.Time
}

// Table is a table of Named rows.
type Table string

// The tables.
const (
	TableCollections Table = "collection"
	TableDeployments Table = "deployment"
)

// AllNamed reads a table.
func (s *Store) AllNamed(ctx context.Context, t Table) (all []Named, err error) {
	err = s.query(ctx, func(r *sql.Rows) error {
		var n Named
		var body string
		var changed int64
		if err := r.Scan(&n.ID, &n.Name, &body, &changed); err != nil {
			return err
		}
		n.Body, n.Changed = json.RawMessage(body), fromMillis(changed)
		all = append(all, n)
		return nil
	}, "SELECT id, name, body, changed FROM "+string(t))
	return all, err
}

// PutNamed writes a row in place of the one with its id. ErrExists: another one has
// that name.
func (s *Store) PutNamed(ctx context.Context, t Table, n Named) error {
	return s.tx(ctx, true, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO `+string(t)+`(id, name, body, changed) VALUES (?, ?, ?, ?)
			ON CONFLICT(id) DO UPDATE SET name = excluded.name, body = excluded.body, changed = excluded.changed`,
			n.ID, n.Name, string(n.Body), toMillis(n.Changed))
		return err
	})
}

// DeleteNamed deletes a row, with the runs of a deployment. ErrNotFound: there is
// none.
func (s *Store) DeleteNamed(ctx context.Context, t Table, id string) error {
	return s.tx(ctx, true, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, "DELETE FROM "+string(t)+" WHERE id = ?", id)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err == nil && n == 0 {
			return fmt.Errorf("%s %s: %w", t, id, ErrNotFound)
		}
		if t == TableDeployments {
			_, err = tx.ExecContext(ctx, "DELETE FROM run WHERE deployment = ?", id)
		}
		return err
	})
}

// Sequence is the row of one revision of a task sequence. Revisions stay as they
// are: runs go on with the one that they began with.
type Sequence struct {
	Name     string
	Revision int // counts from 1
	Text     string
	By       string
	Time     time.Time
}

// Sequences reads all revisions, oldest first.
func (s *Store) Sequences(ctx context.Context) (all []Sequence, err error) {
	err = s.query(ctx, func(r *sql.Rows) error {
		var q Sequence
		var at int64
		if err := r.Scan(&q.Name, &q.Revision, &q.Text, &q.By, &at); err != nil {
			return err
		}
		q.Time = fromMillis(at)
		all = append(all, q)
		return nil
	}, "SELECT name, revision, text, by, time FROM sequence ORDER BY name, revision")
	return all, err
}

// AddSequence writes a revision. ErrExists: it is there.
func (s *Store) AddSequence(ctx context.Context, q Sequence) error {
	return s.tx(ctx, true, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO sequence(name, revision, text, by, time) VALUES (?, ?, ?, ?, ?)",
			q.Name, q.Revision, q.Text, q.By, toMillis(q.Time))
		return err
	})
}

// DeleteSequence deletes a revision, or all of them with revision 0.
func (s *Store) DeleteSequence(ctx context.Context, name string, revision int) error {
	return s.tx(ctx, true, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM sequence WHERE name = ? AND (? = 0 OR revision = ?)", name, revision, revision)
		return err
	})
}

// Secret is the row of a secret variable. Its value is sealed: who has only the
// database cannot read it.
type Secret struct {
	Scope  string // whose it is: a collection's, a device's
	Owner  string // id
	Name   string
	Sealed []byte
}

// Secrets reads all secrets.
func (s *Store) Secrets(ctx context.Context) (all []Secret, err error) {
	err = s.query(ctx, func(r *sql.Rows) error {
		var one Secret
		if err := r.Scan(&one.Scope, &one.Owner, &one.Name, &one.Sealed); err != nil {
			return err
		}
		all = append(all, one)
		return nil
	}, "SELECT scope, owner, name, sealed FROM secret")
	return all, err
}

// PutSecret writes a secret; one without a sealed value is deleted, and one without
// a name stands for all of its owner.
func (s *Store) PutSecret(ctx context.Context, one Secret) error {
	return s.tx(ctx, true, func(tx *sql.Tx) (err error) {
		if one.Sealed == nil {
			_, err = tx.ExecContext(ctx, "DELETE FROM secret WHERE scope = ? AND owner = ? AND (? = '' OR name = ?)", one.Scope, one.Owner, one.Name, one.Name)
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT OR REPLACE INTO secret(scope, owner, name, sealed) VALUES (?, ?, ?, ?)", one.Scope, one.Owner, one.Name, one.Sealed)
		return err
	})
}

// Run is the row of one run of a sequence on a device.
type Run struct {
	ID         string
	Deployment string
	Device     string
	Ended      bool
	Body       json.RawMessage
	Started    time.Time
}

// RunStep is the row of what is known of one step of a run.
type RunStep struct {
	Run    string
	Path   string
	Number int
	Body   json.RawMessage
}

// LastRuns reads the last run of each device in each deployment, oldest first.
func (s *Store) LastRuns(ctx context.Context) ([]Run, error) {
	return s.runs(ctx, `SELECT id, deployment, device, ended, body, started FROM run
		WHERE rowid IN (SELECT max(rowid) FROM run GROUP BY deployment, device) ORDER BY rowid`)
}

// RunsOf reads the runs of a device in a deployment, oldest first; "" of either
// stands for all.
func (s *Store) RunsOf(ctx context.Context, deployment, device string) ([]Run, error) {
	return s.runs(ctx, `SELECT id, deployment, device, ended, body, started FROM run
		WHERE (?1 = '' OR deployment = ?1) AND (?2 = '' OR device = ?2) ORDER BY rowid`, deployment, device)
}

// RunByID reads a run. ErrNotFound: there is none.
func (s *Store) RunByID(ctx context.Context, id string) (Run, error) {
	list, err := s.runs(ctx, "SELECT id, deployment, device, ended, body, started FROM run WHERE id = ?", id)
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("run %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return Run{}, err
	}
	return list[0], nil
}

func (s *Store) runs(ctx context.Context, text string, args ...any) (all []Run, err error) {
	err = s.query(ctx, func(r *sql.Rows) error {
		var one Run
		var body string
		var started int64
		if err := r.Scan(&one.ID, &one.Deployment, &one.Device, &one.Ended, &body, &started); err != nil {
			return err
		}
		one.Body, one.Started = json.RawMessage(body), fromMillis(started)
		all = append(all, one)
		return nil
	}, text, args...)
	return all, err
}

// RunSteps reads the steps of a run in their order.
func (s *Store) RunSteps(ctx context.Context, run string) (all []RunStep, err error) {
	err = s.query(ctx, func(r *sql.Rows) error {
		one := RunStep{Run: run}
		var body string
		if err := r.Scan(&one.Path, &one.Number, &body); err != nil {
			return err
		}
		one.Body = json.RawMessage(body)
		all = append(all, one)
		return nil
	}, "SELECT path, number, body FROM run_step WHERE run = ? ORDER BY number", run)
	return all, err
}

// PutRun writes a run, with the step that has changed if there is one. It survives a
// kill of the process when it returns; a power cut may take the last second's.
func (s *Store) PutRun(ctx context.Context, r Run, step *RunStep) error {
	return s.tx(ctx, false, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO run(id, deployment, device, ended, body, started) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT(id) DO UPDATE SET ended = excluded.ended, body = excluded.body`,
			r.ID, r.Deployment, r.Device, r.Ended, string(r.Body), toMillis(r.Started))
		if err != nil || step == nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT OR REPLACE INTO run_step(run, path, number, body) VALUES (?, ?, ?, ?)", r.ID, step.Path, step.Number, string(step.Body))
		return err
	})
}

// Again is the row of a device that a deployment is to run on once more.
type Again struct {
	Deployment string
	Device     string
	By         string
	Time       time.Time
}

// OnceMore reads all of them.
func (s *Store) OnceMore(ctx context.Context) (all []Again, err error) {
	err = s.query(ctx, func(r *sql.Rows) error {
		var a Again
		var at int64
		if err := r.Scan(&a.Deployment, &a.Device, &a.By, &at); err != nil {
			return err
		}
		a.Time = fromMillis(at)
		all = append(all, a)
		return nil
	}, "SELECT deployment, device, by, time FROM again")
	return all, err
}

// PutAgain writes flags, all or none.
func (s *Store) PutAgain(ctx context.Context, list ...Again) error {
	return s.tx(ctx, true, func(tx *sql.Tx) error {
		for _, a := range list {
			if _, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO again(deployment, device, by, time) VALUES (?, ?, ?, ?)",
				a.Deployment, a.Device, a.By, toMillis(a.Time)); err != nil {
				return err
			}
		}
		return nil
	})
}

// DeleteAgain takes a flag away: the run has begun.
func (s *Store) DeleteAgain(ctx context.Context, deployment, device string) error {
	return s.tx(ctx, false, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM again WHERE deployment = ? AND (? = '' OR device = ?)", deployment, device, device)
		return err
	})
}
