package metrics

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// collector asks for the state when Prometheus asks.
type collector struct {
	read func() State

	dhcp, leases                                                     *prometheus.Desc
	sessions, members, rate, target, loss, injectors, sent, repaired *prometheus.Desc
	contents, damaged, stored, free                                  *prometheus.Desc
	devices, lost, deployments                                       *prometheus.Desc

	mu   sync.Mutex
	seen map[string]volume // of sessions, by id
	sum  volume            // of all sessions there have been
}

// volume is what a session has sent, in bytes.
type volume struct{ sent, repair uint64 }

func newCollector(read func() State) *collector {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &collector{
		read:        read,
		dhcp:        d("castpoint_dhcp_packets_total", "DHCP packets, by what became of them.", "result"),
		leases:      d("castpoint_dhcp_leases", "Addresses that are given away."),
		sessions:    d("castpoint_multicast_sessions", "Multicast sessions, by state; ended ones are left out.", "state"),
		members:     d("castpoint_multicast_members", "Members of running sessions, by state.", "session", "content", "state"),
		rate:        d("castpoint_multicast_bytes_per_second", "Bytes per second that a session sends, measured.", "session", "content", "interface"),
		target:      d("castpoint_multicast_allowed_bytes_per_second", "Bytes per second that rate control allows a session.", "session", "content", "interface"),
		loss:        d("castpoint_multicast_loss_ratio", "Share of datagrams that the worst receiving member of a session loses, 0 to 1.", "session", "content"),
		injectors:   d("castpoint_multicast_injectors", "Addresses that are not this server's, and that members get datagrams of a session from.", "session", "content"),
		sent:        d("castpoint_multicast_sent_bytes_total", "Bytes of symbols that all sessions have sent."),
		repaired:    d("castpoint_multicast_repair_bytes_total", "Bytes of those that were repair."),
		contents:    d("castpoint_content_contents", "Contents of the library, by kind.", "kind"),
		damaged:     d("castpoint_content_damaged", "Contents that the last validation found damaged."),
		stored:      d("castpoint_content_bytes", "Bytes of all contents; what two share is counted twice."),
		free:        d("castpoint_content_free_bytes", "Bytes that the file system of the library has left."),
		devices:     d("castpoint_devices", "Devices on record, by state.", "state"),
		lost:        d("castpoint_events_lost_total", "Events that came faster than they could be kept."),
		deployments: d("castpoint_deployment_targets", "Targets of deployments, by state.", "deployment", "state"),
		seen:        make(map[string]volume),
	}
}

// Describe is that of prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.dhcp, c.leases, c.sessions, c.members, c.rate, c.target, c.loss, c.injectors, c.sent, c.repaired,
		c.contents, c.damaged, c.stored, c.free, c.devices, c.lost, c.deployments,
	} {
		out <- d
	}
}

// Collect is that of prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	s := c.read()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	count(c.dhcp, s.DHCP.Answered, "answered")
	count(c.dhcp, s.DHCP.Silent, "silent")
	count(c.dhcp, s.DHCP.Malformed, "malformed")
	count(c.dhcp, s.DHCP.Limited, "limited")
	count(c.dhcp, s.DHCP.Dropped, "dropped")
	count(c.dhcp, s.DHCP.Failed, "failed")
	gauge(c.leases, float64(s.Leases))

	states := map[string]int{"waiting": 0, "sending": 0, "idle": 0}
	for i := range s.Sessions {
		one := &s.Sessions[i]
		if _, running := states[one.State]; !running {
			continue
		}
		states[one.State]++
		for state, n := range one.Members {
			gauge(c.members, float64(n), one.ID, one.Content, state)
		}
		gauge(c.rate, one.Rate/8, one.ID, one.Content, one.Interface)
		gauge(c.target, one.Target/8, one.ID, one.Content, one.Interface)
		gauge(c.loss, one.Loss, one.ID, one.Content)
		gauge(c.injectors, float64(one.Injectors), one.ID, one.Content)
	}
	for state, n := range states {
		gauge(c.sessions, float64(n), state)
	}
	all := c.add(s.Sessions)
	count(c.sent, all.sent)
	count(c.repaired, all.repair)

	for kind, n := range s.Contents {
		gauge(c.contents, float64(n), kind)
	}
	gauge(c.damaged, float64(s.Damaged))
	gauge(c.stored, float64(s.Stored))
	gauge(c.free, float64(s.Free))
	for state, n := range s.Devices {
		gauge(c.devices, float64(n), state)
	}
	count(c.lost, s.EventsLost)
	for _, d := range s.Deployments {
		for state, n := range d.Targets {
			gauge(c.deployments, float64(n), d.Name, state)
		}
	}
}

// add keeps sums that do not fall when a session that has ended is forgotten.
func (c *collector) add(list []Session) volume {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := make(map[string]volume, len(list))
	for i := range list {
		one := &list[i]
		v, before := volume{one.Sent, one.Repair}, c.seen[one.ID]
		now[one.ID] = v
		c.sum.sent += v.sent - min(v.sent, before.sent)
		c.sum.repair += v.repair - min(v.repair, before.repair)
	}
	c.seen = now
	return c.sum
}
