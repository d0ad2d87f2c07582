package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// migration is one step of the tables' history. Steps are never changed once they
// are released: what is to be different is a new step behind them.
type migration struct {
	version int // counts from 1
	what    string
	steps   []string
}

// migrations are all steps, in order.
func migrations() []migration {
	return []migration{
		{1, "devices", []string{
			`CREATE TABLE device (
				id         TEXT PRIMARY KEY,
				name       TEXT NOT NULL COLLATE NOCASE,
				uuid       TEXT NOT NULL,
				state      TEXT NOT NULL,
				protected  INTEGER NOT NULL,
				notes      TEXT NOT NULL,
				variables  TEXT NOT NULL,          -- JSON object
				groups     TEXT NOT NULL,          -- JSON list
				settings   TEXT NOT NULL,          -- JSON object
				seen       TEXT NOT NULL,          -- JSON object: how it asked last
				created    INTEGER NOT NULL,       -- times are milliseconds since 1970
				first_seen INTEGER NOT NULL,       -- 0: never
				last_seen  INTEGER NOT NULL
			) WITHOUT ROWID`,
			`CREATE UNIQUE INDEX device_name ON device(name) WHERE name <> ''`,
			`CREATE UNIQUE INDEX device_uuid ON device(uuid) WHERE uuid <> ''`,
			`CREATE TABLE device_mac (
				mac    TEXT PRIMARY KEY,
				device TEXT NOT NULL REFERENCES device(id) ON DELETE CASCADE,
				place  INTEGER NOT NULL            -- order within the device
			) WITHOUT ROWID`,
			`CREATE INDEX device_mac_device ON device_mac(device)`,
		}},
		{2, "events", []string{
			// AUTOINCREMENT: a number is never given twice, also when the newest
			// events were deleted; followers go by it.
			`CREATE TABLE event (
				id      INTEGER PRIMARY KEY AUTOINCREMENT,
				time    INTEGER NOT NULL,
				mac     TEXT NOT NULL,
				uuid    TEXT NOT NULL,
				kind    TEXT NOT NULL,
				trouble INTEGER NOT NULL,
				message TEXT NOT NULL,
				details TEXT NOT NULL              -- JSON object, or empty
			)`,
			// The row's number is the last column of every index, so these also
			// keep each machine's events in order.
			`CREATE INDEX event_mac ON event(mac) WHERE mac <> ''`,
			`CREATE INDEX event_uuid ON event(uuid) WHERE uuid <> ''`,
		}},
		{3, "access", []string{
			// Of secrets there are only hashes.
			`CREATE TABLE access_token (
				id        TEXT PRIMARY KEY,
				hash      TEXT NOT NULL UNIQUE,
				name      TEXT NOT NULL,
				scope     TEXT NOT NULL,
				by        TEXT NOT NULL,           -- who made it
				created   INTEGER NOT NULL,
				expires   INTEGER NOT NULL,        -- 0: never
				last_used INTEGER NOT NULL
			) WITHOUT ROWID`,
			`CREATE TABLE access_user (
				name       TEXT PRIMARY KEY COLLATE NOCASE,
				password   TEXT NOT NULL,          -- PHC string
				scope      TEXT NOT NULL,
				created    INTEGER NOT NULL,
				last_login INTEGER NOT NULL
			) WITHOUT ROWID`,
			`CREATE TABLE access_session (
				hash    TEXT PRIMARY KEY,
				user    TEXT NOT NULL COLLATE NOCASE,
				how     TEXT NOT NULL,             -- password or oidc
				scope   TEXT NOT NULL,
				csrf    TEXT NOT NULL,
				remote  TEXT NOT NULL,
				created INTEGER NOT NULL,
				seen    INTEGER NOT NULL
			) WITHOUT ROWID`,
			`CREATE TABLE audit (
				id     INTEGER PRIMARY KEY AUTOINCREMENT,
				time   INTEGER NOT NULL,
				who    TEXT NOT NULL,
				how    TEXT NOT NULL,
				remote TEXT NOT NULL,
				action TEXT NOT NULL,
				target TEXT NOT NULL,
				detail TEXT NOT NULL,
				status INTEGER NOT NULL,           -- of HTTP
				error  TEXT NOT NULL
			)`,
		}},
		{4, "task sequences", rolloutTables()},
		{5, "events by kind", []string{
			// A kind that is rare is not looked for among all events.
			`CREATE INDEX event_kind ON event(kind)`,
		}},
	}
}

