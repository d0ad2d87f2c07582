package admit

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"castpoint/agent/protocol"
	"castpoint/content"
	"castpoint/internal/atomicfile"
	"castpoint/internal/calendar"
	"castpoint/web/api"
)

// Life of a ticket.
const (
	ticketLife  = 7 * 24 * time.Hour // since it was last seen: a machine may come back after a weekend
	ticketAfter = 15 * time.Minute   // after its member has everything: for its last events
	maxTickets  = 65536
)

// Ticket is what the server remembers of an admitted member; the secret itself
// is not kept.
type Ticket struct {
	Hash    string         `json:"hash"` // SHA-256 of the secret, hexadecimal
	Name    string         `json:"name"` // of the member
	MAC     string         `json:"mac,omitempty"`
	Granted bool           `json:"granted,omitempty"` // to a machine that runs a sequence
	Token   string         `json:"token,omitempty"`   // hash of the token that it was given for
	Content string         `json:"content"`           // id
	Object  content.Digest `json:"object"`
	Created time.Time      `json:"created"`
	Expires time.Time      `json:"expires"`
	// Ended is why it is worth nothing any more before its time; "" for one that is
	// good.
	Ended string `json:"ended,omitempty"`
	// Done says that its member has everything: it does not live longer by being seen.
	Done bool `json:"done,omitempty"`

	Stamp calendar.Stamp `json:"stamp,omitempty"` // as that of a Token
	until time.Time
}

// Tickets are the tickets of a server. They survive a restart, so that members
// come back after one.
type Tickets struct {
	path string
	now  func() time.Time

	mu     sync.Mutex
	byHash map[string]*Ticket
}

// OpenTickets reads the store's file; a missing one is an empty store.
func OpenTickets(path string) (*Tickets, error) { return openTickets(path, time.Now) }

func openTickets(path string, clock func() time.Time) (*Tickets, error) {
	t := &Tickets{path: path, now: clock, byHash: make(map[string]*Ticket)}
	var list []Ticket
	if err := readStore(path, &list); err != nil {
		return nil, fmt.Errorf("open tickets: %w", err)
	}
	now := clock()
	for i := range list {
		list[i].until = list[i].Stamp.Time(list[i].Expires, now)
		t.byHash[list[i].Hash] = &list[i]
	}
	return t, nil
}

// Of are the hashes of the tickets that were given for a token.
func (t *Tickets) Of(token string) (hashes []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for h, k := range t.byHash {
		if k.Token == token && k.Ended == "" {
			hashes = append(hashes, h)
		}
	}
	return hashes
}

// Create makes a ticket and returns its secret. Hash and times of want do not count.
func (t *Tickets) Create(want Ticket) (secret string, err error) {
	secret, hash := newSecret()
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	for h, k := range t.byHash {
		if now.After(k.until) {
			delete(t.byHash, h)
		}
	}
	if len(t.byHash) >= maxTickets {
		return "", api.Refusal(http.StatusServiceUnavailable, protocol.CodeTooMany, "", "%d machines are admitted already", len(t.byHash))
	}
	want.Hash, want.Created = hash, now.UTC().Truncate(time.Second)
	want.live(now, ticketLife)
	t.byHash[hash] = &want
	if err := t.save(); err != nil {
		delete(t.byHash, hash)
		return "", err
	}
	return secret, nil
}

// live has the ticket live for so long from now on.
func (k *Ticket) live(now time.Time, life time.Duration) {
	k.until = now.Add(life)
	k.Expires = k.until.UTC().Truncate(time.Second)
}

func (t *Tickets) save() error {
	list := make([]*Ticket, 0, len(t.byHash))
	now := t.now()
	for _, k := range t.byHash {
		k.Expires, k.Stamp = onCalendar(k.Expires, k.until, now), calendar.NewStamp(k.until, now)
		list = append(list, k)
	}
	slices.SortFunc(list, func(a, b *Ticket) int { return strings.Compare(a.Hash, b.Hash) })
	data, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("save tickets: %w", err)
	}
	if err := atomicfile.Write(t.path, data); err != nil {
		return fmt.Errorf("save tickets: %w", err)
	}
	return nil
}

// Look says whose ticket it is, and keeps it alive.
func (t *Tickets) Look(secret string) (Ticket, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k, ok := t.byHash[HashOf(secret)]
	now := t.now()
	if !ok || now.After(k.until) {
		return Ticket{}, api.Refusal(http.StatusForbidden, protocol.CodeTicketUnknown, "join again with a new token (castpoint token create)",
			"the ticket is not known to this server, or has ended")
	}
	if k.Ended != "" {
		return Ticket{}, api.Refusal(http.StatusForbidden, protocol.CodeSessionEnded, "join again with a new token (castpoint token create)", "%s", k.Ended)
	}
	// In memory only: after a restart it has at least what is left of its life
	// since it was last saved.
	if !k.Done {
		k.live(now, ticketLife)
	}
	return *k, nil
}

// Revoke ends tickets at once. Who shows one of them is told why for a while.
func (t *Tickets) Revoke(hashes []string, why string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, h := range hashes {
		if k, ok := t.byHash[h]; ok {
			k.Ended = why
			k.live(t.now(), ticketAfter)
		}
	}
	return t.save()
}

// End lets the ticket live a little longer and no more.
func (t *Tickets) End(hash string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	k, ok := t.byHash[hash]
	if !ok {
		return nil
	}
	k.Done = true
	k.live(t.now(), ticketAfter)
	return t.save()
}
