package dhcp

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"castpoint/boot"
	"castpoint/dhcp/dhcp4"
	"castpoint/dhcp/socket"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// sent is a transport that keeps what is sent.
type sent struct {
	mu      sync.Mutex
	packets []*dhcpv4.DHCPv4
	to      []netip.AddrPort
}

func (s *sent) Receive(func([]byte, socket.Received) []byte) error { return net.ErrClosed }

func (s *sent) Transmit(payload []byte, _, to netip.AddrPort, _ int) error {
	p, err := dhcp4.Parse(payload)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.packets, s.to = append(s.packets, p), append(s.to, to)
	return nil
}

func (s *sent) Close() error { return nil }

func (s *sent) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.packets)
}

// bench is a server without sockets.
type bench struct {
	*Server
	out    *sent
	on     *listener
	mu     sync.Mutex
	events []Event
}

func newBench(t *testing.T, c Config) *bench {
	t.Helper()
	b := &bench{out: &sent{}}
	if c.Planner == nil {
		c.Planner = planFunc(testPlan)
	}
	c.Observer = func(e Event) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.events = append(b.events, e)
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	l := &link{name: "eth0"}
	l.state.Store(&linkState{index: 2, networks: []netip.Prefix{netip.PrefixFrom(testServer, 24)}})
	b.Server, b.on = s, &listener{link: l, port: dhcp4.PortServer, conn: b.out}
	s.links = []*link{l}
	if c.Mode == dhcp4.ModeServer {
		if err := s.openLeases(); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func (b *bench) hear(t *testing.T, p *dhcpv4.DHCPv4) Event {
	t.Helper()
	r := socket.Received{Source: netip.MustParseAddrPort("0.0.0.0:68"), SentTo: netip.MustParseAddr("255.255.255.255")}
	b.handle(t.Context(), job{from: b.on, Received: r}, p)
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.events) == 0 {
		return Event{}
	}
	return b.events[len(b.events)-1]
}

type planFunc func(boot.Client) boot.Plan

func (f planFunc) Plan(c boot.Client) boot.Plan { return f(c) }

func TestEventsSayWhatAndWhy(t *testing.T) {
	refuse := planFunc(func(c boot.Client) boot.Plan {
		if c.Arch == boot.ArchEFIARM64 {
			return boot.Plan{Reason: "no boot image for arm64"}
		}
		return testPlan(c)
	})
	b := newBench(t, Config{Planner: refuse, Deny: []string{"52:54:00:00:00:0D"}})
	for _, c := range []struct {
		name           string
		request        *dhcpv4.DHCPv4
		answer, reason string
	}{
		{"served", uefi(), "OFFER", "known machine"},
		{"refused by the plan", packet(1, vendorClass("PXEClient"), option(93, 0, 11)), "", "no boot image for arm64"},
		{"on the list", uefi(from(0x0d)), "", "denied by list entry 52:54:00:00:00:0D"},
		{"not a netboot client", packet(1, vendorClass("MSFT 5.0")), "", "not a netboot client"},
	} {
		e := b.hear(t, c.request)
		if e.Answer != c.answer || e.Reason != c.reason || e.Asked != "DISCOVER" || e.Client.Interface != "eth0" {
			t.Errorf("%s: %+v", c.name, e)
		}
	}
	if s := b.Stats(); s.Answered != 1 || s.Silent != 3 {
		t.Errorf("stats %+v", s)
	}
}

func TestLists(t *testing.T) {
	const uuid = "6A1C2F10-8E4B-4F0D-9A57-0123456789AB"
	for _, c := range []struct {
		name        string
		allow, deny []string
		want        bool
	}{
		{"no lists", nil, nil, true},
		{"denied by maker", nil, []string{"52-54-00"}, false},
		{"denied by UUID", nil, []string{uuid}, false},
		{"allowed by UUID", []string{uuid}, nil, true},
		{"allowed by MAC", []string{"52:54:00:00:00:01"}, nil, true},
		{"not allowed", []string{"aa:bb"}, nil, false},
		{"deny wins", []string{uuid}, []string{"52:54"}, false},
		{"an empty entry names nobody", []string{uuid}, []string{""}, true},
	} {
		b := newBench(t, Config{Allow: c.allow, Deny: c.deny})
		if got := b.hear(t, uefi()).Answer != ""; got != c.want {
			t.Errorf("%s: answered %v", c.name, got)
		}
	}
}

// A machine in a loop, or somebody who plays one, is told off once and does not
// cost the others anything.
func TestStormOfOneClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{})
		for range 10 * limitBurst {
			b.hear(t, uefi())
		}
		if n := b.out.count(); n != limitBurst {
			t.Errorf("%d answers at once, want %d", n, limitBurst)
		}
		if last := b.events[len(b.events)-1]; len(b.events) != limitBurst+1 || !strings.Contains(last.Reason, "ignored") {
			t.Errorf("%d events, the last %q", len(b.events), last.Reason)
		}
		if e := b.hear(t, uefi(from(2))); e.Answer != "OFFER" {
			t.Errorf("another client: %+v", e)
		}
		time.Sleep(10 * time.Second)
		if e := b.hear(t, uefi()); e.Answer != "OFFER" {
			t.Errorf("the same client later: %+v", e)
		}
	})
}

