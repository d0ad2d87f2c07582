package access

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
)

// ChangePassword gives the person that a request comes from another password. The
// old one has to be shown: a browser that somebody has left open does not do. All
// the person's sessions end but the one that asks. The error is ErrDenied or a
// *LockedError when the old password does not fit, ErrInvalid when the new one
// cannot be.
func (a *Access) ChangePassword(ctx context.Context, id Identity, old, password string) error {
	if id.How != HowPassword {
		return fmt.Errorf("%w: %s did not log in with a password of this server (%s)", ErrInvalid, id.Name, id.How)
	}
	if err := checkPassword(password); err != nil {
		return err
	}
	if until := a.lockout.locked(id.Name, id.Remote); !until.IsZero() {
		return &LockedError{until}
	}
	a.mu.Lock()
	u, ok := a.users[strings.ToLower(id.Name)]
	a.mu.Unlock()
	if !ok {
		return fmt.Errorf("%w: no user %q", ErrNotFound, id.Name)
	}
	fits, err := a.guess(ctx, id.Name, id.Remote, u.Password, old)
	if err != nil {
		return err
	}
	if !fits {
		a.log.Warn("password not changed", zap.String("by", id.Name), zap.Stringer("peer", id.Remote))
		return ErrDenied
	}
	a.lockout.succeed(id.Name)
	phc, err := a.hashPassword(ctx, password)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.users[strings.ToLower(id.Name)] != u {
		return ErrDenied // changed or removed while the password was checked
	}
	changed := *u
	changed.Password = phc
	if err := a.store.PutAccessUser(ctx, changed); err != nil {
		return storeError(err)
	}
	a.users[strings.ToLower(id.Name)] = &changed
	for _, s := range a.sessions {
		if strings.EqualFold(s.User, id.Name) && s.How == HowPassword && s.CSRF != id.CSRF {
			if err := a.endSession(ctx, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// Lockout is a name or an address that has failed to log in.
type Lockout struct {
	Who      string    `json:"who"`            // "user anna", "address 192.0.2.7"
	Failures int       `json:"failures"`       // since the last login, or since it was lifted
	Until    time.Time `json:"until,omitzero"` // logins are refused; left out when they are not
}

// Lockouts are the names and addresses that have failed to log in, those first
// that are locked.
func (a *Access) Lockouts() []Lockout { return a.lockout.list() }

// LiftLockout forgets the failures of a name or an address, as Lockouts names it.
func (a *Access) LiftLockout(who string) error {
	if !a.lockout.lift(who) {
		return fmt.Errorf("%w: nobody is locked out as %q", ErrNotFound, who)
	}
	return nil
}

func (l *lockout) list() []Lockout {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, all := l.now(), []Lockout{}
	for who, f := range l.failed {
		one := Lockout{Who: who, Failures: f.count}
		if f.until.After(now) {
			one.Until = f.until.UTC()
		}
		all = append(all, one)
	}
	slices.SortFunc(all, func(x, y Lockout) int {
		return cmp.Or(y.Until.Compare(x.Until), cmp.Compare(x.Who, y.Who))
	})
	return all
}

func (l *lockout) lift(who string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.failed[who]
	delete(l.failed, who)
	return ok
}
