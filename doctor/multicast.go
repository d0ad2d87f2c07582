package doctor

import (
	"fmt"
	"strings"
	"time"
)

// Multicast is what was measured of the way from a server's multicast to one machine.
// Rates are those of IP packets in bits per second, times are in seconds, sizes are
// those of IP packets in bytes.
type Multicast struct {
	Server, Interface, Group string
	Sessions                 int // that were running meanwhile

	Reached    bool    // the group arrives ...
	FirstAfter float64 // ... so long after the join
	Unicast    bool    // the port is reached without multicast; tried when the group does not arrive
	Advice     []string

	Loss                float64 // share, at LossRate
	LossRate            float64
	LossOf              int // packets
	Repeated, Reordered int
	MTU, ServerMTU      int
	SessionSize         int // of sessions' packets

	Rate, RateMost float64 // highest without further loss, highest that was tried
	Received       float64 // what arrived of the first rate that was too high; 0 for none
	Capped         bool    // RateMost is the server's setting
	ServerLimit    float64 // what the server could send, when that was less than asked for

	Burst, BurstMost int // packets back to back without further loss, most that were tried
	LocalDrops       int // datagrams the machine had no room for

	Watched      float64
	Stopped      float64 // after the join; 0 when it did not
	CameBack     bool    // after joining again
	QueriesKnown bool
	Queries      int // of IGMP, from Querier
	Querier      string
}

// What a network should do.
const (
	lossAttention = 0.005 // more is a fault of cables, duplex or radio
	lossNote      = 0.0005
	joinSlow      = 1.5 // seconds
	// sessionBurst is how many packets sessions send back to back.
	sessionBurst = 44
	rateNote     = 900e6
	rateLow      = 50e6
	watchEnough  = 280 // seconds: RFC 3376 section 8.4, group membership interval, with some to spare
)

const askQuerier = "switch an IGMP querier on in this VLAN (Cisco: ip igmp snooping querier; HPE/Aruba: ip igmp querier; Linux bridge: mcast_querier 1), or IGMP snooping off"

// JudgeMulticast says what the figures mean, in the order of the measurement.
func JudgeMulticast(m Multicast) (all []Finding) {
	add := func(check string, f Finding) {
		f.Check = check
		all = append(all, f)
	}
	if m.Sessions > 0 {
		add("sessions", Finding{Level: Note, Text: fmt.Sprintf("%d sessions were running: the figures are what they left", m.Sessions),
			Do: "measure again when none runs"})
	}
	add("arrival", m.arrival())
	if !m.Reached {
		return all
	}
	add("loss", m.loss())
	add("order", m.order())
	add("mtu", m.mtu())
	add("rate", m.rate())
	add("burst", m.burst())
	if m.LocalDrops > 0 {
		add("buffers", Finding{Level: Attention, Text: fmt.Sprintf("this machine itself dropped %d datagrams: its socket had no room", m.LocalDrops),
			Do: "run as root, or sysctl -w net.core.rmem_max=8388608 here; a machine whose processor is busy with other things loses as well"})
	}
	add("igmp", m.igmp())
	return all
}

func (m *Multicast) arrival() Finding {
	switch {
	case m.Reached && m.FirstAfter > joinSlow:
		return Finding{Level: Note, Text: fmt.Sprintf("group %s arrives on %s %.1f s after the join", m.Group, m.Interface, m.FirstAfter),
			Do: "look whether the switch's port waits for spanning tree (Cisco: spanning-tree portfast), and at its IGMP snooping"}
	case m.Reached:
		return Finding{Level: OK, Text: fmt.Sprintf("group %s arrives on %s %.1f s after the join", m.Group, m.Interface, m.FirstAfter)}
	case m.Unicast:
		return Finding{Level: Attention, Text: fmt.Sprintf("group %s does not arrive on %s, datagrams to this machine's own address at the same port do: %s", m.Group, m.Interface, strings.Join(m.Advice, "; ")),
			Do: "the network drops multicast: " + askQuerier + "; look for storm control or multicast filters on the switch, and for the hop limit (multicast-ttl) when there is a router between"}
	}
	return Finding{Level: Attention, Text: fmt.Sprintf("neither group %s nor datagrams to this machine at its port arrive on %s: %s", m.Group, m.Interface, strings.Join(m.Advice, "; ")),
		Do: "let UDP at that port through the firewalls of server, network and this machine, then measure again"}
}

func (m *Multicast) loss() Finding {
	f := Finding{Level: OK, Text: fmt.Sprintf("%s of %d packets are lost at %s", percent(m.Loss), m.LossOf, mbit(m.LossRate))}
	switch {
	case m.Loss > lossAttention:
		f.Level = Attention
		f.Do = "at this rate nothing should be lost: look at the error counters of the switch's port (CRC, duplex, half a gigabit cable), replace the cable; on Wi-Fi use a cable"
	case m.Loss > lossNote:
		f.Level, f.Do = Note, "sessions repair this; look at the error counters of the switch's port when it grows"
	}
	return f
}

