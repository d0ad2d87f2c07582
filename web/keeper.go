package web

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"castpoint/agent/protocol"
	"castpoint/content"
	"castpoint/internal/netio"
	"castpoint/multicast"
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

// SessionConfig says how sessions are sent.
type SessionConfig struct {
	// Interface is the name of the interface that sessions leave by; Address is
	// this server's address on it, where reports go.
	Interface string
	Address   netip.Addr
	// Groups from FirstGroup on and UDP ports from FirstPort on belong to this
	// server. Zero values mean the defaults.
	FirstGroup netip.Addr
	Groups     int
	FirstPort  uint16
	Ports      int
	TTL        int // hop limit of sessions; 0 means 1, the local network
	// Others are further interfaces. A member that joined by the address of one of
	// them gets its session there; an object then has a session on each interface.
	Others []SessionLink

	Rate int64 // bits per second of a session; 0 for no cap
	// TotalRate is the cap of all sessions together, in bits per second: each has
	// an even share of it. 0 for no cap.
	TotalRate int64
	// MinRate is what a session does not go below, in bits per second: members that
	// cannot take it go on by unicast. 0 for none.
	MinRate int64
	// Greedy sessions do not leave other traffic on the server's link its share.
	Greedy     bool
	MinMembers int           // start when so many have joined ...
	MaxWait    time.Duration // ... or so long after the first; both 0: start with the first
	MaxMembers int           // of a session; more get a session of their own. 0 for any number
	Linger     time.Duration // how long a session without members stays; 0 means 10 s
}

// SessionLink is an interface that sessions leave by, and this server's address
// on it.
type SessionLink struct {
	Interface string
	Address   netip.Addr
}

// links are all interfaces, the first one first.
func (c *SessionConfig) links() []SessionLink {
	return append([]SessionLink{{c.Interface, c.Address}}, c.Others...)
}

// linkOf is the interface of an address of this server. Machines that joined by
// another address, or through a router, get the first.
func (c *SessionConfig) linkOf(local netip.Addr) SessionLink {
	links := c.links()
	for _, l := range links {
		if l.Address == local {
			return l
		}
	}
	// An interface may have more addresses than the one that reports go to.
	for _, l := range links {
		ifi, err := net.InterfaceByName(l.Interface)
		if err != nil {
			continue
		}
		all, err := ifi.Addrs()
		if err == nil && slices.ContainsFunc(all, func(a net.Addr) bool {
			p, err := netip.ParsePrefix(a.String())
			return err == nil && p.Addr() == local
		}) {
			return l
		}
	}
	return links[0]
}

// linkNamed is the interface of that name, the first for "".
func (k *Keeper) linkNamed(name string) (SessionLink, error) {
	links := k.cfg.links()
	if name == "" {
		return links[0], nil
	}
	for _, l := range links {
		if l.Interface == name {
			return l, nil
		}
	}
	return SessionLink{}, problem(http.StatusBadRequest, "", "castpoint status lists them", "this server does not serve interface %q", name)
}

// withDefaults checks the settings.
func (c SessionConfig) withDefaults() (SessionConfig, error) {
	if !c.FirstGroup.IsValid() {
		c.FirstGroup, c.Groups = netip.MustParseAddr(DefaultFirstGroup), DefaultGroups
	}
	if c.FirstPort == 0 {
		c.FirstPort, c.Ports = DefaultFirstPort, DefaultPorts
	}
	switch {
	case !c.FirstGroup.IsMulticast():
		return c, fmt.Errorf("sessions: %s is not a multicast address", c.FirstGroup)
	case c.Groups < 1 || c.Ports < 1 || int(c.FirstPort)+c.Ports > 65536:
		return c, fmt.Errorf("sessions: %d groups and ports %d to %d: want at least one of each", c.Groups, c.FirstPort, int(c.FirstPort)+c.Ports-1)
	case c.Rate < 0 || c.TotalRate < 0 || c.MinRate < 0 || c.MinMembers < 0 || c.MaxMembers < 0 || c.MaxWait < 0 || c.Linger < 0:
		return c, errors.New("sessions: rate, number of members and times cannot be negative")
	case !usableGroup(c.FirstGroup, c.Groups):
		return c, fmt.Errorf("sessions: switches send %s, and all %d groups from it on, to every port like 224.0.0.x: choose others", c.FirstGroup, c.Groups)
	case slices.ContainsFunc(c.links(), func(l SessionLink) bool { return !l.Address.IsValid() }):
		return c, errors.New("sessions: no address that members could report to")
	}
	return c, nil
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
}

