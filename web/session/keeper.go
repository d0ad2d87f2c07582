package session

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"castpoint/agent/protocol"
	"castpoint/content"
	"castpoint/content/library"
	"castpoint/internal/netio"
	"castpoint/multicast"
	"castpoint/multicast/sender"
	"castpoint/web/api"
)

// Defaults of sessions. The groups lie in the range that RFC 2365 gives to an
// organisation's own use (239.192.0.0/14).
const (
	DefaultFirstGroup = "239.192.67.1"
	DefaultGroups     = 254
	DefaultFirstPort  = 7800
	DefaultPorts      = 100
)

// keepEnded is how many sessions that have ended are still listed.
const keepEnded = 32

// LinkNamed is the interface of that name, the first for "".
func (k *Keeper) LinkNamed(name string) (Link, error) {
	links := k.cfg.links()
	if name == "" {
		return links[0], nil
	}
	for _, l := range links {
		if l.Interface == name {
			return l, nil
		}
	}
	return Link{}, api.Refusal(http.StatusBadRequest, "", "castpoint status lists them", "this server does not serve interface %q", name)
}

// StartRule replaces the start rule for one session.
type StartRule struct {
	MinMembers int
	MaxWait    time.Duration // after the first member
	At         time.Time     // zero for no such time
	MaxMembers int           // 0 means the server's
	Rate       int64         // bits per second; 0 means the server's
	MinRate    int64         // bits per second; 0 means the server's
	// Open is how long the session waits for members that have not joined yet.
	Open time.Duration

	slow bool // for members that another session has outpaced
}

// Keeper holds the running sessions: on each interface one that carries a content, or
// more when they are full. A session is made when the first member joins and ends by
// itself. Close it to end them all.
type Keeper struct {
	cfg     Config                 // what stays as it is
	terms   atomic.Pointer[Config] // its rates, start rule and limits, which change
	library *library.Library
	log     *zap.Logger
	ctx     context.Context // ends with Close
	stop    context.CancelFunc
	running sync.WaitGroup

	mu     sync.Mutex
	closed bool
	live   []*Session        // oldest first
	probe  *Probe            // the machine that is being measured, if any
	ended  []Info            // oldest first
	sent   map[string]uint64 // bytes that ended sessions have sent, by interface
	next   int               // where the search for a free group began last
}

// NewKeeper checks the settings. It opens nothing.
func NewKeeper(cfg Config, library *library.Library, log *zap.Logger) (*Keeper, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if log == nil {
		log = zap.NewNop()
	}
	k := &Keeper{cfg: cfg, library: library, log: log, sent: make(map[string]uint64), next: -1}
	k.terms.Store(&cfg)
	k.ctx, k.stop = context.WithCancel(context.Background())
	return k, nil
}

// Reload takes rates, start rule and limits of other settings. They are those of
// sessions made from now on; the total rate and everybody's share of it change at
// once.
func (k *Keeper) Reload(cfg Config) error {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	was := k.terms.Swap(&cfg)
	if cfg.TotalRate == 0 && was.TotalRate != 0 {
		for _, c := range k.live {
			c.SetMaxRate(c.rate)
		}
	}
	k.share()
	return nil
}

// Close ends all sessions and waits for them.
func (k *Keeper) Close() {
	k.mu.Lock()
	k.closed = true
	if k.probe != nil {
		k.takeProbe(k.probe)
	}
	k.mu.Unlock()
	k.stop()
	k.running.Wait()
}

