package admit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"castpoint/agent/protocol"
	"castpoint/content"
	"castpoint/internal/atomicfile"
	"castpoint/web/delivery"
)

// clock is a time that tests move.
type clock struct{ now time.Time }

func newClock() *clock { return &clock{time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time { return c.now }

func newTokens(t *testing.T) (*Tokens, *clock) {
	t.Helper()
	k, err := OpenTokens(filepath.Join(t.TempDir(), "tokens.json"))
	if err != nil {
		t.Fatal(err)
	}
	c := newClock()
	k.now = c.Now
	return k, c
}

func wantCode(t *testing.T, err error, code string) *protocol.Problem {
	t.Helper()
	p, ok := errors.AsType[*protocol.Problem](err)
	if !ok || p.Code != code {
		t.Fatalf("error %v, want code %s", err, code)
	}
	return p
}

func TestTokenIsForOneUse(t *testing.T) {
	tokens, clock := newTokens(t)
	secret, made, err := tokens.Create(Token{Content: "win11", Name: "pc-1"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if len(secret) != 32 || strings.Contains(made.Hash, secret) {
		t.Errorf("secret %q, hash %q", secret, made.Hash)
	}
	for range 3 {
		if k, err := tokens.Look(secret); err != nil || k.Content != "win11" {
			t.Fatal(k, err)
		}
		if _, err := tokens.Check(secret, "", nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := tokens.Use(secret, "pc-1", "", nil); err != nil {
		t.Fatal(err)
	}
	clock.now = clock.now.Add(time.Minute)
	_, err = tokens.Use(secret, "pc-2", "", nil)
	p := wantCode(t, err, protocol.CodeTokenUsed)
	if p.Detail != "token was already used at 2026-05-01T12:00:00Z by pc-1" {
		t.Errorf("detail %q", p.Detail)
	}
	_, err = tokens.Check(secret, "", nil)
	wantCode(t, err, protocol.CodeTokenUsed)
	if _, err := tokens.Look(secret); err != nil {
		t.Errorf("a used token still says who its machine is: %v", err)
	}
	_, err = tokens.Look("0123")
	wantCode(t, err, protocol.CodeTokenUnknown)
	_, err = tokens.Look("")
	wantCode(t, err, protocol.CodeTokenUnknown)
}

// TestTokenOfALostAnswer: who has used the token may use it again, until it expires, and
// nobody else.
func TestTokenOfALostAnswer(t *testing.T) {
	tokens, clock := newTokens(t)
	secret, _, err := tokens.Create(Token{Content: "x"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	mine := delivery.Proof(secret, "mine")
	for range 2 {
		if _, err := tokens.Use(secret, "pc", mine, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, nonce := range []string{"", "another"} {
		_, err = tokens.Use(secret, "pc", delivery.Proof(secret, nonce), nil)
		wantCode(t, err, protocol.CodeTokenUsed)
	}
	if b, err := os.ReadFile(tokens.path); err != nil || strings.Contains(string(b), "mine") {
		t.Error("the file holds the nonce", err)
	}
	clock.now = clock.now.Add(2 * time.Hour)
	_, err = tokens.Use(secret, "pc", mine, nil)
	wantCode(t, err, protocol.CodeTokenExpired)
	// One that was used without a nonce is good once.
	if secret, _, err = tokens.Create(Token{Content: "x"}, time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err = tokens.Use(secret, "pc", "", nil); err != nil {
		t.Fatal(err)
	}
	_, err = tokens.Use(secret, "pc", "", nil)
	wantCode(t, err, protocol.CodeTokenUsed)
}

func TestTokenOfManyUsersOneWins(t *testing.T) {
	tokens, _ := newTokens(t)
	secret, _, err := tokens.Create(Token{Content: "x"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	var won atomic.Int32
	var users sync.WaitGroup
	for range 16 {
		users.Go(func() {
			if _, err := tokens.Use(secret, "pc", "", nil); err == nil {
				won.Add(1)
			}
		})
	}
	users.Wait()
	if won.Load() != 1 {
		t.Errorf("%d uses succeeded", won.Load())
	}
}

func TestTokenSurvivesRestart(t *testing.T) {
	tokens, clock := newTokens(t)
	used, _, err := tokens.Create(Token{Content: "x"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	unused, _, err := tokens.Create(Token{Content: "y", MAC: "52:54:00:AA:00:01"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tokens.Use(used, "pc", "", nil); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(tokens.path); err != nil || st.Mode().Perm() != 0o600 {
		t.Fatal(st.Mode(), err)
	}
	if b, err := os.ReadFile(tokens.path); err != nil || strings.Contains(string(b), unused) {
		t.Error("the file holds a secret", err)
	}
	again, err := OpenTokens(tokens.path)
	if err != nil {
		t.Fatal(err)
	}
	again.now = clock.Now
	_, err = again.Use(used, "pc", "", nil)
	wantCode(t, err, protocol.CodeTokenUsed)
	_, err = again.Use(unused, "pc", "", []string{"52:54:00:aa:00:02"})
	wantCode(t, err, protocol.CodeTokenOther)
	if _, err = again.Use(unused, "pc", "", []string{"52:54:00:aa:00:02", "52:54:00:aa:00:01"}); err != nil {
		t.Error(err)
	}
}

func TestTokenExpires(t *testing.T) {
	tokens, clock := newTokens(t)
	secret, _, err := tokens.Create(Token{Content: "x"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	clock.now = clock.now.Add(time.Hour + time.Second)
	_, err = tokens.Use(secret, "pc", "", nil)
	wantCode(t, err, protocol.CodeTokenExpired)
	clock.now = clock.now.Add(time.Hour)
	if _, _, err := tokens.Create(Token{Content: "y"}, time.Hour); err != nil {
		t.Fatal(err)
	}
	_, err = tokens.Look(secret)
	wantCode(t, err, protocol.CodeTokenUnknown)
}

// TestTokensAreWrittenTogether: who asks for the boot scripts of many machines at once has
// the file written a few times, and each token is in it before its script goes out.
func TestTokensAreWrittenTogether(t *testing.T) {
	tokens, _ := newTokens(t)
	var writes atomic.Int32
	tokens.write = func(path string, data []byte) error {
		writes.Add(1)
		time.Sleep(5 * time.Millisecond) // a disk
		return atomicfile.Write(path, data)
	}
	const machines = 200
	var all sync.WaitGroup
	for i := range machines {
		all.Go(func() {
			secret, made, err := tokens.Create(Token{Boot: true, MAC: fmt.Sprintf("52:54:00:aa:00:%02x", i)}, time.Hour)
			if err != nil {
				t.Error(err)
				return
			}
			if b, err := os.ReadFile(tokens.path); err != nil || !strings.Contains(string(b), made.Hash) {
				t.Errorf("the token of machine %d is not in the file: %v", i, err)
			}
			if _, err := tokens.Use(secret, "pc", "", []string{made.MAC}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := writes.Load(); n > machines/2 {
		t.Errorf("%d changes were written %d times", 2*machines, n)
	}
	again, err := OpenTokens(tokens.path)
	if err != nil || len(again.byHash) != machines {
		t.Fatal(len(again.byHash), err)
	}
	for _, k := range again.byHash {
		if k.UsedBy != "pc" {
			t.Errorf("%+v", k)
		}
	}
	// What cannot be written has not been.
	full := errors.New("no space")
	tokens.write = func(string, []byte) error { return full }
	if _, _, err := tokens.Create(Token{Content: "x"}, time.Hour); !errors.Is(err, full) || len(tokens.byHash) != machines {
		t.Errorf("%d tokens, %v", len(tokens.byHash), err)
	}
}

func TestBootTokensOfOneMachineAreBounded(t *testing.T) {
	tokens, clock := newTokens(t)
	var secrets []string
	for range maxTokensPerMAC + 5 {
		clock.now = clock.now.Add(time.Second)
		s, _, err := tokens.Create(Token{Boot: true, MAC: "52:54:00:aa:00:01"}, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, s)
	}
	if n := len(tokens.byHash); n != maxTokensPerMAC {
		t.Errorf("%d tokens are kept", n)
	}
	if _, err := tokens.Look(secrets[len(secrets)-1]); err != nil {
		t.Errorf("the last one must work: %v", err)
	}
	_, err := tokens.Look(secrets[0])
	wantCode(t, err, protocol.CodeTokenUnknown)
}

// Boot tokens of invented machines do not pile up: the oldest go, and those that people
// have made stay.
func TestTokensAreBounded(t *testing.T) {
	tokens, clock := newTokens(t)
	made, _, err := tokens.Create(Token{Content: "image"}, 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	const most = 8192 // as docs/threat-model.md says
	for i := range most {
		k := Token{Hash: fmt.Sprint(i), Boot: true, MAC: fmt.Sprint(i), Created: clock.now.Add(time.Duration(i) * time.Millisecond), Expires: clock.now.Add(time.Hour), until: clock.now.Add(time.Hour)}
		tokens.byHash[k.Hash] = &k
	}
	last, _, err := tokens.Create(Token{Boot: true, MAC: "52:54:00:aa:00:01"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(tokens.byHash); n != most+1 || tokens.byHash["0"] != nil || tokens.byHash[fmt.Sprint(most-1)] == nil {
		t.Errorf("%d tokens are kept", n)
	}
	for _, secret := range []string{made, last} {
		if _, err := tokens.Look(secret); err != nil {
			t.Error(err)
		}
	}
}

func TestDamagedStoreIsNotReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.json")
	if err := os.WriteFile(path, []byte(`[{"hash":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenTokens(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
	if _, err := OpenTickets(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
}

func TestTicket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tickets.json")
	tickets, err := OpenTickets(path)
	if err != nil {
		t.Fatal(err)
	}
	clock := newClock()
	tickets.now = clock.Now
	secret, err := tickets.Create(Ticket{Name: "pc", Content: "x", Object: content.Digest{1}})
	if err != nil {
		t.Fatal(err)
	}
	again, err := OpenTickets(path)
	if err != nil {
		t.Fatal(err)
	}
	again.now = clock.Now
	k, err := again.Look(secret)
	if err != nil || k.Name != "pc" || k.Object != (content.Digest{1}) {
		t.Fatal(k, err)
	}
	// Being seen keeps it alive.
	for range 3 {
		clock.now = clock.now.Add(7*24*time.Hour - time.Hour)
		if _, err := again.Look(secret); err != nil {
			t.Fatal(err)
		}
	}
	if err := again.End(k.Hash); err != nil {
		t.Fatal(err)
	}
	clock.now = clock.now.Add(15*time.Minute - time.Second)
	if _, err := again.Look(secret); err != nil {
		t.Error("it must live a little after its end", err)
	}
	clock.now = clock.now.Add(2 * time.Second)
	_, err = again.Look(secret)
	wantCode(t, err, protocol.CodeTicketUnknown)

	revoked, err := again.Create(Ticket{Name: "pc", Content: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Revoke([]string{HashOf(revoked)}, "the session was cancelled by ada"); err != nil {
		t.Fatal(err)
	}
	_, err = again.Look(revoked)
	wantCode(t, err, protocol.CodeSessionEnded)
	if !strings.Contains(err.Error(), "cancelled by ada") {
		t.Error(err)
	}
	// Why is known for a while, in a server that has started since too, and then nothing.
	later, err := OpenTickets(path)
	if err != nil {
		t.Fatal(err)
	}
	later.now = clock.Now
	_, err = later.Look(revoked)
	wantCode(t, err, protocol.CodeSessionEnded)
	clock.now = clock.now.Add(15*time.Minute + time.Second)
	_, err = later.Look(revoked)
	wantCode(t, err, protocol.CodeTicketUnknown)
}

// The clock of the host is set forth and back. A token is good once, and not after
// its time; who is refused is told that it has expired. A ticket lives on as long as
// the clock says, and after a jump back, too.
func TestClockJumps(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for _, jump := range []time.Duration{year, -year, time.Minute, -time.Minute} {
		t.Run(jump.String(), func(t *testing.T) {
			tokens, c := newTokens(t)
			old, _, err := tokens.Create(Token{Content: "image"}, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			tickets, err := OpenTickets(filepath.Join(t.TempDir(), "tickets"))
			if err != nil {
				t.Fatal(err)
			}
			tickets.now = c.Now
			ticket, err := tickets.Create(Ticket{Name: "pc-1"})
			if err != nil {
				t.Fatal(err)
			}
			c.now = c.now.Add(jump)
			if _, err := tokens.Look(old); jump == year {
				wantCode(t, err, protocol.CodeTokenExpired)
			} else if err != nil {
				t.Errorf("a token of before: %v", err)
			}
			if _, err := tickets.Look(ticket); jump == year {
				wantCode(t, err, protocol.CodeTicketUnknown)
			} else if err != nil {
				t.Errorf("a ticket of before: %v", err)
			}
			// What is made now is good now, in a server that has started since, too.
			fresh, _, err := tokens.Create(Token{Content: "image"}, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			again, err := OpenTokens(tokens.path)
			if err != nil {
				t.Fatal(err)
			}
			again.now = c.Now
			if _, err := again.Look(fresh); err != nil {
				t.Errorf("a token of after: %v", err)
			}
			// And back: nothing that was used is good again.
			c.now = c.now.Add(-jump)
			if _, err := again.Look(fresh); jump != -year && err != nil {
				t.Errorf("after the jump back: %v", err)
			}
		})
	}
}

// FuzzStores: the files of tokens and tickets, after whatever has
// happened to the disk.
func FuzzStores(f *testing.F) {
	f.Add([]byte(`[{"hash":"ab","boot":true,"mac":"52:54:00:00:00:01","created":"2026-03-02T10:00:00Z","expires":"2126-03-02T11:00:00Z"}]`))
	f.Add([]byte(`[{"hash":"ab","name":"pc","content":"win11","object":"00","expires":"2126-03-02T11:00:00Z"}]`))
	f.Add([]byte(`[null]`))
	f.Add([]byte(`[`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(dir, "store.json")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if tokens, err := OpenTokens(path); err == nil {
			_, _ = tokens.Check("guess", "", nil)
			if _, _, err := tokens.Create(Token{Content: "image"}, time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if tickets, err := OpenTickets(path); err == nil {
			if _, err := tickets.Create(Ticket{Name: "pc"}); err != nil {
				t.Fatal(err)
			}
		}
	})
}
