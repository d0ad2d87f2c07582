package session

import (
	"castpoint/internal/netio"
	"castpoint/multicast/rate"
)

// linkUse counts what this server's sessions, and others, have sent by a link, for
// sessions that leave others their share, or take it. Sessions are no
// strangers to each other: together they leave others what one would, and each finds
// its rate among them by what its members receive; total-rate divides what they may
// have.
func (k *Keeper) linkUse(link string) func() (rate.LinkUse, bool) {
	return func() (rate.LinkUse, bool) {
		// Our own first: what is sent between the two looks counts as others', never
		// the other way round.
		k.mu.Lock()
		use := rate.LinkUse{Own: k.sent[link]}
		for _, c := range k.live {
			if c.link.Interface != link {
				continue
			}
			use.Own += c.SentBytes()
			if c.Sending() {
				use.Sessions++
			}
		}
		k.mu.Unlock()
		all, ok := netio.SentBytes(link)
		use.Foreign = all - min(use.Own, all)
		return use, ok
	}
}
