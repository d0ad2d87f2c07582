package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"castpoint/internal/store"
)

// Errors told apart with errors.Is.
var (
	// ErrNotFound: there is no such user, token or session.
	ErrNotFound = errors.New("not found")
	// ErrInvalid: a name, scope or password cannot be.
	ErrInvalid = errors.New("not valid")
	// ErrExists: somebody has that name already.
	ErrExists = errors.New("exists already")
	// ErrDenied: wrong name or password.
	ErrDenied = errors.New("the name or the password is wrong")
)

// LockedError refuses a login without looking at the password.
type LockedError struct{ Until time.Time }

func (e *LockedError) Error() string {
	return "too many failed logins: locked until " + e.Until.Local().Format(time.TimeOnly)
}

// Config is what an Access needs.
type Config struct {
	Store *store.Store // required
	Log   *zap.Logger
	Now   func() time.Time // nil is the clock
	// Steady says whether the clock may be believed: until then login sessions that are
	// over by it are refused, and not deleted. nil: always.
	Steady func() bool
}

// Access holds users, tokens and sessions. All are in memory: every request asks.
// What is changed is on the disk before the change is acted on.
type Access struct {
	store   *store.Store
	log     *zap.Logger
	now     func() time.Time
	steady  func() bool
	lockout lockout
	hashing chan struct{} // bounds the memory of argon2
	cost    cost

	mu       sync.Mutex
	users    map[string]*store.AccessUser // by name in lower case
	tokens   map[string]*tokenEntry       // by hash
	sessions map[string]*sessionEntry     // by hash
}

// live is the part of a credential that ends requests with it.
type live struct {
	ctx context.Context
	end context.CancelFunc
}

func newLive() live {
	ctx, end := context.WithCancel(context.Background())
	return live{ctx, end}
}

// Open reads what the store has.
func Open(ctx context.Context, cfg Config) (*Access, error) {
	if cfg.Store == nil {
		return nil, errors.New("access: no store given")
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Steady == nil {
		cfg.Steady = func() bool { return true }
	}
	a := &Access{
		store: cfg.Store, log: cfg.Log, now: cfg.Now, steady: cfg.Steady, hashing: make(chan struct{}, hashesAtOnce), cost: cost{hashTime, hashMemory},
		users: make(map[string]*store.AccessUser), tokens: make(map[string]*tokenEntry), sessions: make(map[string]*sessionEntry),
	}
	a.lockout.now = cfg.Now
	users, err := a.store.AccessUsers(ctx)
	if err != nil {
		return nil, fmt.Errorf("read users: %w", err)
	}
	for i := range users {
		a.users[strings.ToLower(users[i].Name)] = &users[i]
	}
	tokens, err := a.store.AccessTokens(ctx)
	if err != nil {
		return nil, fmt.Errorf("read access tokens: %w", err)
	}
	for _, t := range tokens {
		a.tokens[t.Hash] = &tokenEntry{t, newLive()}
	}
	sessions, err := a.store.AccessSessions(ctx)
	if err != nil {
		return nil, fmt.Errorf("read login sessions: %w", err)
	}
	for _, s := range sessions {
		a.sessions[s.Hash] = &sessionEntry{s, newLive(), s.Created, s.Seen}
	}
	return a, nil
}

// secretPrefix makes tokens known to those who search files for secrets.
const secretPrefix = "castpoint_"

// newSecret is 192 random bits that need no quoting, and the hash it is known by.
func newSecret() (secret, hash string) {
	var b [24]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	secret = base64.RawURLEncoding.EncodeToString(b[:])
	return secret, hashSecret(secret)
}

// hashSecret needs no salt and no slow hash: what it hashes is random.
func hashSecret(secret string) string {
	sum := sha256.Sum256([]byte(strings.TrimPrefix(secret, secretPrefix)))
	return hex.EncodeToString(sum[:])
}

// maxName is the longest name of a user or a token, in bytes.
const maxName = 64

// checkName refuses names that cannot be told apart in tables and logs.
func checkName(what, name string) error {
	if name == "" || len(name) > maxName || name != strings.TrimSpace(name) {
		return fmt.Errorf("%w: %s name %q: want 1 to %d characters without spaces around them", ErrInvalid, what, name, maxName)
	}
	for _, r := range name {
		if r < 0x20 || r == 0x7f {
			return fmt.Errorf("%w: %s name %q: it has a control character", ErrInvalid, what, name)
		}
	}
	return nil
}

// storeError gives errors of the store this package's names.
func storeError(err error) error {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	case errors.Is(err, store.ErrExists):
		return fmt.Errorf("%w: %w", ErrExists, err)
	}
	return err
}
