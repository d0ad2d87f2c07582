package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"time"
)

// How IGMP works (RFC 3376 section 8): queriers ask every 125 s, and switches forget
// who wants a group 260 s after it last said so.
const (
	queryEvery  = 125 * time.Second
	queryForget = 260 * time.Second
)

// Querier is what the server has heard of IGMP queriers on an interface.
type Querier struct {
	Interface string
	Address   netip.Addr // the last; invalid when none was heard
	Heard     time.Time
}

func queriers(_ context.Context, t *Target) []Finding {
	if !t.Running {
		return []Finding{{Level: Note, Text: "not known: the server, which hears them, is not running", Do: "castpoint serve"}}
	}
	if len(t.Queriers) == 0 {
		return []Finding{{Level: Note, Text: "the server may not listen for IGMP", Do: "give the service CAP_NET_RAW; castpoint doctor multicast on a client listens, too"}}
	}
	now := t.Now()
	listened := now.Sub(t.Since)
	var all []Finding
	for _, q := range t.Queriers {
		ago := now.Sub(q.Heard).Round(time.Second)
		switch {
		case q.Address.IsValid() && ago <= queryForget:
			all = append(all, Finding{Level: OK, Text: fmt.Sprintf("%s asks on %s, last %s ago", named(q.Address), q.Interface, ago)})
		case q.Address.IsValid():
			all = append(all, Finding{Level: Attention, Text: fmt.Sprintf("%s asked on %s, and has been silent for %s: switches with IGMP snooping have forgotten who wants multicast", named(q.Address), q.Interface, ago),
				Do: "see whether that router or switch is up; " + askQuerier})
		case listened < queryForget:
			all = append(all, Finding{Level: Note, Text: fmt.Sprintf("none was heard on %s in %s; they ask every %s", q.Interface, listened.Round(time.Second), queryEvery),
				Do: fmt.Sprintf("run castpoint doctor again in %s", (queryForget - listened).Round(time.Second))})
		default:
			all = append(all, Finding{Level: Note, Text: fmt.Sprintf("none was heard on %s in %s: switches with IGMP snooping stop multicast after %s", q.Interface, listened.Round(time.Second), queryForget),
				Do: "when switches snoop, " + askQuerier + "; castpoint doctor multicast --for 5m on a client shows whether they do"})
		}
	}
	return all
}

// named is a querier for people.
func named(a netip.Addr) string {
	if a.IsUnspecified() {
		return "a switch without an address of its own"
	}
	return a.String()
}
