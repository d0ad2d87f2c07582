// Package store is the database of a distribution point: what is known of
// devices, and what has happened to them. It is one SQLite file in the data
// folder; nothing else of castpoint speaks SQL.
//
// Terms:
//
//   - a migration brings the tables from one version to the next, whole or not at
//     all; the version is kept in the database itself;
//   - a row is what a table holds, as a plain struct; what it means is the
//     business of packages deploy and event.
//
// One connection writes and several read at once (write-ahead log), so a long list
// does not hold up a writer. Methods are safe for concurrent use.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"modernc.org/sqlite" // registers the driver too
	sqlite3 "modernc.org/sqlite/lib"
)

// FileName is the database in the data folder. SQLite keeps FileName-wal and
// FileName-shm beside it while it is open.
const FileName = "castpoint.db"

// Tuning.
const (
	busyTime = 5 * time.Second // how long a statement waits for another process's lock
	readers  = 4               // connections that read
)

// Errors told apart with errors.Is.
var (
	// ErrNewer: the database was written by a newer castpoint.
	ErrNewer = errors.New("the database was made by a newer castpoint")
	// ErrDamaged: the file is no database, or its pages contradict each other.
	ErrDamaged = errors.New("the database is damaged")
	// ErrExists: something else has that name, UUID or MAC.
	ErrExists = errors.New("exists already")
	// ErrNotFound: there is no such row.
	ErrNotFound = errors.New("not found")
)

// Store is an open database.
type Store struct {
	path  string
	write *sql.DB // one connection
	read  *sql.DB
}

// Open opens the database of a data folder, makes it when it is not there (mode
// 0600), and brings its tables up to date. Errors name the file; ErrNewer and
// ErrDamaged are told apart.
func Open(ctx context.Context, data string) (*Store, error) {
	return open(ctx, filepath.Join(data, FileName), migrations())
}

func open(ctx context.Context, path string, all []migration) (_ *Store, err error) {
	fail := func(err error) error { return fmt.Errorf("database %s: %w", path, explain(err)) }
	// Made by hand, so that nobody else may ever read it, whatever the umask is.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fail(err)
	}
	mode := fs.FileMode(0)
	if st, statErr := f.Stat(); statErr == nil {
		mode = st.Mode().Perm()
	}
	if mode != 0o600 {
		err = f.Chmod(0o600)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fail(err)
	}
	s := &Store{path: path}
	defer func() {
		if err != nil {
			_ = s.Close()
		}
	}()
	// In a URL, a relative path would be read as the name of a host.
	file, err := filepath.Abs(path)
	if err != nil {
		return nil, fail(err)
	}
	if s.write, err = sql.Open("sqlite", dsn(file, false)); err != nil {
		return nil, fail(err)
	}
	s.write.SetMaxOpenConns(1)
	if err = migrate(ctx, s.write, all); err != nil {
		return nil, fail(err)
	}
	if s.read, err = sql.Open("sqlite", dsn(file, true)); err != nil {
		return nil, fail(err)
	}
	s.read.SetMaxOpenConns(readers)
	s.read.SetMaxIdleConns(readers)
	if err = s.read.PingContext(ctx); err != nil {
		return nil, fail(err)
	}
	return s, nil
}

// dsn is the data source with what every connection sets. synchronous=NORMAL
// keeps the file whole at a power cut; the last transactions before it may be
// lost; what a technician has typed is written durably (see tx).
func dsn(path string, reading bool) string {
	q := url.Values{}
	for _, p := range []string{
		fmt.Sprintf("busy_timeout(%d)", busyTime.Milliseconds()), "journal_mode(WAL)", "synchronous(NORMAL)",
		"foreign_keys(1)", "journal_size_limit(67108864)",
	} {
		q.Add("_pragma", p)
	}
	q.Set("_txlock", "immediate")
	if reading {
		q.Add("_pragma", "query_only(1)")
	}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String()
}

// Close ends the use of the database.
func (s *Store) Close() error {
	var errs []error
	for _, db := range []*sql.DB{s.read, s.write} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// Path is the database's file.
func (s *Store) Path() string { return s.path }

// tx runs f in one transaction on the writing connection. With durable it is on
// the disk when tx returns: the log is copied into the file and both are synced.
func (s *Store) tx(ctx context.Context, durable bool, f func(*sql.Tx) error) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("database %s: %w", s.path, explain(err))
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if err := f(tx); err != nil {
		return fmt.Errorf("database %s: %w", s.path, explain(err))
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("database %s: %w", s.path, explain(err))
	}
	if !durable {
		return nil
	}
	if _, err := s.write.ExecContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)"); err != nil {
		return fmt.Errorf("database %s: %w", s.path, explain(err))
	}
	return nil
}

// query reads rows; scan is called for each.
func (s *Store) query(ctx context.Context, scan func(*sql.Rows) error, text string, args ...any) error {
	rows, err := s.read.QueryContext(ctx, text, args...)
	if err != nil {
		return fmt.Errorf("database %s: %w", s.path, explain(err))
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return fmt.Errorf("database %s: %w", s.path, explain(err))
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("database %s: %w", s.path, explain(err))
	}
	return nil
}

// explain turns what SQLite says into errors that are told apart, with the way
// out.
func explain(err error) error {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return err
	}
	const primary = 0xff // the upper bits refine the code
	switch e.Code() & primary {
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
		return fmt.Errorf("%w (%w): put a copy of it back, or move the file away to start without device records", ErrDamaged, err)
	case sqlite3.SQLITE_CONSTRAINT:
		return fmt.Errorf("%w (%w)", ErrExists, err)
	case sqlite3.SQLITE_BUSY:
		return fmt.Errorf("another process holds it: %w", err)
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("the disk is full: %w", err)
	}
	return err
}