// Keeper holds the running sessions, one for each object on each interface, or
// more when they are full. A session is made when the first member joins and ends by itself. Close it to end them all.
type Keeper struct {
	cfg     SessionConfig
	library *content.Library
	log     *zap.Logger
	ctx     context.Context // ends with Close
	stop    context.CancelFunc
	running sync.WaitGroup

	mu     sync.Mutex
	closed bool
	live   map[castKey]*cast
	ended  []SessionInfo     // oldest first
	sent   map[string]uint64 // bytes that ended sessions have sent, by interface
	next   int               // where the search for a free group began last
}

// castKey names what there is at most one session of.
type castKey struct {
	object    content.Digest
	Interface string
	part      int // more than 0 when those before it are full
}

// cast is one running session with what belongs to it.
type cast struct {
	*multicast.Session
	content *content.Content // as it was when the session began
	object  multicast.Object
	file    *os.File
	group   netip.AddrPort
	only    bool  // MulticastOnly
	rate    int64 // bits per second, its own cap; 0 for none
	link    SessionLink
	cancel  context.CancelFunc

	mu      sync.Mutex
	unicast map[uint32]*multicast.LeaveRequest // members that took to unicast; nil until they have left
}

// SessionInfo is a session as people see it.
type SessionInfo struct {
	Content string `json:"content"` // id
	Name    string `json:"name"`    // of the content
	// Interface is the one that it leaves by.
	Interface string     `json:"interface,omitempty"`
	Ended     *time.Time `json:"ended,omitempty"`
	multicast.SessionStatus
}

// NewKeeper checks the settings. It opens nothing.
func NewKeeper(cfg SessionConfig, library *content.Library, log *zap.Logger) (*Keeper, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if log == nil {
		log = zap.NewNop()
	}
	k := &Keeper{cfg: cfg, library: library, log: log, live: make(map[castKey]*cast), sent: make(map[string]uint64), next: -1}
	k.ctx, k.stop = context.WithCancel(context.Background())
	return k, nil
}

// Close ends all sessions and waits for them.
func (k *Keeper) Close() {
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	k.stop()
	k.running.Wait()
}

// admit makes name a member of the content's session, making the session when
// there is none. local is the address that the member came to.
func (k *Keeper) admit(ct *content.Content, name string, local netip.Addr) (*cast, *multicast.Admission, error) {
	for part := 0; ; {
		c, _, err := k.session(ct, k.cfg.linkOf(local), part, StartRule{MinMembers: k.cfg.MinMembers, MaxWait: k.cfg.MaxWait, Open: k.cfg.Linger})
		if err != nil {
			return nil, nil, err
		}
		params, member, keys, err := c.Admit(name)
		if errors.Is(err, multicast.ErrFull) {
			part++
			continue
		}
		if errors.Is(err, multicast.ErrEnded) {
			// It ended between the look and the admission; its place is free as soon
			// as it is done.
			select {
			case <-c.Done():
				continue
			case <-k.ctx.Done():
				return nil, nil, errClosing
			}
		}
		if err != nil {
			return nil, nil, err
		}
		return c, &multicast.Admission{
			MulticastOnly: c.only, Object: c.object, Session: params, Member: member, Keys: keys,
		}, nil
	}
}

