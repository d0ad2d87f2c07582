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
	p, err := Parse(payload)
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
		c.Planner = planFunc(goldenPlan)
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
	l.state.Store(&linkState{index: 2, networks: []netip.Prefix{netip.PrefixFrom(goldenServer, 24)}})
	b.Server, b.on = s, &listener{link: l, port: PortServer, conn: b.out}
	s.links = []*link{l}
	if c.Mode == ModeServer {
		if err := s.openLeases(); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func (b *bench) hear(t *testing.T, p *dhcpv4.DHCPv4) Event {
	t.Helper()
	a := arrivalOf(p, PortServer)
	b.handle(t.Context(), job{from: b.on, Received: socket.Received{Source: a.Source, SentTo: a.Local}}, p)
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
		return goldenPlan(c)
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
	b := newBench(t, Config{Menu: func(boot.Client, boot.Plan) *Menu {
		return &Menu{Items: []MenuItem{{1, strings.Repeat("x", 300)}}}
	}})
	if e := b.hear(t, uefi()); e.Answer != "OFFER" || e.File == "" {
		t.Errorf("%+v", e)
	}
	b = newBench(t, Config{Menu: func(boot.Client, boot.Plan) *Menu { return pressF12() }})
	b.hear(t, uefi())
	menu := dhcpv4.Options{}
	if err := menu.FromBytes(b.out.packets[0].Options[43]); err != nil {
		t.Fatal(err)
	}
	if got := string(menu[pxeMenuPrompt]); got != "\x05Press F8 to deploy" {
		t.Errorf("prompt %q", got)
	}
	if want := []byte{0x80, 1, 1, 10, 77, 0, 1}; !bytes.Equal(menu[pxeBootServers], want) {
		t.Errorf("boot servers %x, want %x: the disk has none", menu[pxeBootServers], want)
	}
}

// A row of the site decides for one device.
func TestQuirkOfOneDevice(t *testing.T) {
	b := newBench(t, Config{Quirks: []Quirk{{Name: "lab-7", MACs: []string{"52-54-00-00-00-07"}, Style: StyleRedirect}}})
	if e := b.hear(t, uefi(from(7))); e.Quirk != "lab-7" {
		t.Errorf("%+v", e)
	}
	b.hear(t, uefi(from(8)))
	if b.out.packets[0].Options.Has(dhcpv4.OptionVendorSpecificInformation) || !b.out.packets[1].Options.Has(dhcpv4.OptionVendorSpecificInformation) {
		t.Error("option 43 for the one, none for the other: the wrong way round")
	}
}

func TestQuirksHaveEvidence(t *testing.T) {
	names := map[string]bool{}
	for _, q := range Quirks() {
		if q.Evidence == "" || q.Name == "" || names[q.Name] || q.Style.validate() != nil {
			t.Errorf("row %+v", q)
		}
		names[q.Name] = true
	}
	if q := QuirkOf(Quirks(), boot.Client{}); q.Style != StyleComplete || q.Name != "default" {
		t.Errorf("unknown firmware: %+v", q)
	}
}

func TestBadConfig(t *testing.T) {
	pool := []Pool{{From: netip.MustParseAddr("10.77.0.1"), To: netip.MustParseAddr("10.77.0.2")}}
	for name, c := range map[string]Config{
		"unknown mode":         {Mode: "both", Planner: fixedPlan{}},
		"no planner":           {},
		"server without pool":  {Mode: ModeServer, Planner: fixedPlan{}},
		"pool without server":  {Planner: fixedPlan{}, Pools: pool},
		"bad pool":             {Mode: ModeServer, Planner: fixedPlan{}, Pools: []Pool{{}}},
		"long delay":           {Planner: fixedPlan{}, Delay: time.Hour},
		"unknown style":        {Planner: fixedPlan{}, Quirks: []Quirk{{Style: "odd"}}},
		"server shares a port": {Mode: ModeServer, Planner: fixedPlan{}, Pools: pool, Share: true},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	s, err := New(Config{Mode: ModeOff})
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
		Mode: ModeServer, NoProbe: true,
		Pools:   []Pool{{From: netip.MustParseAddr("10.77.0.100"), To: netip.MustParseAddr("10.77.0.110")}},
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
		for _, s := range answerOf(c.p, source, "eth0") {
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

func BenchmarkDiscover(b *testing.B) {
	request := uefi().ToBytes()
	leases, err := NewLeases(LeasesConfig{Pools: []Pool{{Network: goldenNetwork, From: netip.MustParseAddr("10.77.0.100"), To: netip.MustParseAddr("10.77.0.200")}}})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		p, err := Parse(request)
		if err != nil {
			b.Fatal(err)
		}
		a := arrivalOf(p, PortServer)
		c, err := Identify(p, a)
		if err != nil {
			b.Fatal(err)
		}
		t := Terms{Mode: ModeServer, Arrival: a, Client: c, Plan: goldenPlan(c), Grant: leases.Answer(p, c, a, time.Now())}
		reply, _ := Reply(p, t)
		Destination(p, reply, a)
		Encode(reply)
	}
}
