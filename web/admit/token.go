package admit

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"castpoint/agent/protocol"
	"castpoint/internal/atomicfile"
	"castpoint/internal/calendar"
	"castpoint/web/api"
)

// Limits of the token store.
const (
	// maxTokens bounds memory and file; anybody on the boot network can have
	// boot tokens made by asking for scripts.
	maxTokens = 8192
	// maxGranted is the same for those that machines are given while they run a
	// sequence: the oldest go.
	maxGranted = 65536
	// maxTokensPerMAC is how many unused boot tokens a machine has at once:
	// firmware and people repeat requests, and the last one counts.
	maxTokensPerMAC = 8
	// keepUsed is how long a used token is remembered after its end, so that
	// using it again is answered with who used it.
	keepUsed = 24 * time.Hour
)

// Token is what the server remembers of a token; the secret itself is not kept.
type Token struct {
	Hash    string `json:"hash"`              // SHA-256 of the secret, hexadecimal
	Content string `json:"content,omitempty"` // id of the content it is for; "" with Boot: what is assigned when it is used
	Boot    bool   `json:"boot,omitempty"`    // made for a boot script
	// Files lets another server read the objects of the content, any number of
	// times until it expires; it admits to no session.
	Files   bool      `json:"files,omitempty"`
	MAC     string    `json:"mac,omitempty"`      // the only machine that may use it; "" is any
	UUID    string    `json:"uuid,omitempty"`     // of that machine, as it was booted; so are the others
	Arch    string    `json:"arch,omitempty"`     // amd64, arm64
	Firm    string    `json:"firmware,omitempty"` // uefi, bios
	Name    string    `json:"name,omitempty"`     // what the member is called
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	UsedAt  time.Time `json:"used_at,omitzero"`
	UsedBy  string    `json:"used_by,omitempty"`

	// Proof is of who has used it, to join or to begin a run: the same may ask again,
	// when the answer was lost. See delivery.Proof.
	Proof string `json:"proof,omitempty"`

	// Number tells which of two is older: times do not when the clock was set between.
	Number uint64 `json:"number,omitempty"`

	Granted bool `json:"-"` // to a machine that runs a sequence: in memory only, it asks for another
	// Stamp is until, for the next process.
	Stamp calendar.Stamp `json:"stamp,omitempty"`
	// until is when it expires by the clock that nobody sets; of one that was made before
	// the host was started by the calendar, as Expires.
	until time.Time
}

// Tokens are the one-time tokens of a server. They survive a restart: every
// change is in the file before it is acted on.
//
// The file is written whole, and somebody who asks for the boot scripts of many invented
// machines has it written often. So changes that come while it is written are written
// together, and nobody who only looks waits for the disk.
type Tokens struct {
	path  string
	now   func() time.Time
	write func(path string, data []byte) error

	mu      sync.Mutex
	byHash  map[string]*Token
	number  uint64 // of the last that was made
	changes uint64 // how many there have been

	writing sync.Mutex // before mu
	written uint64     // how many of the changes are in the file; guarded by writing
}

// OpenTokens reads the store's file; a missing one is an empty store.
func OpenTokens(path string) (*Tokens, error) { return openTokens(path, time.Now) }

func openTokens(path string, clock func() time.Time) (*Tokens, error) {
	t := &Tokens{path: path, write: atomicfile.Write, now: clock, byHash: make(map[string]*Token)}
	var list []Token
	if err := readStore(path, &list); err != nil {
		return nil, fmt.Errorf("open tokens: %w", err)
	}
	now := clock()
	for i := range list {
		k := &list[i]
		k.until = k.Stamp.Time(k.Expires, now)
		t.byHash[k.Hash] = k
		t.number = max(t.number, k.Number)
	}
	return t, nil
}

// readStore reads a JSON file into v; a missing file leaves v as it is.
func readStore(path string, v any) error {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s: %w; remove the file to start with none", path, err)
	}
	return nil
}

