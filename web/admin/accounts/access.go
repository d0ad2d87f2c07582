package accounts

import (
	"context"
	"errors"
	"net/http"
	"time"

	"castpoint/agent/protocol"
	"castpoint/web/access"
	"castpoint/web/api"
)

func (s *operations) accessOperations(a *api.API) {
	const tag = "access"
	api.Answer(a, api.Operation{
		ID: "get-self", Method: http.MethodGet, Path: "/access/self", Scope: access.Read, Tag: tag,
		Summary: "Who asks",
		About:   "Names who the credential of the request belongs to, and the scope.",
	}, func(ctx context.Context, _ *struct{}) (access.Identity, error) {
		id, _ := access.From(ctx)
		return id, nil
	})
	api.Answer(a, api.Operation{
		ID: "list-access-tokens", Method: http.MethodGet, Path: "/access/tokens", Scope: access.Admin, Tag: tag,
		Summary: "List the tokens of programs",
		About:   "The secrets are not kept, so they are not in the list.",
	}, guarded(s, func(_ context.Context, in *struct{ api.PageQuery }) (api.Page[access.Token], error) {
		return api.Cut(s.access.Tokens(), func(t *access.Token) string { return t.Name }, in.PageQuery), nil
	}))
	api.Answer(a, api.Operation{
		ID: "create-access-token", Method: http.MethodPost, Path: "/access/tokens", Scope: access.Admin, Tag: tag, Status: http.StatusCreated,
		Summary: "Make a token for a program; its secret is shown this once",
		About:   "The secret is in this answer and nowhere else: the server keeps its SHA-256. A name belongs to one token.",
		Errors:  []int{http.StatusConflict},
	}, guarded(s, s.createAccessToken))
	api.Answer(a, api.Operation{
		ID: "revoke-access-token", Method: http.MethodDelete, Path: "/access/tokens/{id}", Scope: access.Admin, Tag: tag,
		Summary: "Revoke a token, and end what is going on with it",
		About:   "Requests that the token has going on, streams too, end at once.",
	}, guarded(s, func(ctx context.Context, in *AccessPath) (access.Token, error) {
		return s.access.RevokeToken(ctx, in.ID)
	}))
	api.Answer(a, api.Operation{
		ID: "list-users", Method: http.MethodGet, Path: "/access/users", Scope: access.Admin, Tag: tag,
		Summary: "List the users of the console",
		About:   "Users log in at the console with a password. People who log in by OpenID Connect are not among them.",
	}, guarded(s, func(_ context.Context, in *struct{ api.PageQuery }) (api.Page[access.User], error) {
		return api.Cut(s.access.Users(), func(u *access.User) string { return u.Name }, in.PageQuery), nil
	}))
	api.Answer(a, api.Operation{
		ID: "add-user", Method: http.MethodPost, Path: "/access/users", Scope: access.Admin, Tag: tag, Status: http.StatusCreated,
		Summary: "Make a user of the console",
		About:   "The password is kept as argon2id. A name belongs to one user, whatever its capitals.",
		Errors:  []int{http.StatusConflict},
	}, guarded(s, func(ctx context.Context, in *struct{ Body AddUser }) (access.User, error) {
		api.Note(ctx, "%s with scope %s", in.Body.Name, in.Body.Scope)
		return s.access.AddUser(ctx, in.Body.Name, in.Body.Password, in.Body.Scope)
	}))
	api.Answer(a, api.Operation{
		ID: "set-user", Method: http.MethodPatch, Path: "/access/users/{id}", Scope: access.Admin, Tag: tag,
		Summary: "Give a user another password or scope; the user has to log in again",
		About:   "A field that is left out stays. All logins of the user end.",
	}, guarded(s, s.setUser))
	api.Answer(a, api.Operation{
		ID: "remove-user", Method: http.MethodDelete, Path: "/access/users/{id}", Scope: access.Admin, Tag: tag,
		Summary: "Remove a user, and end the user's sessions",
		About:   "Pages that the user has open end at once.",
	}, guarded(s, func(ctx context.Context, in *AccessPath) (Removed, error) {
		return Removed{in.ID}, s.access.RemoveUser(ctx, in.ID)
	}))
	api.Answer(a, api.Operation{
		ID: "list-audit", Method: http.MethodGet, Path: "/audit", Scope: access.Admin, Tag: tag,
		Summary: "Who changed what, newest first",
		About:   "Every call that changes something is an entry, refused ones too, and so is every login. before is that of the answer before, to go on with older ones.",
	}, guarded(s, func(ctx context.Context, in *auditQuery) (AuditPage, error) {
		list, next, err := s.access.Audit(ctx, in.Before, in.Limit)
		return AuditPage{list, next}, err
	}))
}