// Admit makes who a member of a session that carries the parcel, making one when
// there is none. local is the address that the member came to; outpaced is the
// session that was too fast for it, nil if there is none.
func (k *Keeper) Admit(p Parcel, who sender.Candidate, local netip.Addr, outpaced *Session) (*Session, *multicast.Admission, error) {
	terms := k.terms.Load()
	link, rule := k.cfg.linkOf(local), StartRule{MinMembers: terms.MinMembers, MaxWait: terms.MaxWait, Open: terms.Linger}
	if outpaced != nil {
		link, rule = outpaced.link, outpaced.slower(rule)
	}
	for part := 0; ; {
		c, _, err := k.For([]Parcel{p}, link, part, rule)
		if err != nil {
			return nil, nil, err
		}
		params, member, keys, err := c.Admit(who)
		if errors.Is(err, sender.ErrFull) {
			part++
			continue
		}
		if errors.Is(err, sender.ErrEnded) {
			// It ended between the look and the admission; its place is free as soon
			// as it is done.
			select {
			case <-c.Done():
				continue
			case <-k.ctx.Done():
				return nil, nil, api.ErrClosing
			}
		}
		if err != nil {
			return nil, nil, err
		}
		adm := &multicast.Admission{
			MulticastOnly: p.Content.Distribution.MulticastOnly, Session: params, Member: member, Keys: keys,
		}
		c.cargo.describe(adm, &p)
		return c, adm, nil
	}
}

// For finds a session on an interface that carries all the parcels, or makes it;
// made says which. part is how many of those there are to pass over: they are full.
func (k *Keeper) For(parcels []Parcel, link Link, part int, rule StartRule) (_ *Session, made bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil, false, api.ErrClosing
	}
	for _, c := range k.live {
		other := slices.ContainsFunc(parcels, func(p Parcel) bool { return !c.cargo.carries(p.Digest) })
		// One that is over is about to be taken away by routineRun.
		if other || c.Over() || c.link.Interface != link.Interface || c.slow != rule.slow {
			continue
		}
		if part == 0 {
			return c, false, nil
		}
		part--
	}
	c, err := k.open(parcels, link, rule)
	if err != nil {
		return nil, false, fmt.Errorf("start a session of %s: %w", parcels[0].Content.ID, err)
	}
	k.live = append(k.live, c)
	k.share()
	ctx, cancel := context.WithCancel(k.ctx)
	c.cancel = cancel
	k.running.Go(func() { k.routineRun(ctx, c) })
	return c, true, nil
}

// share gives every session an even share of the total rate; what one may not use
// by its own cap is shared by the others. k.mu is held.
func (k *Keeper) share() {
	total := k.terms.Load().TotalRate
	if total == 0 {
		return
	}
	list := slices.DeleteFunc(slices.Clone(k.live), (*Session).Over)
	own := func(c *Session) int64 { return cmp.Or(c.rate, math.MaxInt64) }
	slices.SortFunc(list, func(a, b *Session) int { return cmp.Compare(own(a), own(b)) })
	left := total
	for i, c := range list {
		rate := min(left/int64(len(list)-i), own(c))
		left -= rate
		c.SetMaxRate(rate)
	}
}

