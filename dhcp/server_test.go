package dhcp

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"castpoint/boot"
	"castpoint/dhcp/dhcp4"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// fixedPlan answers every client alike.
type fixedPlan boot.Plan

func (p fixedPlan) Plan(boot.Client) boot.Plan { return boot.Plan(p) }

// freePort is a UDP port of the loopback interface that nobody holds.
func freePort(t *testing.T) uint16 {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4zero})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}

// serveLoopback runs a server on the loopback interface with ports of its own
// and stops it when the test ends.
func serveLoopback(t *testing.T, c Config) *Server {
	t.Helper()
	c.Interfaces = []string{"lo"}
	c.ports = [2]uint16{freePort(t), freePort(t)}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Serve: %v", err)
			}
		case <-time.After(5 * time.Second):
			t.Error("Serve did not end")
		}
	})
	return s
}

// exchange sends a request over loopback and returns the reply.
func exchange(t *testing.T, port uint16, request *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
	t.Helper()
	c, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(port)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(request.ToBytes()); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 2048)
	n, err := c.Read(b)
	if err != nil {
		t.Fatalf("no reply: %v", err)
	}
	reply, err := dhcpv4.FromBytes(b[:n])
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

func pxeRequest(t *testing.T, kind dhcpv4.MessageType, more ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	t.Helper()
	p, err := dhcpv4.New(append([]dhcpv4.Modifier{
		dhcpv4.WithHwAddr(testMAC(1)),
		dhcpv4.WithMessageType(kind),
		dhcpv4.WithOption(dhcpv4.OptClassIdentifier("PXEClient:Arch:00007:UNDI:003016")),
		dhcpv4.WithGeneric(dhcpv4.OptionClientSystemArchitectureType, []byte{0, 7}),
		dhcpv4.WithGeneric(dhcpv4.GenericOptionCode(97), append([]byte{0}, "0123456789abcdef"...)),
	}, more...)...)
	if err != nil {
		t.Fatal(err)
	}
	p.TransactionID = dhcpv4.TransactionID{1, 2, 3, 4}
	return p
}

func TestServerAnswersOnBootServerPort(t *testing.T) {
	events := make(chan Event, 10)
	s := serveLoopback(t, Config{
		Planner:  fixedPlan{Serve: true, File: "boot/x64/bootmgfw.efi", BCDPath: `\Boot\x.bcd`, Reason: "test"},
		Observer: func(e Event) { events <- e },
	})
	reply := exchange(t, s.config.ports[1], pxeRequest(t, dhcpv4.MessageTypeRequest, dhcpv4.WithClientIP(net.IPv4(127, 0, 0, 1))))
	if got := reply.MessageType(); got != dhcpv4.MessageTypeAck {
		t.Errorf("type %s, want ACK", got)
	}
	if got := reply.BootFileName; got != "boot/x64/bootmgfw.efi" {
		t.Errorf("file in the header %q", got)
	}
	if got := reply.BootFileNameOption(); got != "boot/x64/bootmgfw.efi" {
		t.Errorf("file in option 67 %q", got)
	}
	if !reply.ServerIPAddr.Equal(net.IPv4(127, 0, 0, 1)) {
		t.Errorf("next server %s, want the interface's address", reply.ServerIPAddr)
	}
	select {
	case e := <-events:
		if e.Answer != "ACK" || e.Reason != "test" || e.Port != dhcp4.PortProxy {
			t.Errorf("event %+v", e)
		}
	case <-time.After(5 * time.Second):
		t.Error("no event")
	}
}

// A relayed DISCOVER comes back to the relay, to the port it asked for (RFC
// 8357), with an address of the pool, and the lease is there.
func TestServerGivesAddressThroughRelay(t *testing.T) {
	s := serveLoopback(t, Config{
		Mode:    dhcp4.ModeServer,
		Planner: fixedPlan{Serve: true, File: "x.efi", Reason: "test"},
		Pools: []dhcp4.Pool{{
			From: netip.MustParseAddr("127.0.9.10"), To: netip.MustParseAddr("127.0.9.11"),
			Routers: []netip.Addr{netip.MustParseAddr("127.0.0.1")},
		}},
	})
	relayed := []dhcpv4.Modifier{
		dhcpv4.WithRelay(net.IPv4(127, 0, 0, 1)),
		dhcpv4.WithGeneric(dhcpv4.OptionRelayAgentInformation, []byte{19, 0}),
	}
	offer := exchange(t, s.config.ports[0], pxeRequest(t, dhcpv4.MessageTypeDiscover, relayed...))
	if offer.MessageType() != dhcpv4.MessageTypeOffer || offer.YourIPAddr.String() != "127.0.9.10" || offer.BootFileName != "x.efi" {
		t.Fatalf("offer: %s", offer.Summary())
	}
	ack := exchange(t, s.config.ports[0], pxeRequest(t, dhcpv4.MessageTypeRequest, append(relayed,
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(offer.ServerIdentifier())),
		dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(offer.YourIPAddr)))...))
	if ack.MessageType() != dhcpv4.MessageTypeAck || !ack.YourIPAddr.Equal(offer.YourIPAddr) {
		t.Fatalf("ack: %s", ack.Summary())
	}
	leases := s.Leases().Current(time.Now())
	if len(leases) != 1 || leases[0].Address.String() != "127.0.9.10" || leases[0].MAC != testMAC(1).String() {
		t.Errorf("leases %+v", leases)
	}
}

func TestListenNamesThePortInUse(t *testing.T) {
	taken, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4zero})
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	s, err := New(Config{Interfaces: []string{"lo"}, Planner: fixedPlan{}, ports: [2]uint16{freePort(t), port}})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Listen()
	if err == nil {
		_ = s.Close()
		t.Fatal("no error")
	}
	for _, want := range []string{"interface lo", "another DHCP or PXE server"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
}

// fakeProber knows who answers.
type fakeProber map[string]net.HardwareAddr

func (f fakeProber) Probe(_ context.Context, _ dhcp4.Arrival, a netip.Addr) (net.HardwareAddr, bool, error) {
	mac, used := f[a.String()]
	return mac, used, nil
}

func TestServerProbesBeforeItOffers(t *testing.T) {
	conflicts := make(chan Event, 10)
	s := serveLoopback(t, Config{
		Mode: dhcp4.ModeServer, Planner: fixedPlan{},
		Pools:  []dhcp4.Pool{{From: netip.MustParseAddr("127.0.9.10"), To: netip.MustParseAddr("127.0.9.13")}},
		Prober: fakeProber{"127.0.9.10": testMAC(99), "127.0.9.11": testMAC(98), "127.0.9.12": testMAC(1)},
		Observer: func(e Event) {
			if e.Answer == "" {
				conflicts <- e
			}
		},
	})
	through := []dhcpv4.Modifier{dhcpv4.WithRelay(net.IPv4(127, 0, 0, 1)), dhcpv4.WithGeneric(dhcpv4.OptionRelayAgentInformation, []byte{19, 0})}
	got := exchange(t, s.config.ports[0], packet(dhcpv4.MessageTypeDiscover, through...))
	// .10 and .11 answer; at .12 it is the client itself that does.
	if got.YourIPAddr.String() != "127.0.9.12" {
		t.Errorf("offered %s", got.YourIPAddr)
	}
	for range 2 {
		if e := <-conflicts; !strings.Contains(e.Reason, "answers a probe") {
			t.Errorf("event %+v", e)
		}
	}
}