// guarded makes an operation one that needs users and tokens.
func guarded[I, O any](s *operations, f func(context.Context, *I) (O, error)) func(context.Context, *I) (O, error) {
	return func(ctx context.Context, in *I) (out O, err error) {
		if s.access == nil {
			return out, api.Refusal(http.StatusNotImplemented, "", "", "this server keeps no users and tokens")
		}
		out, err = f(ctx, in)
		return out, accessProblem(err)
	}
}

// accessProblem says which status an error of package access is.
func accessProblem(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, access.ErrNotFound):
		return api.Refusal(http.StatusNotFound, protocol.CodeNotFound, "castpoint access token list and castpoint access user list show what there is", "%v", err)
	case errors.Is(err, access.ErrInvalid):
		return api.Refusal(http.StatusBadRequest, "", "", "%v", err)
	case errors.Is(err, access.ErrExists):
		return api.Refusal(http.StatusConflict, protocol.CodeRefused, "choose another name, or remove that one first", "%v", err)
	}
	return err
}

// AccessPath names a token or a user.
type AccessPath struct {
	ID string `path:"id" doc:"id or name"`
}

// CreateAccessToken asks for a token of a program.
type CreateAccessToken struct {
	Name  string       `json:"name" doc:"of the program that gets it"`
	Scope access.Scope `json:"scope" enum:"read,operate,admin"`
	TTL   int64        `json:"ttl,omitempty" minimum:"0" doc:"seconds it is good for; 0 is for ever"`
}

// CreatedAccessToken is a new token with its secret.
type CreatedAccessToken struct {
	Secret string `json:"secret" doc:"shown as Authorization: Bearer SECRET"`
	access.Token
}

func (s *operations) createAccessToken(ctx context.Context, in *struct{ Body CreateAccessToken }) (CreatedAccessToken, error) {
	req := &in.Body
	secret, t, err := s.access.CreateToken(ctx, req.Name, req.Scope, time.Duration(req.TTL)*time.Second, access.Name(ctx))
	if err == nil {
		api.Note(ctx, "%s (%s) with scope %s", t.Name, t.ID, t.Scope)
	}
	return CreatedAccessToken{secret, t}, err
}

// AddUser asks for a user.
type AddUser struct {
	Name     string       `json:"name"`
	Password string       `json:"password" doc:"10 to 256 characters"`
	Scope    access.Scope `json:"scope" enum:"read,operate,admin"`
}

// SetUser says what is to be changed; what is left out stays.
type SetUser struct {
	Password string       `json:"password,omitempty"`
	Scope    access.Scope `json:"scope,omitempty" enum:"read,operate,admin"`
}

func (s *operations) setUser(ctx context.Context, in *struct {
	AccessPath
	Body SetUser
}) (access.User, error) {
	if in.Body.Password != "" {
		api.Note(ctx, "another password")
	}
	if in.Body.Scope != "" {
		api.Note(ctx, "scope %s", in.Body.Scope)
	}
	return s.access.ChangeUser(ctx, in.ID, in.Body.Password, in.Body.Scope)
}

// Removed names what is gone.
type Removed struct {
	Name string `json:"name"`
}

type auditQuery struct {
	Before int64 `query:"before" minimum:"0" doc:"only entries with lower ids; 0 for the newest"`
	Limit  int   `query:"limit" minimum:"1" maximum:"10000" default:"100" doc:"the most that is wanted"`
}

// AuditPage is a part of the audit log, newest first.
type AuditPage struct {
	Entries []access.Entry `json:"entries" nullable:"false"`
	Before  int64          `json:"before,omitempty" doc:"before of the page of older entries; left out on the last"`
}
