package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Snapshot writes the database of a data folder, as it is at one moment, to a new
// file (mode 0600), while a server may be working with it. ok is false when the
// folder has no database.
func Snapshot(ctx context.Context, data, to string) (ok bool, err error) {
	path, err := filepath.Abs(filepath.Join(data, FileName))
	if err != nil {
		return false, err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	fail := func(err error) error { return fmt.Errorf("snapshot of database %s: %w", path, explain(err)) }
	db, err := sql.Open("sqlite", dsn(path, false))
	if err != nil {
		return false, fail(err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	// Made by hand, so that nobody else may ever read it; SQLite takes an empty file.
	f, err := os.OpenFile(to, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return false, fail(err)
	}
	if err := f.Close(); err != nil {
		return false, fail(err)
	}
	if _, err := db.ExecContext(ctx, "VACUUM INTO ?", to); err != nil {
		return false, fail(err)
	}
	return true, nil
}

// Check reads the version of a data folder's database, and changes nothing. It is
// ErrNewer when a newer castpoint has made it; a folder without a database is right.
func Check(ctx context.Context, data string) (err error) {
	path, err := filepath.Abs(filepath.Join(data, FileName))
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	fail := func(err error) error { return fmt.Errorf("database %s: %w", FileName, explain(err)) }
	db, err := sql.Open("sqlite", dsn(path, true))
	if err != nil {
		return fail(err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var have int
	if err := db.QueryRowContext(ctx, "SELECT coalesce(max(version), 0) FROM schema_version").Scan(&have); err != nil {
		return fail(err)
	}
	if have > Version() {
		return fail(newer(have, Version()))
	}
	return nil
}
