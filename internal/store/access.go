package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// AccessToken is the row of a secret that programs show.
type AccessToken struct {
	ID       string
	Hash     string // of the secret
	Name     string
	Scope    string
	By       string // who made it
	Created  time.Time
	Expires  time.Time // zero: never
	LastUsed time.Time // zero: never
}

// AccessUser is the row of a person with a password.
type AccessUser struct {
	Name      string // one user has it, whatever its letter case
	Password  string // hash, as a PHC string
	Scope     string
	Created   time.Time
	LastLogin time.Time // zero: never
}

// AccessSession is the row of somebody who is logged in.
type AccessSession struct {
	Hash    string // of the cookie's secret
	User    string
	How     string
	Scope   string
	CSRF    string
	Remote  string
	Created time.Time
	Seen    time.Time
}

// AccessTokens reads all tokens.
func (s *Store) AccessTokens(ctx context.Context) (all []AccessToken, err error) {
	err = s.query(ctx, func(r *sql.Rows) error {
		var t AccessToken
		var created, expires, used int64
		if err := r.Scan(&t.ID, &t.Hash, &t.Name, &t.Scope, &t.By, &created, &expires, &used); err != nil {
			return err
		}
		t.Created, t.Expires, t.LastUsed = fromMillis(created), fromMillis(expires), fromMillis(used)
		all = append(all, t)
		return nil
	}, "SELECT id, hash, name, scope, by, created, expires, last_used FROM access_token")
	return all, err
}

// PutAccessToken writes a token, in place of the one with that id.
func (s *Store) PutAccessToken(ctx context.Context, t AccessToken) error {
	return s.tx(ctx, true, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO access_token(id, hash, name, scope, by, created, expires, last_used)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?)`, t.ID, t.Hash, t.Name, t.Scope, t.By, toMillis(t.Created), toMillis(t.Expires), toMillis(t.LastUsed))
		return err
	})
}

// DeleteAccessToken deletes a token. ErrNotFound: there is none.
func (s *Store) DeleteAccessToken(ctx context.Context, id string) error {
	return s.deleteOne(ctx, "access token", id, "DELETE FROM access_token WHERE id = ?")
}

// AccessUsers reads all users.
func (s *Store) AccessUsers(ctx context.Context) (all []AccessUser, err error) {
	err = s.query(ctx, func(r *sql.Rows) error {
		var u AccessUser
		var created, login int64
		if err := r.Scan(&u.Name, &u.Password, &u.Scope, &created, &login); err != nil {
			return err
		}
		u.Created, u.LastLogin = fromMillis(created), fromMillis(login)
		all = append(all, u)
		return nil
	}, "SELECT name, password, scope, created, last_login FROM access_user")
	return all, err
}

// PutAccessUser writes a user, in place of the one with that name.
func (s *Store) PutAccessUser(ctx context.Context, u AccessUser) error {
	return s.tx(ctx, true, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO access_user(name, password, scope, created, last_login) VALUES (?, ?, ?, ?, ?)",
			u.Name, u.Password, u.Scope, toMillis(u.Created), toMillis(u.LastLogin))
		return err
	})
}

// DeleteAccessUser deletes a user. ErrNotFound: there is none.
func (s *Store) DeleteAccessUser(ctx context.Context, name string) error {
	return s.deleteOne(ctx, "user", name, "DELETE FROM access_user WHERE name = ?")
}

// AccessSessions reads all sessions.
func (s *Store) AccessSessions(ctx context.Context) (all []AccessSession, err error) {
	err = s.query(ctx, func(r *sql.Rows) error {
		var o AccessSession
		var created, seen int64
		if err := r.Scan(&o.Hash, &o.User, &o.How, &o.Scope, &o.CSRF, &o.Remote, &created, &seen); err != nil {
			return err
		}
		o.Created, o.Seen = fromMillis(created), fromMillis(seen)
		all = append(all, o)
		return nil
	}, "SELECT hash, user, how, scope, csrf, remote, created, seen FROM access_session")
	return all, err
}

// PutAccessSession writes a session, in place of the one with that hash.
func (s *Store) PutAccessSession(ctx context.Context, o AccessSession) error {
	return s.tx(ctx, false, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO access_session(hash, user, how, scope, csrf, remote, created, seen)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?)`, o.Hash, o.User, o.How, o.Scope, o.CSRF, o.Remote, toMillis(o.Created), toMillis(o.Seen))
		return err
	})
}

// DeleteAccessSession deletes a session, if it is there.
func (s *Store) DeleteAccessSession(ctx context.Context, hash string) error {
	return s.tx(ctx, true, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM access_session WHERE hash = ?", hash)
		return err
	})
}

// deleteOne deletes the row with that key.
func (s *Store) deleteOne(ctx context.Context, what, key, text string) error {
	return s.tx(ctx, true, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, text, key)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err == nil && n == 0 {
			return fmt.Errorf("%s %s: %w", what, key, ErrNotFound)
		}
		return nil
	})
}
