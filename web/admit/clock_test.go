package admit

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"castpoint/agent/protocol"
	hostclock "castpoint/test/clock"
)

// TestClockIsSet: the host's clock is set while the server runs. Tokens and tickets last
// as long as was said, also in a server that starts then; the newest ones are kept.
func TestClockIsSet(t *testing.T) {
	for _, by := range []time.Duration{5 * time.Hour, -5 * time.Hour, 300 * 24 * time.Hour, -300 * 24 * time.Hour} {
		t.Run(by.String(), func(t *testing.T) {
			c := &clock{time.Now()}
			tokens, err := OpenTokens(filepath.Join(t.TempDir(), "tokens.json"))
			if err != nil {
				t.Fatal(err)
			}
			tokens.now = c.Now
			tickets, err := OpenTickets(filepath.Join(t.TempDir(), "tickets"))
			if err != nil {
				t.Fatal(err)
			}
			tickets.now = c.Now
			old, _, err := tokens.Create(Token{Content: "image"}, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			member, err := tickets.Create(Ticket{Name: "pc-1"})
			if err != nil {
				t.Fatal(err)
			}
			done, err := tickets.Create(Ticket{Name: "pc-2"})
			if err == nil {
				err = tickets.End(HashOf(done))
			}
			if err != nil {
				t.Fatal(err)
			}
			c.now = hostclock.Set(c.now.Add(10*time.Minute), by)
			look := func(when string, k *Tokens, s *Tickets, aged bool) {
				t.Helper()
				if _, err := k.Look(old); aged {
					wantCode(t, err, protocol.CodeTokenExpired)
				} else if err != nil {
					t.Errorf("%s, a token: %v", when, err)
				}
				if _, err := s.Look(done); aged {
					wantCode(t, err, protocol.CodeTicketUnknown)
				} else if err != nil {
					t.Errorf("%s, the ticket of a member that is done: %v", when, err)
				}
				if _, err := s.Look(member); err != nil {
					t.Errorf("%s, a ticket: %v", when, err)
				}
			}
			look("after the jump", tokens, tickets, false)
			// More boot tokens than a machine may have: the last ones count.
			var last string
			for n := range maxTokensPerMAC + 1 {
				if last, _, err = tokens.Create(Token{Boot: true, MAC: "52:54:00:00:00:01", Name: fmt.Sprint(n)}, time.Hour); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := tokens.Look(last); err != nil {
				t.Errorf("the newest boot token: %v", err)
			}
			if _, err := tickets.Create(Ticket{Name: "pc-3"}); err != nil {
				t.Fatal(err)
			}
			again, err := openTokens(tokens.path, c.Now)
			if err != nil {
				t.Fatal(err)
			}
			tickets2, err := openTickets(tickets.path, c.Now)
			if err != nil {
				t.Fatal(err)
			}
			look("after a restart", again, tickets2, false)
			// The clock is put right while no server runs, and while one does.
			c.now = hostclock.Set(c.now, -by)
			right, err := openTokens(tokens.path, c.Now)
			if err != nil {
				t.Fatal(err)
			}
			tickets3, err := openTickets(tickets.path, c.Now)
			if err != nil {
				t.Fatal(err)
			}
			look("put right while no server runs", right, tickets3, false)
			look("put right after a restart", again, tickets2, false)
			c.now = hostclock.Set(c.now, by)
			if _, err := again.Look(last); err != nil {
				t.Errorf("the newest boot token after a restart: %v", err)
			}
			c.now = c.now.Add(51 * time.Minute)
			look("an hour after", tokens, tickets, true)
			look("an hour after, after a restart", again, tickets2, true)
		})
	}
}

// TestNewestBootTokens: a machine whose clock was put back between two of its boots
// gets a token that is good, whatever the times of the others.
func TestNewestBootTokens(t *testing.T) {
	tokens, c := newTokens(t)
	var made []string
	for range 2 * maxTokensPerMAC {
		c.now = c.now.Add(-time.Minute)
		secret, _, err := tokens.Create(Token{Boot: true, MAC: "52:54:00:00:00:01"}, 24*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, secret)
	}
	for i, secret := range made {
		_, err := tokens.Look(secret)
		if kept := i >= len(made)-maxTokensPerMAC; kept != (err == nil) {
			t.Errorf("token %d of %d: %v", i+1, len(made), err)
		}
	}
}