var errClosing = problem(http.StatusServiceUnavailable, "", "try again in a moment", "the server is stopping")

// session finds the content's session on an interface or makes it; made says
// which. part counts those that are full.
func (k *Keeper) session(ct *content.Content, link SessionLink, part int, rule StartRule) (_ *cast, made bool, err error) {
	file, err := castFile(ct)
	if err != nil {
		return nil, false, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil, false, errClosing
	}
	// One that is over is about to be taken away by routineRun.
	key := castKey{file.Digest, link.Interface, part}
	if c := k.live[key]; c != nil && !c.over() {
		return c, false, nil
	}
	c, err := k.open(ct, file, link, rule)
	if err != nil {
		return nil, false, err
	}
	k.live[key] = c
	k.share()
	ctx, cancel := context.WithCancel(k.ctx)
	c.cancel = cancel
	k.running.Go(func() { k.routineRun(ctx, c, key) })
	return c, true, nil
}

// share gives every session an even share of the total rate, within its own cap.
// k.mu is held.
func (k *Keeper) share() {
	if k.cfg.TotalRate == 0 {
		return
	}
	n := 0
	for _, c := range k.live {
		if !c.over() {
			n++
		}
	}
	for _, c := range k.live {
		rate := k.cfg.TotalRate / int64(max(n, 1))
		if c.rate > 0 {
			rate = min(rate, c.rate)
		}
		c.SetMaxRate(rate)
	}
}

// castFile is the one file of a content that a session transmits.
func castFile(ct *content.Content) (content.File, error) {
	_, split := ct.File(content.RolePart)
	if f, ok := ct.File(content.RoleImage); ok && !split {
		return f, nil
	}
	if len(ct.Files) == 1 {
		return ct.Files[0], nil
	}
	return content.File{}, problem(http.StatusForbidden, protocol.CodeRefused, "use an OS image",
		"content %s is a %s of %d files, and only contents of one file can be received", ct.ID, ct.Kind, len(ct.Files))
}

