package access

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
)

// Scope is what somebody may do. Each includes those before it.
type Scope string

// The scopes.
const (
	// Read sees everything but secrets.
	Read Scope = "read"
	// Operate works with machines: devices, sessions, deployments.
	Operate Scope = "operate"
	// Admin changes the library, the settings and who has access.
	Admin Scope = "admin"
)

// Scopes are all scopes, the least first.
func Scopes() []Scope { return []Scope{Read, Operate, Admin} }

// ParseScope reads a scope.
func ParseScope(s string) (Scope, error) {
	if slices.Contains(Scopes(), Scope(s)) {
		return Scope(s), nil
	}
	return "", fmt.Errorf("%w: scope %q: want read, operate or admin", ErrInvalid, s)
}

// Allows says whether somebody with this scope may do what needs the other.
func (s Scope) Allows(need Scope) bool {
	have := slices.Index(Scopes(), s)
	return have >= 0 && have >= slices.Index(Scopes(), need)
}

// How an identity was proved.
const (
	HowSocket   = "socket"
	HowToken    = "token"
	HowPassword = "password"
	HowOIDC     = "oidc"
)

// Identity is who makes a request.
type Identity struct {
	Name   string     `json:"name"` // of the user or the token
	Scope  Scope      `json:"scope"`
	How    string     `json:"how"`
	Remote netip.Addr `json:"remote,omitzero"` // invalid for the unix socket
	// CSRF is what requests of a session that change something show, in the
	// header X-CSRF-Token or the form field csrf; "" when there is no session.
	CSRF string `json:"-"`
}

type identityKey struct{}

// With puts an identity into a context.
func With(ctx context.Context, id Identity) context.Context {
	return context.WithValue(ctx, identityKey{}, id)
}

// From is who makes the request of a context; ok is false for a stranger.
func From(ctx context.Context) (id Identity, ok bool) {
	id, ok = ctx.Value(identityKey{}).(Identity)
	return id, ok
}

// Name is who makes the request of a context, for records; "" for a stranger.
func Name(ctx context.Context) string {
	id, _ := From(ctx)
	return id.Name
}