// newSecret is 128 random bits in hexadecimal, and the hash it is known by.
func newSecret() (secret, hash string) {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	secret = hex.EncodeToString(b[:])
	return secret, HashOf(secret)
}

// HashOf needs no salt and no slow hash: what it hashes is random.
func HashOf(secret string) string {
	sum := sha256.Sum256([]byte(strings.ToLower(strings.TrimSpace(secret))))
	return hex.EncodeToString(sum[:])
}

// Create makes a token that is good for ttl and returns its secret. Hash, times and
// the user of want do not count.
func (t *Tokens) Create(want Token, ttl time.Duration) (secret string, _ Token, err error) {
	secret, made, change, err := t.add(want, ttl)
	if err == nil && !made.Granted {
		if err = t.save(change); err != nil {
			t.mu.Lock()
			delete(t.byHash, made.Hash)
			t.mu.Unlock()
		}
	}
	if err != nil {
		return "", Token{}, err
	}
	return secret, made, nil
}

// add makes a token in memory; change is its place among the changes.
func (t *Tokens) add(want Token, ttl time.Duration) (secret string, _ Token, change uint64, err error) {
	secret, hash := newSecret()
	t.mu.Lock()
	defer t.mu.Unlock()
	clock := t.now()
	now := clock.UTC()
	k := &want
	k.Hash, k.MAC, k.UsedAt, k.UsedBy, k.Proof = hash, strings.ToLower(want.MAC), time.Time{}, "", ""
	k.Created, k.Expires, k.until = now.Truncate(time.Second), now.Add(ttl).Truncate(time.Second), clock.Add(ttl)
	t.number++
	k.Number = t.number
	t.prune(clock)
	if k.Granted {
		t.forget(maxGranted-1, func(o *Token) bool { return o.Granted })
		t.byHash[hash] = k
		return secret, *k, 0, nil
	}
	if k.Boot {
		t.forget(maxTokensPerMAC-1, func(o *Token) bool { return o.Boot && o.MAC == k.MAC && o.UsedAt.IsZero() })
		t.forget(maxTokens-1, func(o *Token) bool { return o.Boot })
	}
	if len(t.byHash) >= maxTokens+maxGranted {
		return "", Token{}, 0, api.Refusal(http.StatusServiceUnavailable, protocol.CodeTooMany, "wait until some have expired", "there are %d tokens already", len(t.byHash))
	}
	t.byHash[hash] = k
	t.changes++
	return secret, *k, t.changes, nil
}

// prune drops what nobody asks about any more.
func (t *Tokens) prune(now time.Time) {
	for hash, k := range t.byHash {
		end := k.until
		if !k.UsedAt.IsZero() && !k.Granted {
			end = end.Add(keepUsed)
		}
		if now.After(end.Add(time.Minute)) { // a minute, to be told "expired" and not "unknown"
			delete(t.byHash, hash)
		}
	}
}

// forget drops the oldest tokens that match until at most keep are left.
func (t *Tokens) forget(keep int, match func(*Token) bool) {
	var list []*Token
	for _, k := range t.byHash {
		if match(k) {
			list = append(list, k)
		}
	}
	if len(list) <= keep {
		return
	}
	slices.SortFunc(list, func(a, b *Token) int { return cmp.Or(cmp.Compare(a.Number, b.Number), a.Created.Compare(b.Created)) })
	for _, k := range list[:len(list)-keep] {
		delete(t.byHash, k.Hash)
	}
}

// onCalendar is the time of the calendar at which a time comes that nobody sets: as it was,
// unless the clock has been set since. What is on disk then goes on after a restart for
// as long as it would have without.
func onCalendar(was, until, now time.Time) time.Time {
	at := now.Round(0).Add(until.Sub(now)).UTC().Truncate(time.Second)
	if at.Sub(was).Abs() <= time.Minute { // clocks drift, and are put right
		return was
	}
	return at
}

// save returns when a change is in the file, with those that have come meanwhile.
func (t *Tokens) save(change uint64) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	if t.written >= change {
		return nil
	}
	list, changes := t.list()
	data, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("save tokens: %w", err)
	}
	if err := t.write(t.path, data); err != nil {
		return fmt.Errorf("save tokens: %w", err)
	}
	t.written = changes
	return nil
}

