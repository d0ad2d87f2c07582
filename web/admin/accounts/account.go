package accounts

import (
	"context"
	"errors"
	"net/http"

	"castpoint/agent/protocol"
	"castpoint/web/access"
	"castpoint/web/api"
)

// accountOperations are about one's own account, and about who may not log in for
// now.
func (s *operations) accountOperations(a *api.API) {
	const tag = "access"
	api.Act(a, api.Operation{
		ID: "change-own-password", Method: http.MethodPut, Path: "/access/self/password", Scope: access.Read, Tag: tag,
		Summary: "Give oneself another password; one's other sessions end",
		About:   "Only who has logged in with a password of this server has one. The old password is shown with it, and wrong ones count as failed logins.",
		Errors:  []int{http.StatusTooManyRequests},
	}, func(ctx context.Context, in *struct{ Body ChangeOwnPassword }) error {
		_, err := guarded(s, func(ctx context.Context, in *ChangeOwnPassword) (struct{}, error) {
			id, _ := access.From(ctx)
			err := s.access.ChangePassword(ctx, id, in.Old, in.New)
			if locked, ok := errors.AsType[*access.LockedError](err); ok {
				return struct{}{}, api.Refusal(http.StatusTooManyRequests, protocol.CodeRefused, "wait until then", "%v", locked)
			}
			if errors.Is(err, access.ErrDenied) {
				return struct{}{}, api.Refusal(http.StatusForbidden, protocol.CodeRefused, "type the one that you log in with", "the old password is wrong")
			}
			return struct{}{}, err
		})(ctx, &in.Body)
		return err
	})
	api.Answer(a, api.Operation{
		ID: "list-lockouts", Method: http.MethodGet, Path: "/access/lockouts", Scope: access.Admin, Tag: tag,
		Summary: "Names and addresses that have failed to log in, and until when they are locked",
		About:   "Those first that are locked. After five failures each has to wait, from 30 seconds up to 15 minutes.",
	}, guarded(s, func(_ context.Context, in *lockoutQuery) (Lockouts, error) {
		all := s.access.Lockouts()
		return Lockouts{Items: all[:min(len(all), in.Limit)], Total: len(all)}, nil
	}))
	api.Act(a, api.Operation{
		ID: "lift-lockout", Method: http.MethodDelete, Path: "/access/lockouts/{who}", Scope: access.Admin, Tag: tag,
		Summary: "Let a name or an address log in again",
		About:   "Its failures are forgotten.",
	}, func(ctx context.Context, in *LockoutPath) error {
		_, err := guarded(s, func(_ context.Context, in *LockoutPath) (struct{}, error) {
			return struct{}{}, s.access.LiftLockout(in.Who)
		})(ctx, in)
		return err
	})
}

// ChangeOwnPassword has the password that somebody has, and the one that is wanted.
type ChangeOwnPassword struct {
	Old string `json:"old" doc:"the password that the person has"`
	New string `json:"new" doc:"10 to 256 characters"`
}

// Lockouts are those who have failed to log in, those first that are locked.
type Lockouts struct {
	Items []access.Lockout `json:"items" nullable:"false"`
	Total int              `json:"total" doc:"in the whole list"`
}

// LockoutPath names one of them.
type LockoutPath struct {
	Who string `path:"who" doc:"as the list has it: user NAME or address ADDRESS"`
}

type lockoutQuery struct {
	Limit int `query:"limit" minimum:"1" maximum:"10000" default:"100" doc:"the most that is wanted"`
}
