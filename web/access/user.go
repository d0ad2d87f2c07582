package access

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"castpoint/internal/store"
)

// User is a person who logs in with a password.
type User struct {
	Name      string    `json:"name"`
	Scope     Scope     `json:"scope"`
	Created   time.Time `json:"created"`
	LastLogin time.Time `json:"last_login,omitzero"`
}

func publicUser(u *store.AccessUser) User {
	return User{Name: u.Name, Scope: Scope(u.Scope), Created: u.Created, LastLogin: u.LastLogin}
}

// AddUser makes a user.
func (a *Access) AddUser(ctx context.Context, name, password string, scope Scope) (User, error) {
	if err := checkName("user", name); err != nil {
		return User{}, err
	}
	if _, err := ParseScope(string(scope)); err != nil {
		return User{}, err
	}
	if err := checkPassword(password); err != nil {
		return User{}, err
	}
	phc, err := a.hashPassword(ctx, password)
	if err != nil {
		return User{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.users[strings.ToLower(name)]; ok {
		return User{}, fmt.Errorf("%w: user %s", ErrExists, name)
	}
	u := &store.AccessUser{Name: name, Password: phc, Scope: string(scope), Created: a.now().UTC().Truncate(time.Second)}
	if err := a.store.PutAccessUser(ctx, *u); err != nil {
		return User{}, storeError(err)
	}
	a.users[strings.ToLower(name)] = u
	return publicUser(u), nil
}

// ChangeUser gives a user another password or scope; "" leaves it as it is. The
// user has to log in again.
func (a *Access) ChangeUser(ctx context.Context, name, password string, scope Scope) (User, error) {
	phc := ""
	if password != "" {
		err := checkPassword(password)
		if err == nil {
			phc, err = a.hashPassword(ctx, password)
		}
		if err != nil {
			return User{}, err
		}
	}
	if scope != "" {
		if _, err := ParseScope(string(scope)); err != nil {
			return User{}, err
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	old, ok := a.users[strings.ToLower(name)]
	if !ok {
		return User{}, fmt.Errorf("%w: no user %q", ErrNotFound, name)
	}
	u := *old
	u.Password, u.Scope = cmp.Or(phc, u.Password), cmp.Or(string(scope), u.Scope)
	if err := a.store.PutAccessUser(ctx, u); err != nil {
		return User{}, storeError(err)
	}
	a.users[strings.ToLower(name)] = &u
	return publicUser(&u), a.endSessions(ctx, u.Name)
}

// RemoveUser removes a user and ends what is going on with the user's sessions.
func (a *Access) RemoveUser(ctx context.Context, name string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	u, ok := a.users[strings.ToLower(name)]
	if !ok {
		return fmt.Errorf("%w: no user %q", ErrNotFound, name)
	}
	if err := a.store.DeleteAccessUser(ctx, u.Name); err != nil {
		return storeError(err)
	}
	delete(a.users, strings.ToLower(name))
	return a.endSessions(ctx, u.Name)
}

// Users are all users, by name.
func (a *Access) Users() []User {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make([]User, 0, len(a.users))
	for _, u := range a.users {
		all = append(all, publicUser(u))
	}
	slices.SortFunc(all, func(x, y User) int { return cmp.Compare(x.Name, y.Name) })
	return all
}

// nobody is the hash that a name without a user is compared with: the answer takes
// as long, so names cannot be found out.
const nobody = "$argon2id$v=19$m=65536,t=3,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// Login checks a password and begins a session. The error is ErrDenied or a
// *LockedError when the person is at fault.
func (a *Access) Login(ctx context.Context, name, password string, remote netip.Addr) (*Session, error) {
	if until := a.lockout.locked(name, remote); !until.IsZero() {
		return nil, &LockedError{until}
	}
	a.mu.Lock()
	u, known := a.users[strings.ToLower(name)]
	phc := nobody
	if known {
		phc = u.Password
	}
	a.mu.Unlock()
	ok, err := a.guess(ctx, name, remote, phc, password)
	if err != nil {
		return nil, err
	}
	if !ok || !known {
		a.log.Warn("login failed", zap.String("by", name[:min(len(name), maxName)]), zap.Stringer("peer", remote))
		return nil, ErrDenied
	}
	a.lockout.succeed(name)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.users[strings.ToLower(name)] != u {
		return nil, ErrDenied // changed or removed while the password was checked
	}
	u.LastLogin = a.now().UTC().Truncate(time.Second)
	if err := a.store.PutAccessUser(ctx, *u); err != nil {
		return nil, storeError(err)
	}
	return a.begin(ctx, u.Name, HowPassword, Scope(u.Scope), remote)
}