// open makes a session. k.mu is held, so no other takes the same group.
func (k *Keeper) open(parcels []Parcel, link Link, rule StartRule) (_ *Session, err error) {
	cargo, err := load(k.library, parcels)
	if err != nil {
		return nil, err
	}
	shelf := &shelf{library: k.library}
	sources, err := shelf.sources(cargo.objects)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, shelf.Close())
		}
	}()
	conn, group, err := k.openGroup(link)
	if err != nil {
		return nil, err
	}
	source := conn.Local().Addr().Unmap().WithZone("")
	back := feedback(link, conn.Local())
	if back.Addr().Is6() && back.Addr().IsLinkLocalUnicast() {
		err = api.Refusal(http.StatusServiceUnavailable, "", "give it one, or use IPv4 groups", "interface %s has no IPv6 address that members of %s could report to, only a link-local one", link.Interface, group)
		return nil, errors.Join(err, conn.Close())
	}
	terms := k.terms.Load()
	rate, least, most := rule.Rate, rule.MinRate, rule.MaxMembers
	if rate == 0 {
		rate = terms.Rate
	}
	if least == 0 {
		least = terms.MinRate
	}
	if rate > 0 {
		least = min(least, rate)
	}
	if most == 0 {
		most = terms.MaxMembers
	}
	open := rule.Open
	if !rule.At.IsZero() {
		open = max(open, time.Until(rule.At)+rule.Open)
	}
	together := slices.ContainsFunc(parcels, func(p Parcel) bool { return p.Content.Distribution.MulticastOnly })
	s, err := sender.New(sender.Config{
		ID: k.newID(), Objects: cargo.objects, Sources: sources, Conn: conn,
		Group: group, Feedback: back, Source: source,
		MaxRate: rate, LinkSpeed: netio.LinkSpeed(link.Interface), Link: k.linkUse(link.Interface), Greedy: k.cfg.Greedy, MinRate: least,
		MinMembers: rule.MinMembers, MaxWait: rule.MaxWait, StartAt: rule.At,
		MaxMembers: most, Linger: open,
		KeepTogether: together, Cipher: k.cfg.Cipher,
		Log: k.log,
	})
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &Session{
		Session: s, cargo: cargo, shelf: shelf, group: group, rate: rate, slow: rule.slow, link: link, source: source,
		unicast: make(map[uint32]*multicast.LeaveRequest), remotes: make(map[uint32]netip.Addr), injectors: make(map[netip.Addr]*injector),
	}, nil
}

func (k *Keeper) newID() uint32 {
	for {
		var b [4]byte
		_, _ = rand.Read(b[:]) // never fails (crypto/rand)
		id := binary.BigEndian.Uint32(b[:])
		used := slices.ContainsFunc(k.live, func(c *Session) bool { return c.ID() == id })
		if id != 0 && !used {
			return id
		}
	}
}

// routineRun runs a session to its end and takes it off the list.
func (k *Keeper) routineRun(ctx context.Context, c *Session) {
	err := c.Run(ctx)
	c.cancel()
	if source, ok := errors.AsType[*sender.SourceError](err); ok {
		_ = k.library.NoteDamage(source.Digest, source.Err.Error()) // which is logged
	}
	if err != nil {
		k.log.Error("session failed", zap.String("content", c.cargo.parcels[0].Content.ID), zap.Error(err))
	}
	if err := c.shelf.Close(); err != nil {
		k.log.Warn("object not closed", zap.String("content", c.cargo.parcels[0].Content.ID), zap.Error(err))
	}
	now := time.Now()
	info := c.Info()
	info.Ended = &now
	k.mu.Lock()
	defer k.mu.Unlock()
	k.live = slices.DeleteFunc(k.live, func(o *Session) bool { return o == c })
	k.sent[c.link.Interface] += c.SentBytes()
	k.share()
	k.ended = append(k.ended, info)
	if n := len(k.ended) - keepEnded; n > 0 {
		k.ended = slices.Delete(k.ended, 0, n)
	}
}

// Drop ends the sessions that carry an object: it is damaged, or was replaced, and they
// have it open as it was.
func (k *Keeper) Drop(object content.Digest) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.live {
		if _, carries := c.cargo.index[object]; carries {
			c.cancel()
		}
	}
}

// List is all sessions, running ones first, newest first.
func (k *Keeper) List() []Info {
	k.mu.Lock()
	live, ended := slices.Clone(k.live), slices.Clone(k.ended)
	k.mu.Unlock()
	out := make([]Info, 0, len(live)+len(ended))
	for _, c := range live {
		out = append(out, c.Info())
	}
	slices.SortFunc(out, func(a, b Info) int { return b.Created.Compare(a.Created) })
	slices.Reverse(ended)
	return append(out, ended...)
}

// Find is the running session with that id.
func (k *Keeper) Find(id string) (*Session, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.live {
		if fmt.Sprintf("%08x", c.ID()) == id {
			return c, nil
		}
	}
	return nil, api.Refusal(http.StatusNotFound, protocol.CodeNotFound, "castpoint session list shows those that run", "no session %q is running", id)
}
