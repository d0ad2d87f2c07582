package web

import "castpoint/internal/netio"

// foreign counts what others than this server's sessions have sent by a link, in
// bytes, for sessions that leave others their share. It is nil for greedy ones.
// Sessions are no strangers to each other: each finds its rate by what its members
// receive, and total-rate divides what they may have together.
func (k *Keeper) foreign(link string) func() (uint64, bool) {
	if k.terms.Load().Greedy {
		return nil
	}
	return func() (uint64, bool) {
		// Our own first: what is sent between the two looks counts as others', never
		// the other way round.
		k.mu.Lock()
		own := k.sent[link]
		for _, c := range k.live {
			if c.link.Interface == link {
				own += c.SentBytes()
			}
		}
		k.mu.Unlock()
		all, ok := netio.SentBytes(link)
		return all - min(own, all), ok
	}
}
