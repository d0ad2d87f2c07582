package access

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"castpoint/internal/store"
)

// Token is what is known of a token; the secret itself is not kept.
type Token struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"` // of the program that has it
	Scope    Scope     `json:"scope"`
	By       string    `json:"by"` // who made it
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires,omitzero"` // left out: never
	LastUsed time.Time `json:"last_used,omitzero"`
}

type tokenEntry struct {
	store.AccessToken
	live
}

func (t *tokenEntry) public() Token {
	return Token{ID: t.ID, Name: t.Name, Scope: Scope(t.Scope), By: t.By, Created: t.Created, Expires: t.Expires, LastUsed: t.LastUsed}
}

// usedEvery is how often the time of a token's or session's last use is written.
const usedEvery = time.Minute

// CreateToken makes a token that is good for ttl, for ever with 0, and returns its
// secret.
func (a *Access) CreateToken(ctx context.Context, name string, scope Scope, ttl time.Duration, by string) (secret string, _ Token, err error) {
	if err := checkName("token", name); err != nil {
		return "", Token{}, err
	}
	if _, err := ParseScope(string(scope)); err != nil {
		return "", Token{}, err
	}
	if ttl < 0 || ttl != 0 && ttl < time.Second {
		return "", Token{}, fmt.Errorf("%w: a token cannot be good for %s", ErrInvalid, ttl)
	}
	secret, hash := newSecret()
	now := a.now().UTC().Truncate(time.Second)
	t := &tokenEntry{store.AccessToken{ID: newID(), Hash: hash, Name: name, Scope: string(scope), By: by, Created: now}, newLive()}
	if ttl > 0 {
		t.Expires = now.Add(ttl)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, other := range a.tokens {
		if strings.EqualFold(other.Name, name) {
			return "", Token{}, fmt.Errorf("%w: a token is called %s (%s)", ErrExists, other.Name, other.ID)
		}
	}
	if err := a.store.PutAccessToken(ctx, t.AccessToken); err != nil {
		return "", Token{}, storeError(err)
	}
	a.tokens[hash] = t
	return secretPrefix + secret, t.public(), nil
}

// newID is short enough to be typed.
func newID() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// Tokens are all tokens, by name.
func (a *Access) Tokens() []Token {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make([]Token, 0, len(a.tokens))
	for _, t := range a.tokens {
		all = append(all, t.public())
	}
	slices.SortFunc(all, func(x, y Token) int { return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.ID, y.ID)) })
	return all
}

// RevokeToken ends a token, by id or name, and what is going on with it.
func (a *Access) RevokeToken(ctx context.Context, idOrName string) (Token, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for hash, t := range a.tokens {
		if t.ID != strings.ToLower(idOrName) && !strings.EqualFold(t.Name, idOrName) {
			continue
		}
		if err := a.store.DeleteAccessToken(ctx, t.ID); err != nil {
			return Token{}, storeError(err)
		}
		delete(a.tokens, hash)
		t.end()
		return t.public(), nil
	}
	return Token{}, fmt.Errorf("%w: no access token %q", ErrNotFound, idOrName)
}

// byToken finds the identity of a secret.
func (a *Access) byToken(ctx context.Context, secret string, remote netip.Addr) (Identity, live, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t, ok := a.tokens[hashSecret(secret)]
	now := a.now().UTC()
	if !ok || !t.Expires.IsZero() && now.After(t.Expires) {
		return Identity{}, live{}, false
	}
	if now.Sub(t.LastUsed).Abs() > usedEvery { // in the future after the clock was put back
		t.LastUsed = now.Truncate(time.Second)
		a.note(a.store.PutAccessToken(ctx, t.AccessToken))
	}
	return Identity{Name: t.Name, Scope: Scope(t.Scope), How: HowToken, Remote: remote}, t.live, true
}