// list is what the file has to have, and how many changes that is.
func (t *Tokens) list() ([]Token, uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]Token, 0, len(t.byHash))
	now := t.now()
	for _, k := range t.byHash {
		if !k.Granted {
			k.Expires, k.Stamp = onCalendar(k.Expires, k.until, now), calendar.NewStamp(k.until, now)
			list = append(list, *k)
		}
	}
	slices.SortFunc(list, func(a, b Token) int { return strings.Compare(a.Hash, b.Hash) })
	return list, t.changes
}

// Look says what a token is for without using it up: it may be used already,
// but not expired.
func (t *Tokens) Look(secret string) (Token, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k, err := t.find(secret)
	if err != nil {
		return Token{}, err
	}
	return *k, nil
}

func (t *Tokens) find(secret string) (*Token, error) {
	k, ok := t.byHash[HashOf(secret)]
	if !ok {
		return nil, api.Refusal(http.StatusForbidden, protocol.CodeTokenUnknown, "make one with castpoint token create", "the token is not known to this server")
	}
	if now := t.now(); now.After(k.until) {
		return nil, api.Refusal(http.StatusForbidden, protocol.CodeTokenExpired, "make another with castpoint token create",
			"the token expired at %s", k.Expires.Format(time.RFC3339))
	}
	return k, nil
}

// Check is Look for somebody who is going to use the token: it must be unused, or used
// by who has this proof, and macs must have the machine it is bound to.
func (t *Tokens) Check(secret, proof string, macs []string) (Token, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k, err := t.check(secret, proof, macs)
	if err != nil {
		return Token{}, err
	}
	return *k, nil
}

func (t *Tokens) check(secret, proof string, macs []string) (*Token, error) {
	k, err := t.find(secret)
	if err != nil {
		return nil, err
	}
	if k.Files {
		return nil, api.Refusal(http.StatusForbidden, protocol.CodeTokenOther, "make one with castpoint token create", "the token is for castpoint content repair on another server")
	}
	again := proof != "" && subtle.ConstantTimeCompare([]byte(proof), []byte(k.Proof)) == 1
	if !k.UsedAt.IsZero() && !again {
		return nil, api.Refusal(http.StatusForbidden, protocol.CodeTokenUsed, "make another with castpoint token create",
			"token was already used at %s by %s", k.UsedAt.Format(time.RFC3339), k.UsedBy)
	}
	if k.MAC != "" && !slices.Contains(macs, k.MAC) {
		return nil, api.Refusal(http.StatusForbidden, protocol.CodeTokenOther, "make one for this machine with castpoint token create --mac",
			"the token is for the machine %s", k.MAC)
	}
	return k, nil
}

// Use uses the token up for the member called by. Of any number of callers with
// the same token one succeeds; it may come again with the same proof, "" for none.
func (t *Tokens) Use(secret, by, proof string, macs []string) (Token, error) {
	used, change, err := t.take(secret, by, proof, macs)
	if err != nil || change == 0 {
		return used, err
	}
	if err := t.save(change); err != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		if k := t.byHash[used.Hash]; k != nil {
			k.UsedAt, k.UsedBy, k.Proof = time.Time{}, "", ""
		}
		return Token{}, err
	}
	return used, nil
}

// take uses a token up in memory; change is its place among the changes, 0 when the file
// has nothing to hear of it.
func (t *Tokens) take(secret, by, proof string, macs []string) (_ Token, change uint64, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k, err := t.check(secret, proof, macs)
	if err != nil {
		return Token{}, 0, err
	}
	if !k.UsedAt.IsZero() {
		return *k, 0, nil
	}
	k.UsedAt, k.UsedBy, k.Proof = t.now().UTC().Truncate(time.Second), by, proof
	if k.Granted {
		return *k, 0, nil
	}
	t.changes++
	return *k, t.changes, nil
}