// rolloutTables hold collections, sequences, deployments and their runs.
func rolloutTables() []string {
	const named = ` (
		id      TEXT PRIMARY KEY,
		name    TEXT NOT NULL UNIQUE COLLATE NOCASE,
		body    TEXT NOT NULL,             -- JSON object
		changed INTEGER NOT NULL
	) WITHOUT ROWID`
	return []string{
		`ALTER TABLE device ADD COLUMN inventory TEXT NOT NULL DEFAULT ''`, // JSON object, or empty
		`CREATE TABLE collection` + named,
		`CREATE TABLE deployment` + named,
		`CREATE TABLE sequence (
			name     TEXT NOT NULL COLLATE NOCASE,
			revision INTEGER NOT NULL,
			text     TEXT NOT NULL,            -- YAML, as it was given
			by       TEXT NOT NULL,
			time     INTEGER NOT NULL,
			PRIMARY KEY (name, revision)
		) WITHOUT ROWID`,
		`CREATE TABLE secret (
			scope  TEXT NOT NULL,
			owner  TEXT NOT NULL,
			name   TEXT NOT NULL,
			sealed BLOB NOT NULL,
			PRIMARY KEY (scope, owner, name)
		) WITHOUT ROWID`,
		// The hidden rowid rises: the last run of a device is the one with the
		// highest.
		`CREATE TABLE run (
			id         TEXT PRIMARY KEY,
			deployment TEXT NOT NULL,
			device     TEXT NOT NULL,
			ended      INTEGER NOT NULL,
			body       TEXT NOT NULL,          -- JSON object
			started    INTEGER NOT NULL
		)`,
		`CREATE INDEX run_deployment ON run(deployment, device)`,
		`CREATE INDEX run_device ON run(device)`,
		`CREATE TABLE run_step (
			run    TEXT NOT NULL REFERENCES run(id) ON DELETE CASCADE,
			path   TEXT NOT NULL,
			number INTEGER NOT NULL,
			body   TEXT NOT NULL,              -- JSON object
			PRIMARY KEY (run, path)
		) WITHOUT ROWID`,
		`CREATE TABLE again (
			deployment TEXT NOT NULL,
			device     TEXT NOT NULL,
			by         TEXT NOT NULL,
			time       INTEGER NOT NULL,
			PRIMARY KEY (deployment, device)
		) WITHOUT ROWID`,
	}
}

// schemaTable holds the steps that were taken. Every step writes its row in its
// own transaction, so a process that is killed leaves a version that is whole.
const schemaTable = `CREATE TABLE IF NOT EXISTS schema_version (
	version INTEGER PRIMARY KEY,
	what    TEXT NOT NULL,
	applied TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
)`

// migrate takes the steps that the database does not have yet.
func migrate(ctx context.Context, db *sql.DB, all []migration) error {
	// Reading header and schema finds a file that is no database. The other pages
	// are checked when they are read: all of them would take time by their number.
	if _, err := db.ExecContext(ctx, schemaTable); err != nil {
		return err
	}
	var have int
	if err := db.QueryRowContext(ctx, "SELECT coalesce(max(version), 0) FROM schema_version").Scan(&have); err != nil {
		return err
	}
	newest := all[len(all)-1].version
	if have > newest {
		return newer(have, newest)
	}
	for _, m := range all {
		if m.version <= have {
			continue
		}
		if err := m.apply(ctx, db); err != nil {
			return fmt.Errorf("bring it to schema %d (%s): %w", m.version, m.what, err)
		}
	}
	return nil
}

func newer(have, known int) error {
	return fmt.Errorf("%w: it has schema %d, and this one knows %d: run the newer castpoint, or put back the copy from before the update", ErrNewer, have, known)
}

func (m *migration) apply(ctx context.Context, db *sql.DB) (err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tx.Rollback())
		}
	}()
	for _, step := range m.steps {
		if _, err = tx.ExecContext(ctx, step); err != nil {
			return err
		}
	}
	if _, err = tx.ExecContext(ctx, "INSERT INTO schema_version(version, what) VALUES (?, ?)", m.version, m.what); err != nil {
		return err
	}
	return tx.Commit()
}

// Version is the newest schema that this castpoint knows.
func Version() int {
	all := migrations()
	return all[len(all)-1].version
}
