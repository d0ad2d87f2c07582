package e2e

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"castpoint/internal/lab"
)

// udhcpc takes an address with a client that others wrote, and returns it.
func udhcpc(t *testing.T, h *lab.Host, device string, args ...string) netip.Addr {
	t.Helper()
	out := sh(t, h, "busybox udhcpc -i "+device+" -n -q -f -t 5 -T 2 -s /bin/true "+strings.Join(args, " ")+" 2>&1")
	_, rest, ok := strings.Cut(out, "lease of ")
	text, _, ok2 := strings.Cut(rest, " ")
	if !ok || !ok2 {
		t.Fatalf("udhcpc on %s got no lease:\n%s", h.Name, out)
	}
	a, err := netip.ParseAddr(strings.TrimSuffix(text, ","))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// relayNetwork is a network of the server and, behind client 1 as router and
// relay, a host on another subnet, 10.88.0.0/24. The relay asks the servers at
// the given addresses.
func relayNetwork(t *testing.T, n *lab.Network, servers ...string) (far *lab.Host) {
	t.Helper()
	router := n.Clients[0]
	far = farHost(t, router, "10.88.0.1/24", "")
	sh(t, router, "echo 1 >/proc/sys/net/ipv4/ip_forward")
	args := []string{}
	for _, s := range servers {
		args = append(args, "--dhcp-relay=10.88.0.1,"+s)
	}
	dnsmasq(t, n, router, args...)
	sh(t, n.Server, "ip route add 10.88.0.0/24 via "+router.Addr.String())
	return far
}

// Through a relay, on another subnet: the foreign server gives the address,
// castpoint what to boot.
func TestProxyThroughRelay(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 2})
	other := p.Network.Clients[1]
	far := relayNetwork(t, p.Network, lab.ServerAddr.String(), other.Addr.String())
	sh(t, other, "ip route add 10.88.0.0/24 via "+p.Network.Clients[0].Addr.String())
	dnsmasq(t, p.Network, other, "--interface=eth0", "--dhcp-range=10.88.0.100,10.88.0.150,255.255.255.0,1h")
	serve(t, p)

	a := newAsker(t, far)
	var proxy, address int
	for _, offer := range a.ask(t, a.message(t, dhcpv4.MessageTypeDiscover, true), "255.255.255.255:67", 5*time.Second) {
		if !offer.GatewayIPAddr.Equal(net.IPv4(10, 88, 0, 1)) {
			t.Errorf("giaddr %s", offer.GatewayIPAddr)
		}
		if offer.ServerIdentifier().Equal(net.IP(lab.ServerAddr.AsSlice())) {
			proxy++
			if !offer.YourIPAddr.IsUnspecified() {
				t.Errorf("the proxy offers the address %s", offer.YourIPAddr)
			}
			if file := offer.BootFileName + offer.BootFileNameOption(); !strings.Contains(file, ".efi") {
				t.Errorf("boot file %q", file)
			}
		} else {
			address++
		}
	}
	if proxy != 1 || address != 1 {
		t.Errorf("%d offers from castpoint and %d from the other server, want one each", proxy, address)
	}
	for _, answer := range a.ask(t, a.message(t, dhcpv4.MessageTypeDiscover, false), "255.255.255.255:67", 3*time.Second) {
		if answer.ServerIdentifier().Equal(net.IP(lab.ServerAddr.AsSlice())) {
			t.Error("castpoint answered a machine that does not netboot")
		}
	}
}

// Server mode gives addresses of the subnet behind the relay, and of its own.
func TestServerThroughRelay(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 2})
	far := relayNetwork(t, p.Network, lab.ServerAddr.String())
	serve(t, p, "--dhcp", "server", "--pool", "10.77.0.150-10.77.0.159", "--pool", "10.88.0.150-10.88.0.159/24", "--router", "10.88.0.1")
	if a := udhcpc(t, far, "eth0"); !netip.MustParsePrefix("10.88.0.0/24").Contains(a) {
		t.Errorf("behind the relay: %s", a)
	}
	if a := udhcpc(t, p.Network.Clients[1], "eth0"); !netip.MustParsePrefix("10.77.0.0/24").Contains(a) {
		t.Errorf("on the server's own link: %s", a)
	}
}

// Beside a DHCP server on the same host, which keeps port 67.
func TestShareWithServerOnSameHost(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 1})
	startDnsmasq(t, p.Network, p.Network.Server)
	serve(t, p, "--share")
	a := newAsker(t, p.Network.Clients[0])
	var proxy, address int
	for _, offer := range a.ask(t, a.message(t, dhcpv4.MessageTypeDiscover, true), "255.255.255.255:67", 5*time.Second) {
		switch {
		case !offer.YourIPAddr.IsUnspecified():
			address++
		case strings.Contains(offer.BootFileName, ".efi"):
			proxy++
		}
	}
	if proxy != 1 || address != 1 {
		t.Errorf("%d offers from castpoint and %d from dnsmasq, want one each", proxy, address)
	}
	// The address is taken from dnsmasq: castpoint, whose identifier is the same,
	// keeps out of it.
	if got := udhcpc(t, p.Network.Clients[0], "eth0"); !strings.HasPrefix(got.String(), "10.77.0.2") {
		t.Errorf("lease of %s, not from dnsmasq's range", got)
	}
	request := a.message(t, dhcpv4.MessageTypeRequest, true)
	request.UpdateOption(dhcpv4.OptRequestedIPAddress(net.IPv4(10, 77, 0, 210)))
	request.UpdateOption(dhcpv4.OptServerIdentifier(net.IP(lab.ServerAddr.AsSlice())))
	for _, answer := range a.ask(t, request, "255.255.255.255:67", 3*time.Second) {
		if answer.YourIPAddr.IsUnspecified() && answer.MessageType() == dhcpv4.MessageTypeAck {
			t.Error("castpoint confirmed an address that dnsmasq gives")
		}
	}
}
