package doctor

import (
	"strings"
	"testing"
)

// good is a gigabit network without a fault.
func good() Multicast {
	return Multicast{
		Interface: "eth0", Group: "239.192.67.1:7800", Reached: true, FirstAfter: 0.05, LossOf: 3000, LossRate: 20e6,
		MTU: 1500, ServerMTU: 1500, SessionSize: 1480, Rate: 950e6, RateMost: 1e9, Received: 960e6, Burst: 1024, BurstMost: 1024,
		Watched: 300, QueriesKnown: true, Queries: 3, Querier: "192.0.2.254",
	}
}

func TestJudgeMulticast(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault func(*Multicast)
		check string // that has a finding of the level, "" for none
		level Level
		says  string
	}{
		{"nothing wrong", func(*Multicast) {}, "", OK, ""},
		{"blocked", func(m *Multicast) { m.Reached, m.Unicast = false, true }, "arrival", Attention, "same port do"},
		{"firewall", func(m *Multicast) { m.Reached = false }, "arrival", Attention, "neither"},
		{"slow join", func(m *Multicast) { m.FirstAfter = 2.5 }, "arrival", Note, "2.5 s"},
		{"loss", func(m *Multicast) { m.Loss = 0.02 }, "loss", Attention, "2.00 %"},
		{"little loss", func(m *Multicast) { m.Loss = 0.001 }, "loss", Note, "0.10 %"},
		{"loop", func(m *Multicast) { m.Repeated = 3000 }, "order", Attention, "more than once"},
		{"disorder", func(m *Multicast) { m.Reordered = 5 }, "order", Note, "late"},
		{"tunnel", func(m *Multicast) { m.MTU = 1420 }, "mtu", Attention, "1420"},
		{"half the rate", func(m *Multicast) { m.Rate = 400e6 }, "rate", Note, "400 Mbit/s"},
		{"a radio link", func(m *Multicast) { m.Rate = 30e6 }, "rate", Attention, "30 Mbit/s"},
		{"a busy server", func(m *Multicast) { m.Rate, m.Received, m.ServerLimit = 40e6, 0, 45e6 }, "rate", Note, "sends no faster"},
		{"a low cap is no fault", func(m *Multicast) { m.Rate, m.RateMost, m.Received, m.Capped = 50e6, 50e6, 0, true }, "", OK, ""},
		{"small queue", func(m *Multicast) { m.Burst, m.BurstMost = 16, 32 }, "burst", Attention, "16 packets"},
		{"bursts not tried", func(m *Multicast) { m.Burst, m.BurstMost = 16, 16 }, "", OK, ""},
		{"no room here", func(m *Multicast) { m.LocalDrops = 7 }, "buffers", Attention, "7 datagrams"},
		{"no querier", func(m *Multicast) { m.Stopped, m.CameBack, m.Queries = 258, true, 0 }, "igmp", Attention, "258 s"},
		{"gone for good", func(m *Multicast) { m.Stopped = 100 }, "igmp", Attention, "did not come back"},
		{"not watched", func(m *Multicast) { m.Watched, m.Queries = 0, 0 }, "igmp", Note, "not known"},
		{"sessions", func(m *Multicast) { m.Sessions = 2 }, "sessions", Note, "2 sessions"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := good()
			c.fault(&m)
			for _, f := range JudgeMulticast(m) {
				switch {
				case f.Check == c.check && (f.Level != c.level || !strings.Contains(f.Text, c.says)):
					t.Errorf("%+v, want %s with %q", f, c.level, c.says)
				case f.Check != c.check && f.Level != OK:
					t.Errorf("%+v, want only %s to find something", f, c.check)
				case f.Level == Attention && f.Do == "":
					t.Errorf("%q does not say what to do", f.Text)
				}
			}
		})
	}
}
