package access

import (
	"testing"
	"time"

	hostclock "castpoint/test/clock"
)

// TestClockIsSet: who is logged in stays so when the host's clock is set, and not for
// longer; who has waited after failures may try again when that time has passed.
func TestClockIsSet(t *testing.T) {
	for _, by := range []time.Duration{20 * time.Hour, -20 * time.Hour, 300 * 24 * time.Hour, -300 * 24 * time.Hour} {
		t.Run(by.String(), func(t *testing.T) {
			a, c, dir := open(t)
			if _, err := a.AddUser(t.Context(), "anna", password, Admin); err != nil {
				t.Fatal(err)
			}
			s, err := a.Login(t.Context(), "anna", password, here)
			if err != nil {
				t.Fatal(err)
			}
			for range freeFailures {
				a.lockout.fail("bob", here)
			}
			c.at = hostclock.Set(c.at.Add(time.Minute), by)
			if until := a.lockout.locked("bob", there); !until.IsZero() {
				t.Errorf("locked out until %s after a minute", until)
			}
			if _, _, ok := a.bySession(t.Context(), s.Secret, here); !ok {
				t.Error("logged out")
			}
			// What was used since survives a restart, too.
			c.at = c.at.Add(10 * time.Minute)
			if _, _, ok := a.bySession(t.Context(), s.Secret, here); !ok {
				t.Error("logged out")
			}
			again := reopen(t, dir, c)
			if by < sessionLife { // its beginning is of the calendar
				if _, _, ok := again.bySession(t.Context(), s.Secret, here); !ok {
					t.Error("logged out by a restart")
				}
			}
			c.at = c.at.Add(sessionIdle + time.Minute)
			for _, a := range []*Access{a, again} {
				if _, _, ok := a.bySession(t.Context(), s.Secret, here); ok {
					t.Error("still logged in")
				}
			}
		})
	}
}

// TestLoginSessionsOfAnUnsteadyClock: who was logged in when the server started with its
// clock ahead is logged in when it is right again.
func TestLoginSessionsOfAnUnsteadyClock(t *testing.T) {
	a, c, dir := open(t)
	if _, err := a.AddUser(t.Context(), "anna", password, Admin); err != nil {
		t.Fatal(err)
	}
	s, err := a.Login(t.Context(), "anna", password, here)
	if err != nil {
		t.Fatal(err)
	}
	c.at = c.at.Round(0).Add(300 * 24 * time.Hour)
	a = reopen(t, dir, c)
	a.steady = func() bool { return false }
	if _, _, ok := a.bySession(t.Context(), s.Secret, here); ok {
		t.Error("logged in after most of a year")
	}
	if _, err := a.Login(t.Context(), "anna", password, here); err != nil { // which looks for sessions that are over
		t.Fatal(err)
	}
	c.at = c.at.Add(-300 * 24 * time.Hour)
	if _, _, ok := a.bySession(t.Context(), s.Secret, here); !ok {
		t.Error("logged out by a clock that was wrong")
	}
	a.steady = func() bool { return true }
	c.at = c.at.Add(300 * 24 * time.Hour)
	if _, err := a.Login(t.Context(), "anna", password, here); err != nil {
		t.Fatal(err)
	}
	c.at = c.at.Add(-300 * 24 * time.Hour)
	if _, _, ok := a.bySession(t.Context(), s.Secret, here); ok {
		t.Error("kept though it was over")
	}
}
