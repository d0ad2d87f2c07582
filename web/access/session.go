package access

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"go.uber.org/zap"

	"castpoint/internal/store"
)

// Life of a login session.
const (
	sessionIdle = 12 * time.Hour     // since its last request
	sessionLife = 7 * 24 * time.Hour // in all
	maxSessions = 1024               // the oldest goes
)

// Session is somebody who is logged in.
type Session struct {
	Secret  string // for the cookie
	Expires time.Time
	Identity
}

type sessionEntry struct {
	store.AccessSession
	live
	// created and seen are those times by the clock that nobody sets; of a session that
	// was read from disk by the calendar.
	created, seen time.Time
}

// over says whether the session has ended. One of the future was made before the clock
// was put back: its time begins now.
func (s *sessionEntry) over(now time.Time) bool {
	if s.created.After(now) {
		s.created = now
	}
	if s.seen.After(now) {
		s.seen = now
	}
	return now.Sub(s.seen) > sessionIdle || now.Sub(s.created) > sessionLife
}

// begin makes a session. a.mu is held.
func (a *Access) begin(ctx context.Context, user, how string, scope Scope, remote netip.Addr) (*Session, error) {
	clock := a.now()
	if err := a.pruneSessions(ctx, clock); err != nil {
		return nil, err
	}
	now := clock.UTC().Truncate(time.Second)
	secret, hash := newSecret()
	csrf, _ := newSecret()
	s := &sessionEntry{store.AccessSession{
		Hash: hash, User: user, How: how, Scope: string(scope), CSRF: csrf, Remote: remote.String(), Created: now, Seen: now,
	}, newLive(), clock, clock}
	if err := a.store.PutAccessSession(ctx, s.AccessSession); err != nil {
		return nil, storeError(err)
	}
	a.sessions[hash] = s
	a.log.Info("logged in", zap.String("by", user), zap.String("how", how), zap.Stringer("peer", remote))
	return &Session{Secret: secret, Expires: now.Add(sessionLife), Identity: s.identity(remote)}, nil
}

func (s *sessionEntry) identity(remote netip.Addr) Identity {
	return Identity{Name: s.User, Scope: Scope(s.Scope), How: s.How, Remote: remote, CSRF: s.CSRF}
}

// pruneSessions ends those that are over, and the oldest when there are too many.
func (a *Access) pruneSessions(ctx context.Context, now time.Time) error {
	var oldest *sessionEntry
	steady := a.steady()
	for _, s := range a.sessions {
		if s.over(now) && steady {
			if err := a.endSession(ctx, s); err != nil {
				return err
			}
		} else if oldest == nil || s.seen.Before(oldest.seen) {
			oldest = s
		}
	}
	if len(a.sessions) >= maxSessions {
		return a.endSession(ctx, oldest)
	}
	return nil
}

// endSession ends one. a.mu is held.
func (a *Access) endSession(ctx context.Context, s *sessionEntry) error {
	if err := a.store.DeleteAccessSession(ctx, s.Hash); err != nil {
		return storeError(err)
	}
	delete(a.sessions, s.Hash)
	s.end()
	return nil
}

// endSessions ends those of a user. a.mu is held.
func (a *Access) endSessions(ctx context.Context, user string) error {
	for _, s := range a.sessions {
		if strings.EqualFold(s.User, user) && s.How == HowPassword {
			if err := a.endSession(ctx, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// Logout ends the session of a cookie's secret, if it is there.
func (a *Access) Logout(ctx context.Context, secret string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s, ok := a.sessions[hashSecret(secret)]; ok {
		return a.endSession(ctx, s)
	}
	return nil
}

// bySession finds the identity of a cookie's secret.
func (a *Access) bySession(ctx context.Context, secret string, remote netip.Addr) (Identity, live, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s, ok := a.sessions[hashSecret(secret)]
	now := a.now()
	if !ok || s.over(now) {
		return Identity{}, live{}, false
	}
	if now.Sub(s.seen) > usedEvery {
		s.seen, s.Seen = now, now.UTC().Truncate(time.Second)
		a.note(a.store.PutAccessSession(ctx, s.AccessSession))
	}
	return s.identity(remote), s.live, true
}

// note logs what could not be written and is not worth refusing a request for.
func (a *Access) note(err error) {
	if err != nil {
		a.log.Warn("time of use not written", zap.Error(err))
	}
}
