// Package diagnose looks at this machine when nothing of a session arrives, and says
// what may be wrong: interfaces, joined groups, filters, queriers.
package diagnose

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"castpoint/internal/netio"
	"castpoint/multicast"
)

// lookEarly is how long before the end of the silence the system is looked at:
// while the group is still joined.
const lookEarly = 500 * time.Millisecond

// Watch looks at the system shortly before a receiver gives up, in a
// goroutine of its own. The function it returns ends the watch and gives what
// was found; nothing when the receiver came to its end earlier.
func Watch(ctx context.Context, ifi *net.Interface, p multicast.Params, patience time.Duration) func() []string {
	if patience == 0 {
		patience = 5 * time.Second
	}
	if patience <= lookEarly {
		return func() []string { return Silence(ifi, p, patience) }
	}
	ctx, cancel := context.WithCancel(ctx)
	var found []string
	var running sync.WaitGroup
	running.Go(func() {
		t := time.NewTimer(patience - lookEarly)
		defer t.Stop()
		select {
		case <-ctx.Done():
		case <-t.C:
			found = Silence(ifi, p, patience)
		}
	})
	return func() []string {
		cancel()
		running.Wait()
		return found
	}
}

// Silence says why nothing may arrive of a group, as of now.
func Silence(ifi *net.Interface, p multicast.Params, waited time.Duration) []string {
	return explainSilence(ifi, p, systemFacts(ifi.Name), waited)
}

// facts is what the system says about receiving multicast on an interface; ""
// when it does not say.
type facts struct {
	igmp     string // text of /proc/net/igmp
	rpFilter string // of the interface, 0 to 2
	rpAll    string // of all interfaces; the larger one counts
	firewall string // "nftables", "iptables"
}

// explainSilence says why nothing may arrive, most certain first.
func explainSilence(ifi *net.Interface, p multicast.Params, f facts, silence time.Duration) []string {
	group, port := p.Group.Addr(), p.Group.Port()
	at := "no address"
	if a, err := netio.AddressOn(ifi, group); err == nil {
		at = a.String()
	}
	out := []string{fmt.Sprintf("waited %s on interface %s (%s) for UDP datagrams to group %s port %d", silence, ifi.Name, at, group, port)}
	if ifi.Flags&net.FlagUp == 0 {
		out = append(out, fmt.Sprintf("interface %s is down", ifi.Name))
	}
	if ifi.Flags&net.FlagMulticast == 0 {
		out = append(out, fmt.Sprintf("interface %s does not do multicast: ip link set %s multicast on", ifi.Name, ifi.Name))
	}
	if server, _, err := netio.InterfaceFor(p.Feedback.Addr()); err == nil && server.Name != ifi.Name {
		out = append(out, fmt.Sprintf("the server %s is reached over %s, but the group was joined on %s: try --interface %s",
			p.Feedback.Addr(), server.Name, ifi.Name, server.Name))
	}
	if f.igmp != "" && group.Is4() {
		version, groups := parseIGMP(f.igmp, ifi.Name)
		if slices.Contains(groups, group) {
			out = append(out, fmt.Sprintf("the group is joined on %s (IGMP%s), so the request for it has left this machine", ifi.Name, version))
		} else {
			out = append(out, fmt.Sprintf("the group is not joined on %s although it was asked for: the kernel's list is /proc/net/igmp", ifi.Name))
		}
	}
	if f.rpFilter == "1" || f.rpAll == "1" && f.rpFilter != "2" {
		out = append(out, fmt.Sprintf("net.ipv4.conf.%s.rp_filter is 1: datagrams are dropped unless the way back to %s leads over %s; 2 is less strict",
			ifi.Name, p.Feedback.Addr(), ifi.Name))
	}
	if f.firewall != "" {
		out = append(out, fmt.Sprintf("%s is active on this machine: it has to let UDP port %d and IGMP in", f.firewall, port))
	}
	return append(out,
		"a switch with IGMP snooping passes a group on only while some router or switch is the IGMP querier: switch a querier on in this VLAN, or snooping off",
		"a router between here and the server passes multicast on only when it is told to (PIM), and only above the hop limit that the session is sent with")
}

// parseIGMP finds the IGMP version and the joined groups of an interface in the
// text of /proc/net/igmp. Groups are there in hexadecimal as the host's memory
// has them.
func parseIGMP(text, ifi string) (version string, groups []netip.Addr) {
	mine := false
	for line := range strings.SplitSeq(text, "\n") {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0:
		case line[0] != '\t' && line[0] != ' ':
			// "2	eth0      :     1      V3"
			mine = len(fields) >= 2 && strings.TrimSuffix(fields[1], ":") == ifi
			if mine {
				version = fields[len(fields)-1]
			}
		case mine:
			if b, err := hex.DecodeString(fields[0]); err == nil && len(b) == 4 {
				var a [4]byte
				binary.NativeEndian.PutUint32(a[:], binary.BigEndian.Uint32(b))
				groups = append(groups, netip.AddrFrom4(a))
			}
		}
	}
	return version, groups
}
