package rate

import "time"

// A polite session leaves room for what else leaves by the sender's link. Loss and
// queueing delay cannot do that: a TCP stream backs off long before a session has
// lost so much that it must be congestion, and modern ones before anything queues.
// But the sender's host knows how many bytes others have sent by its interface, so
// that traffic is seen directly:
//
//   - when datagrams queue or the local send blocks, the link is full, and what left
//     it in that round by all together is its capacity;
//   - while the link is nearly that full and others take part of it, the session
//     stays below what they have left, with room for them to grow, and in any case
//     below politeShare. Others that want more grow round by round until they have
//     the rest; others that do not cost the session no more than they use;
//   - the sessions of one server share what one of them would have: each has what the
//     others do not take of it, and always an even part.
//
// Traffic that meets the session further on in the network is not seen, only its
// queues and losses.
//
// A greedy session uses the same knowledge to the opposite end: while others take part
// of the full link, it bears the loss that they cause longer than they do (Controller.Press).

// LookEvery is how often a session looks at what others send: a round.
const LookEvery = 50 * time.Millisecond

const (
	politeShare = 0.62             // of the link, at least; less than two thirds, for what is measured late
	politeRoom  = 1.25             // what others may grow to in a round, of what they send now
	foreignPart = 0.02             // of the link: less than that is nobody
	fullPart    = 0.9              // of the capacity: the link is full
	fullMemory  = 30 * time.Second // how long a capacity is believed
	fullForget  = 0.1              // of what a capacity was above that of a later full round
	fullDelay   = 2 * time.Millisecond
	fullBlocked = 0.2             // of a round spent in blocked sends
	pressRest   = 2 * time.Second // how long a greedy session presses after it met others
)

// LinkUse is what has been sent by a link so far.
type LinkUse struct {
	Foreign  uint64 // bytes that others have sent
	Own      uint64 // bytes of all sessions of this server
	Sessions int    // that send by it
}

// Neighbours follows what others send by the sender's link. The zero value is ready
// to use.
type Neighbours struct {
	at       time.Time
	use      LinkUse // at that time
	mine     uint64  // bytes of the session at that time
	capacity float64 // bits per second; 0 when the link was not full lately
	seen     time.Time
	crowded  time.Time     // when others took part of the full link last
	limit    float64       // of the polite session then, bits per second; 0 for none
	blocked  time.Duration // of the running round
	delay    time.Duration // worst that members have told of in the running round
}

// Blocked notes how long the local sends of the running round have waited.
func (n *Neighbours) Blocked(d time.Duration) { n.blocked += d }

// Queued notes a queueing delay that a member has told of.
func (n *Neighbours) Queued(d time.Duration) { n.delay = max(n.delay, d) }

// Crowded reports whether others took part of the full link lately.
func (n *Neighbours) Crowded(now time.Time) bool { return now.Sub(n.crowded) < pressRest }

// Observe ends a round when it is over. mine are the bytes that the session has sent; it
// returns the session's limit, 0 for none.
func (n *Neighbours) Observe(now time.Time, use LinkUse, mine uint64) float64 {
	took := now.Sub(n.at)
	if !n.at.IsZero() && took < LookEvery {
		return n.limit
	}
	first := n.at.IsZero() || use.Foreign < n.use.Foreign || use.Own < n.use.Own
	rate := func(now, before uint64) float64 { return float64(now-before) * 8 / took.Seconds() }
	others, ours, session := rate(use.Foreign, n.use.Foreign), rate(use.Own, n.use.Own), rate(mine, n.mine)
	total := others + ours
	full := n.delay > fullDelay || n.blocked.Seconds() > fullBlocked*took.Seconds()
	n.at, n.use, n.mine, n.delay, n.blocked = now, use, mine, 0, 0
	if first {
		return n.limit
	}
	switch {
	case full:
		// A round that was measured too high is forgotten.
		n.capacity, n.seen = max(n.capacity-(n.capacity-total)*fullForget, total), now
	case now.Sub(n.seen) > fullMemory:
		n.capacity = 0
	}
	n.limit = 0
	if others > foreignPart*n.capacity && total > fullPart*n.capacity && n.capacity > 0 {
		n.crowded = now
		all := max(politeShare*n.capacity, n.capacity-politeRoom*others)
		n.limit = max(all/float64(max(use.Sessions, 1)), all-max(ours-session, 0))
	}
	return n.limit
}