// Memory of the rate limit is bounded, and a flood of invented clients does not
// free one that is in a storm.
func TestLimiterForgetsTheOldest(t *testing.T) {
	l := newLimiter()
	now := time.Unix(1e9, 0)
	for range limitBurst {
		l.allow("storm", now)
	}
	for i := range 5 * limitClients {
		l.allow(string(binary.BigEndian.AppendUint32(nil, uint32(i))), now)
		if i%1000 == 0 {
			if ok, _ := l.allow("storm", now); ok {
				t.Fatalf("free again after %d others", i)
			}
		}
	}
	if n := len(l.young) + len(l.old); n > 2*limitClients {
		t.Errorf("%d clients remembered", n)
	}
}

func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{Delay: 3 * time.Second})
		b.hear(t, uefi())
		time.Sleep(3*time.Second - time.Millisecond)
		synctest.Wait()
		if b.out.count() != 0 {
			t.Error("answered before its time")
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if b.out.count() != 1 {
			t.Error("not answered")
		}
	})
}

func TestMenuThatDoesNotFitIsLeftOut(t *testing.T) {
	b := newBench(t, Config{Menu: func(boot.Client, boot.Plan) *dhcp4.Menu {
		return &dhcp4.Menu{Items: []dhcp4.MenuItem{{Type: 1, Text: strings.Repeat("x", 300)}}}
	}})
	if e := b.hear(t, uefi()); e.Answer != "OFFER" || e.File == "" {
		t.Errorf("%+v", e)
	}
	b = newBench(t, Config{Menu: func(boot.Client, boot.Plan) *dhcp4.Menu { return pressF8() }})
	b.hear(t, uefi())
	menu := dhcpv4.Options{}
	if err := menu.FromBytes(b.out.packets[0].Options[43]); err != nil {
		t.Fatal(err)
	}
	if got := string(menu[10]); got != "\x05Press F8 to deploy" {
		t.Errorf("prompt %q", got)
	}
	if want := []byte{0x80, 1, 1, 10, 77, 0, 1}; !bytes.Equal(menu[8], want) {
		t.Errorf("boot servers %x, want %x: the disk has none", menu[8], want)
	}
}

// A row of the site decides for one device.
func TestQuirkOfOneDevice(t *testing.T) {
	b := newBench(t, Config{Quirks: []dhcp4.Quirk{{Name: "lab-7", MACs: []string{"52-54-00-00-00-07"}, Style: dhcp4.StyleRedirect}}})
	if e := b.hear(t, uefi(from(7))); e.Quirk != "lab-7" {
		t.Errorf("%+v", e)
	}
	b.hear(t, uefi(from(8)))
	if b.out.packets[0].Options.Has(dhcpv4.OptionVendorSpecificInformation) || !b.out.packets[1].Options.Has(dhcpv4.OptionVendorSpecificInformation) {
		t.Error("option 43 for the one, none for the other: the wrong way round")
	}
}

