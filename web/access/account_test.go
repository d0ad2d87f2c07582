package access

import (
	"errors"
	"testing"
)

// Whoever changes the own password shows the old one, stays logged in there, and is
// logged out everywhere else.
func TestChangePassword(t *testing.T) {
	a, _, _ := open(t)
	if _, err := a.AddUser(t.Context(), "anna", password, Operate); err != nil {
		t.Fatal(err)
	}
	login := func() *Session {
		s, err := a.Login(t.Context(), "anna", password, here)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	one, other := login(), login()
	const fresh = "another horse battery"
	for _, r := range []struct {
		id       Identity
		old, new string
		want     error
	}{
		{one.Identity, "wrong horse battery", fresh, ErrDenied},
		{one.Identity, password, "short", ErrInvalid},
		{Identity{Name: "ci", How: HowToken, Scope: Admin}, password, fresh, ErrInvalid},
		{Identity{Name: "nobody", How: HowPassword}, password, fresh, ErrNotFound},
	} {
		if err := a.ChangePassword(t.Context(), r.id, r.old, r.new); !errors.Is(err, r.want) {
			t.Errorf("%+v: %v, want %v", r, err, r.want)
		}
	}
	if err := a.ChangePassword(t.Context(), one.Identity, password, fresh); err != nil {
		t.Fatal(err)
	}
	if _, _, ok := a.bySession(t.Context(), one.Secret, here); !ok {
		t.Error("who changed it is logged out")
	}
	if _, _, ok := a.bySession(t.Context(), other.Secret, here); ok {
		t.Error("another session goes on")
	}
	if _, err := a.Login(t.Context(), "anna", password, here); !errors.Is(err, ErrDenied) {
		t.Errorf("the old password: %v", err)
	}
	if _, err := a.Login(t.Context(), "anna", fresh, here); err != nil {
		t.Errorf("the new password: %v", err)
	}
	// Guessing at the old password counts as guessing at a login.
	for range freeFailures {
		_ = a.ChangePassword(t.Context(), one.Identity, "wrong horse battery", fresh)
	}
	var locked *LockedError
	if err := a.ChangePassword(t.Context(), one.Identity, fresh, password); !errors.As(err, &locked) {
		t.Errorf("after %d wrong guesses: %v", freeFailures, err)
	}
	list := a.Lockouts()
	if len(list) != 2 || list[0].Until.IsZero() || list[0].Failures < freeFailures {
		t.Errorf("%+v", list)
	}
	for _, one := range list {
		if err := a.LiftLockout(one.Who); err != nil {
			t.Error(err)
		}
	}
	if err := a.LiftLockout("user anna"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if _, err := a.Login(t.Context(), "anna", fresh, here); err != nil {
		t.Errorf("after it was lifted: %v", err)
	}
}