// open makes a session. k.mu is held, so no other takes the same group.
func (k *Keeper) open(ct *content.Content, f content.File, link SessionLink, rule StartRule) (_ *cast, err error) {
	m, err := k.library.Manifest(f.Digest)
	if err != nil {
		return nil, fmt.Errorf("start a session of %s: %w", ct.ID, err)
	}
	object := multicast.Object{
		Digest: m.Digest, SHA256: m.Digest.String(), Size: m.Size, BlockSize: m.BlockSize, Hashes: m.Hashes,
	}
	file, err := k.library.OpenObject(f.Digest)
	if err != nil {
		return nil, fmt.Errorf("start a session of %s: %w", ct.ID, err)
	}
	defer func() {
		if err != nil {
			_ = file.Close()
		}
	}()
	conn, group, err := k.openGroup(link)
	if err != nil {
		return nil, fmt.Errorf("start a session of %s: %w", ct.ID, err)
	}
	back := feedback(link, conn.Local())
	if back.Addr().Is6() && back.Addr().IsLinkLocalUnicast() {
		err = problem(http.StatusServiceUnavailable, "", "give it one, or use IPv4 groups", "interface %s has no IPv6 address that members of %s could report to, only a link-local one", link.Interface, group)
		return nil, errors.Join(err, conn.Close())
	}
	rate, least, most := rule.Rate, rule.MinRate, rule.MaxMembers
	if rate == 0 {
		rate = k.cfg.Rate
	}
	if least == 0 {
		least = k.cfg.MinRate
	}
	if rate > 0 {
		least = min(least, rate)
	}
	if most == 0 {
		most = k.cfg.MaxMembers
	}
	open := rule.Open
	if !rule.At.IsZero() {
		open = max(open, time.Until(rule.At)+rule.Open)
	}
	s, err := multicast.NewSession(multicast.Config{
		ID: k.newID(), Object: object, Source: file, Conn: conn,
		Group: group, Feedback: back,
		MaxRate: rate, LinkSpeed: netio.LinkSpeed(link.Interface), Foreign: k.foreign(link.Interface), MinRate: least,
		MinMembers: rule.MinMembers, MaxWait: rule.MaxWait, StartAt: rule.At,
		MaxMembers: most, Linger: open,
		KeepTogether: ct.Distribution.MulticastOnly,
		Log:          k.log,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start a session of %s: %w", ct.ID, err), conn.Close())
	}
	return &cast{
		Session: s, content: ct, object: object, file: file, group: group,
		only: ct.Distribution.MulticastOnly, rate: rate, link: link, unicast: make(map[uint32]*multicast.LeaveRequest),
	}, nil
}

// openGroup takes a group that no session uses and a port that the system lets
// us have: a sender binds the port for the reports of its members.
func (k *Keeper) openGroup(link SessionLink) (*netio.GroupSender, netip.AddrPort, error) {
	groups, ports := map[netip.Addr]bool{}, map[uint16]bool{}
	for _, c := range k.live {
		groups[c.group.Addr()], ports[c.group.Port()] = true, true
	}
	// Each search begins behind the last find: a receiver that has not noticed
	// the end of its session is left in peace.
	k.next++
	full := problem(http.StatusServiceUnavailable, protocol.CodeTooMany, "wait until one has ended, or cancel one",
		"all %d groups or %d ports are in use by sessions", k.cfg.Groups, k.cfg.Ports)
	var addr netip.Addr
	for i := range k.cfg.Groups {
		if a := addrAfter(k.cfg.FirstGroup, (k.next+i)%k.cfg.Groups); !groups[a] && !flooded(a) {
			addr = a
			break
		}
	}
	if !addr.IsValid() {
		return nil, netip.AddrPort{}, full
	}
	for i := range k.cfg.Ports {
		port := k.cfg.FirstPort + uint16((k.next+i)%k.cfg.Ports)
		if ports[port] {
			continue
		}
		group := netip.AddrPortFrom(addr, port)
		conn, err := netio.OpenGroupSender(netio.GroupSenderConfig{Interface: link.Interface, Group: group, TTL: k.cfg.TTL})
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		return conn, group, err
	}
	return nil, netip.AddrPort{}, full
}

// feedback is where the members of a session report to: the interface's usual
// address, or the one of the group's own family.
func feedback(link SessionLink, local netip.AddrPort) netip.AddrPort {
	if a := link.Address; a.Is4() == local.Addr().Is4() && !a.IsLinkLocalUnicast() {
		return netip.AddrPortFrom(a, local.Port())
	}
	return netip.AddrPortFrom(local.Addr().WithZone(""), local.Port())
}

// flooded reports whether switches send a group to every port. An Ethernet
// address holds 23 bits of an IPv4 group (RFC 1112 section 6.4), so x.0.0.y and
// x.128.0.y share those of 224.0.0.y, which snooping leaves alone (RFC 4541
// section 2.1.2).
func flooded(a netip.Addr) bool {
	if !a.Is4() {
		return false
	}
	b := a.As4()
	return b[1]&0x7f == 0 && b[2] == 0
}

// usableGroup reports whether one of n groups from first on reaches only those
// ports that want it.
func usableGroup(first netip.Addr, n int) bool {
	for range n {
		if !flooded(first) {
			return true
		}
		first = first.Next()
	}
	return false
}

// addrAfter is the address n behind a.
func addrAfter(a netip.Addr, n int) netip.Addr {
	for range n {
		a = a.Next()
	}
	return a
}

func (k *Keeper) newID() uint32 {
	for {
		var b [4]byte
		_, _ = rand.Read(b[:]) // never fails (crypto/rand)
		id := binary.BigEndian.Uint32(b[:])
		used := slices.ContainsFunc(k.casts(), func(c *cast) bool { return c.ID() == id })
		if id != 0 && !used {
			return id
		}
	}
}

// casts lists the running sessions. k.mu is held.
func (k *Keeper) casts() []*cast {
	list := make([]*cast, 0, len(k.live))
	for _, c := range k.live {
		list = append(list, c)
	}
	return list
}

// routineRun runs a session to its end and takes it off the list.
func (k *Keeper) routineRun(ctx context.Context, c *cast, key castKey) {
	err := c.Run(ctx)
	c.cancel()
	if err != nil {
		k.log.Error("session failed", zap.String("content", c.content.ID), zap.Error(err))
	}
	if err := c.file.Close(); err != nil {
		k.log.Warn("object not closed", zap.String("content", c.content.ID), zap.Error(err))
	}
	now := time.Now()
	info := c.info()
	info.Ended = &now
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.live[key] == c {
		delete(k.live, key)
	}
	k.sent[c.link.Interface] += c.SentBytes()
	k.share()
	k.ended = append(k.ended, info)
	if n := len(k.ended) - keepEnded; n > 0 {
		k.ended = slices.Delete(k.ended, 0, n)
	}
}

// over says whether the session has ended.
func (c *cast) over() bool {
	select {
	case <-c.Done():
		return true
	default:
		return false
	}
}

// byUnicast notes that a member fetches what multicast does not bring.
func (c *cast) byUnicast(member uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.unicast[member]; !ok {
		c.unicast[member] = nil
	}
}

// left notes how a member that took to unicast has ended. The session may have
// forgotten it by then: it sent no reports.
func (c *cast) left(member uint32, req multicast.LeaveRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.unicast[member]; ok {
		c.unicast[member] = &req
	}
}

// reasonAgain is why a member ends whose ticket has joined again.
const reasonAgain = "joined again"

// memberUnicast is the state of a member that took to unicast; the session knows
// nothing of it.
const memberUnicast multicast.MemberState = "unicast"

func (c *cast) info() SessionInfo {
	info := SessionInfo{Content: c.content.ID, Name: c.content.Name, Interface: c.link.Interface, SessionStatus: c.Status()}
	// A member that joined again is the same machine under a new number.
	info.Members = slices.DeleteFunc(info.Members, func(m multicast.MemberStatus) bool { return m.Reason == reasonAgain })
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range info.Members {
		m := &info.Members[i]
		req, ok := c.unicast[m.ID]
		switch {
		case !ok:
		case req == nil:
			m.State, m.Reason = memberUnicast, "multicast does not arrive there"
		case req.Complete:
			m.State, m.Reason, m.Complete = multicast.MemberDone, "by unicast", info.Blocks
			m.Seconds, m.Repaired, m.Unicast = req.Seconds, req.Repaired, req.Unicast
		default:
			m.State, m.Reason = multicast.MemberFailed, req.Reason
			m.Seconds, m.Repaired, m.Unicast = req.Seconds, req.Repaired, req.Unicast
		}
	}
	return info
}

// list is all sessions, running ones first, newest first.
func (k *Keeper) list() []SessionInfo {
	k.mu.Lock()
	casts, ended := k.casts(), slices.Clone(k.ended)
	k.mu.Unlock()
	out := make([]SessionInfo, 0, len(casts)+len(ended))
	for _, c := range casts {
		out = append(out, c.info())
	}
	slices.SortFunc(out, func(a, b SessionInfo) int { return b.Created.Compare(a.Created) })
	slices.Reverse(ended)
	return append(out, ended...)
}

// find is the running session with that id.
func (k *Keeper) find(id string) (*cast, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.live {
		if fmt.Sprintf("%08x", c.ID()) == id {
			return c, nil
		}
	}
	return nil, problem(http.StatusNotFound, protocol.CodeNotFound, "castpoint session list shows those that run", "no session %q is running", id)
}