func TestBadConfig(t *testing.T) {
	pool := []dhcp4.Pool{{From: netip.MustParseAddr("10.77.0.1"), To: netip.MustParseAddr("10.77.0.2")}}
	for name, c := range map[string]Config{
		"unknown mode":         {Mode: "both", Planner: fixedPlan{}},
		"no planner":           {},
		"server without pool":  {Mode: dhcp4.ModeServer, Planner: fixedPlan{}},
		"pool without server":  {Planner: fixedPlan{}, Pools: pool},
		"bad pool":             {Mode: dhcp4.ModeServer, Planner: fixedPlan{}, Pools: []dhcp4.Pool{{}}},
		"long delay":           {Planner: fixedPlan{}, Delay: time.Hour},
		"unknown style":        {Planner: fixedPlan{}, Quirks: []dhcp4.Quirk{{Style: "odd"}}},
		"server shares a port": {Mode: dhcp4.ModeServer, Planner: fixedPlan{}, Pools: pool, Share: true},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	s, err := New(Config{Mode: dhcp4.ModeOff})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(); err != nil {
		t.Error(err)
	}
}

// In server mode a machine that does not netboot gets its address, and one that
// does and has nothing to boot gets its address too.
func TestServerModeServesEverybody(t *testing.T) {
	b := newBench(t, Config{
		Mode: dhcp4.ModeServer, NoProbe: true,
		Pools:   []dhcp4.Pool{{From: netip.MustParseAddr("10.77.0.100"), To: netip.MustParseAddr("10.77.0.110")}},
		Planner: planFunc(func(boot.Client) boot.Plan { return boot.Plan{Reason: "nothing deployed"} }),
	})
	for name, p := range map[string]*dhcpv4.DHCPv4{"plain": packet(1, from(1)), "netboot": uefi(from(2))} {
		e := b.hear(t, p)
		if e.Answer != "OFFER" || !e.Address.IsValid() || e.File != "" {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

func TestSightings(t *testing.T) {
	reply := func(kind dhcpv4.MessageType, yiaddr byte, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
		p := packet(kind, mods...)
		p.OpCode = dhcpv4.OpcodeBootReply
		if yiaddr != 0 {
			p.YourIPAddr = net.IPv4(10, 77, 0, yiaddr)
		}
		return p
	}
	source := netip.MustParseAddr("10.77.0.9")
	for _, c := range []struct {
		name string
		p    *dhcpv4.DHCPv4
		want string
	}{
		{"offer", reply(offer, 50, option(54, 10, 77, 0, 2)), "DHCP server 10.77.0.2;"},
		{"offer without identifier", reply(offer, 50), "DHCP server 10.77.0.9;"},
		{"proxy offer", reply(offer, 0, option(54, 10, 77, 0, 3), vendorClass("PXEClient")), "PXE server 10.77.0.3;"},
		{"both in one", reply(ack, 50, option(54, 10, 77, 0, 4), vendorClass("PXEClient")), "DHCP server 10.77.0.4;PXE server 10.77.0.4;"},
		{"NAK", reply(nak, 0, option(54, 10, 77, 0, 2)), ""},
		{"request", packet(1), ""},
	} {
		got := ""
		b := newBench(t, Config{})
		b.heard("eth0", c.p.ToBytes(), netip.AddrPortFrom(source, dhcp4.PortServer))
		for _, s := range b.Sightings() {
			got += s.What + " " + s.Server.String() + ";"
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	// REQUESTs name the server a client chose, castpoint itself not counted.
	b := newBench(t, Config{})
	for _, server := range []byte{1, 2, 2} {
		b.hear(t, packet(ask, option(54, 10, 77, 0, server), option(50, 10, 77, 0, 50)))
	}
	if seen := b.Sightings(); len(seen) != 1 || seen[0].Server.String() != "10.77.0.2" {
		t.Errorf("seen %v", seen)
	}
}

// What people reported of other servers, each as the symptom they saw, where it
// is a matter of more than one packet. The names in brackets are the reports.
func TestFieldReportsOfSegments(t *testing.T) {
	t.Run("server address guessed instead of taken from the interface [garybowers/bootimus#48]", func(t *testing.T) {
		state := &linkState{networks: []netip.Prefix{
			netip.MustParsePrefix("172.17.0.1/16"), netip.MustParsePrefix("10.77.0.1/24"), netip.MustParsePrefix("10.78.0.1/24"),
		}}
		for _, c := range []struct {
			name         string
			sentTo, near string
			want         string
		}{
			{"sent to one of its addresses", "10.78.0.1", "10.77.0.9", "10.78.0.1"},
			{"broadcast by a client with an address", "255.255.255.255", "10.77.0.9", "10.77.0.1"},
			{"broadcast by a new client", "255.255.255.255", "", "172.17.0.1"},
		} {
			near, _ := netip.ParseAddr(c.near)
			if got := state.own(netip.MustParseAddr(c.sentTo), near); got.Addr().String() != c.want {
				t.Errorf("%s: %s, want %s", c.name, got, c.want)
			}
		}
	})
	t.Run("second DHCP server hands out another address [ventoy/PXE#137]", func(t *testing.T) {
		events := []Sighting{}
		s, err := New(Config{Planner: fixedPlan{}, Sighted: func(one Sighting) { events = append(events, one) }})
		if err != nil {
			t.Fatal(err)
		}
		offer := func(server byte) *dhcpv4.DHCPv4 {
			p := packet(dhcpv4.MessageTypeOffer, option(54, 10, 77, 0, server))
			p.OpCode, p.YourIPAddr = dhcpv4.OpcodeBootReply, net.IPv4(10, 77, 0, 50)
			return p
		}
		for _, server := range []byte{2, 2, 3, 2, 3} {
			s.heard("eth0", offer(server).ToBytes(), netip.AddrPort{})
		}
		if len(events) != 2 || events[1].Server.String() != "10.77.0.3" {
			t.Errorf("sightings %v, want each server once", events)
		}
	})
}