func (m *Multicast) order() Finding {
	f := Finding{Level: OK, Text: "packets come once, and in order"}
	if m.Repeated > 0 {
		return Finding{Level: Attention, Text: fmt.Sprintf("%d of %d packets come more than once", m.Repeated, m.LossOf),
			Do: "look for a loop in the network, or two ways without link aggregation"}
	}
	if m.Reordered > 0 {
		f.Level, f.Text = Note, fmt.Sprintf("%d of %d packets come late; sessions do not mind", m.Reordered, m.LossOf)
	}
	return f
}

func (m *Multicast) mtu() Finding {
	f := Finding{Level: OK, Text: fmt.Sprintf("packets of up to %d bytes pass, sessions send %d", m.MTU, m.SessionSize)}
	if m.MTU < m.SessionSize {
		f.Level = Attention
		f.Do = fmt.Sprintf("set the MTU of everything between to 1500 or more; a tunnel or VPN on the way takes some of it. Sessions do not get through below %d bytes", m.SessionSize)
	}
	return f
}

func (m *Multicast) rate() Finding {
	f := Finding{Level: OK, Text: fmt.Sprintf("%s arrive without further loss", mbit(m.Rate))}
	switch {
	case m.Received > 0:
		f.Text += fmt.Sprintf("; of more, %s do", mbit(m.Received))
	case m.ServerLimit > 0:
		f.Text += "; the server sends no faster"
	case m.Capped:
		f.Text += "; the server's settings allow no more"
	}
	switch {
	case m.Received > 0 && m.Rate < rateLow:
		f.Level = Attention
		f.Do = "look at the speed that the link has negotiated (ethtool), and for a slow switch, storm control, policing or a radio link on the way; one such machine slows a session down until it is moved to unicast"
	case m.ServerLimit > 0 && m.Rate < rateNote:
		f.Level, f.Do = Note, "look at the speed of the server's link, and at its processor"
	case m.Received > 0 && m.Rate < rateNote:
		f.Level = Note
		f.Do = "less than a gigabit link carries: look for storm control or policing of multicast on the switch, and at this machine's processor"
	}
	return f
}

func (m *Multicast) burst() Finding {
	f := Finding{Level: OK, Text: fmt.Sprintf("%d packets may come back to back", m.Burst)}
	if m.Burst == m.BurstMost {
		f.Text = fmt.Sprintf("%d packets may come back to back, more were not tried", m.Burst)
	}
	if m.Burst < sessionBurst && m.BurstMost > m.Burst {
		f.Level = Attention
		f.Do = fmt.Sprintf("sessions send up to %d in a row: the switch's queue for this port is too small for the difference in speed between its ports. "+
			"Give the port's queue more of the switch's buffer, let the server's port have the members' speed, or set rate to %s", sessionBurst, mbit(m.Rate*0.8))
	}
	return f
}

func (m *Multicast) igmp() Finding {
	asks := ""
	if m.Queries > 0 {
		asks = fmt.Sprintf("; the querier is %s", m.Querier)
	}
	watched := time.Duration(m.Watched * float64(time.Second)).Round(time.Second)
	switch {
	case m.Stopped > 0 && m.CameBack:
		return Finding{Level: Attention, Text: fmt.Sprintf("the group stopped arriving %.0f s after the join, and came back with a new join%s: the switch forgot who wants it", m.Stopped, asks),
			Do: askQuerier}
	case m.Stopped > 0:
		return Finding{Level: Attention, Text: fmt.Sprintf("the group stopped arriving %.0f s after the join, and did not come back with a new join%s", m.Stopped, asks),
			Do: "look whether the link is still up, then at the switch: multicast filters, storm control, IGMP snooping"}
	case m.Watched >= watchEnough:
		return Finding{Level: OK, Text: fmt.Sprintf("the group went on arriving for %s%s", watched, asks)}
	case m.Queries > 0:
		return Finding{Level: OK, Text: "an IGMP querier asks, " + m.Querier}
	case m.Watched > 0:
		return Finding{Level: Note, Text: fmt.Sprintf("the group went on arriving for %s: switches forget after up to 260 s", watched), Do: "watch longer: --for 5m"}
	}
	return Finding{Level: Note, Text: "whether the group goes on arriving for minutes is not known", Do: "watch it: --for 5m"}
}

func percent(share float64) string { return fmt.Sprintf("%.2f %%", 100*share) }

// mbit writes a rate as switches' settings do.
func mbit(bits float64) string {
	if bits >= 1e9 {
		return fmt.Sprintf("%.2f Gbit/s", bits/1e9)
	}
	return fmt.Sprintf("%.0f Mbit/s", bits/1e6)
}
