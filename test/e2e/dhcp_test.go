package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"

	"castpoint/internal/lab"
)

// asker is a socket of firmware that has no address yet.
type asker struct {
	conn *net.UDPConn
	mac  net.HardwareAddr
}

func newAsker(t *testing.T, h *lab.Host) *asker {
	t.Helper()
	a := &asker{mac: net.HardwareAddr{0x52, 0x54, 0, 0x12, 0x34, 0x56}}
	err := h.Do(func() error {
		config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
			var err error
			// The limited broadcast has no route: it leaves by the cable named.
			return errors.Join(raw.Control(func(fd uintptr) {
				err = errors.Join(syscall.BindToDevice(int(fd), "eth0"),
					syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_BROADCAST, 1))
			}), err)
		}}
		conn, err := config.ListenPacket(context.Background(), "udp4", ":68")
		if err == nil {
			a.conn = conn.(*net.UDPConn)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.conn.Close() })
	return a
}

// message is a DHCP message as UEFI x64 firmware sends it, or as an operating
// system does.
func (a *asker) message(t *testing.T, kind dhcpv4.MessageType, pxe bool) *dhcpv4.DHCPv4 {
	t.Helper()
	modifiers := []dhcpv4.Modifier{dhcpv4.WithMessageType(kind), dhcpv4.WithHwAddr(a.mac), dhcpv4.WithBroadcast(true)}
	if pxe {
		modifiers = append(modifiers,
			dhcpv4.WithOption(dhcpv4.OptClientArch(iana.EFI_X86_64)),
			dhcpv4.WithOption(dhcpv4.OptClassIdentifier("PXEClient:Arch:00007:UNDI:003016")),
			dhcpv4.WithOption(dhcpv4.OptGeneric(dhcpv4.OptionClientNetworkInterfaceIdentifier, []byte{1, 3, 16})),
			dhcpv4.WithOption(dhcpv4.OptGeneric(dhcpv4.OptionClientMachineIdentifier, append([]byte{0}, []byte("0123456789abcdef")...))),
			dhcpv4.WithRequestedOptions(dhcpv4.OptionTFTPServerName, dhcpv4.OptionBootfileName, dhcpv4.OptionVendorSpecificInformation))
	}
	m, err := dhcpv4.New(modifiers...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// ask sends a message and collects every answer that comes within the time.
func (a *asker) ask(t *testing.T, m *dhcpv4.DHCPv4, to string, patience time.Duration) []*dhcpv4.DHCPv4 {
	t.Helper()
	if _, err := a.conn.WriteToUDPAddrPort(m.ToBytes(), netip.MustParseAddrPort(to)); err != nil {
		t.Fatal(err)
	}
	if err := a.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	var answers []*dhcpv4.DHCPv4
	buf := make([]byte, 2048)
	for {
		n, err := a.conn.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return answers
		}
		if err != nil {
			t.Fatal(err)
		}
		r, err := dhcpv4.FromBytes(buf[:n])
		if err != nil {
			t.Fatalf("answer does not parse: %v", err)
		}
		if r.TransactionID == m.TransactionID {
			answers = append(answers, r)
		}
	}
}

// startDnsmasq runs another DHCP server, which knows nothing of booting.
func startDnsmasq(t *testing.T, n *lab.Network, h *lab.Host, args ...string) *lab.Process {
	t.Helper()
	p, err := h.Start(lab.Command{Args: append([]string{"dnsmasq", "--keep-in-foreground", "--log-facility=-", "--log-dhcp",
		"--conf-file=/dev/null", "--pid-file=", "--port=0", "--interface=eth0", "--user=root",
		"--dhcp-range=10.77.0.200,10.77.0.240,1h", "--dhcp-leasefile=" + filepath.Join(n.Dir, "dnsmasq.leases")}, args...)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := p.WaitUDP(ctx, 67); err != nil {
		t.Fatal(err)
	}
	return p
}

// Beside another DHCP server castpoint adds what to boot and nothing else, and
// only for machines that netboot.
func TestProxyBesideAnotherServer(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 2})
	startDnsmasq(t, p.Network, p.Network.Clients[0])
	serve(t, p)
	a := newAsker(t, p.Network.Clients[1])

	var proxy, address int
	for _, offer := range a.ask(t, a.message(t, dhcpv4.MessageTypeDiscover, true), "255.255.255.255:67", 5*time.Second) {
		if offer.MessageType() != dhcpv4.MessageTypeOffer {
			t.Errorf("answer of type %s", offer.MessageType())
		}
		if offer.ServerIdentifier().Equal(net.IP(lab.ServerAddr.AsSlice())) {
			proxy++
			if !offer.YourIPAddr.IsUnspecified() {
				t.Errorf("the proxy offers the address %s", offer.YourIPAddr)
			}
			if offer.ClassIdentifier() != "PXEClient" {
				t.Errorf("the proxy's class is %q", offer.ClassIdentifier())
			}
			for _, option := range []dhcpv4.OptionCode{dhcpv4.OptionSubnetMask, dhcpv4.OptionRouter, dhcpv4.OptionDomainNameServer, dhcpv4.OptionIPAddressLeaseTime} {
				if offer.Options.Has(option) {
					t.Errorf("the proxy sends %s, which is not its business", option)
				}
			}
		} else {
			address++
			if offer.YourIPAddr.IsUnspecified() {
				t.Error("the other server offers no address")
			}
		}
	}
	if proxy != 1 || address != 1 {
		t.Errorf("%d offers from castpoint and %d from the other server, want one each", proxy, address)
	}

	for _, answer := range a.ask(t, a.message(t, dhcpv4.MessageTypeDiscover, false), "255.255.255.255:67", 5*time.Second) {
		if answer.ServerIdentifier().Equal(net.IP(lab.ServerAddr.AsSlice())) {
			t.Error("castpoint answered a machine that does not netboot")
		}
	}

	// Port 4011 (boot service): the same answer for a machine that has its
	// address already.
	request := a.message(t, dhcpv4.MessageTypeRequest, true)
	request.ClientIPAddr = p.Network.Clients[1].Addr.AsSlice()
	request.Flags = 0
	acks := a.ask(t, request, lab.ServerAddr.String()+":4011", 3*time.Second)
	if len(acks) != 1 || acks[0].MessageType() != dhcpv4.MessageTypeAck {
		t.Fatalf("%d answers on port 4011, want one ACK: %v", len(acks), acks)
	}
	if file := acks[0].BootFileName + acks[0].BootFileNameOption(); !strings.Contains(file, ".efi") {
		t.Errorf("boot file %q, want one for UEFI", file)
	}
}

// With a pool castpoint gives addresses to everybody, as a DHCP client that
// others wrote finds.
func TestServerHandsOutPool(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 2})
	serve(t, p, "--dhcp", "server", "--pool", "10.77.0.150-10.77.0.151")
	seen := map[string]bool{}
	for _, h := range p.Network.Clients {
		out, code, err := h.Run(t.Context(), "busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "5", "-T", "2", "-s", "/bin/true")
		if err != nil || code != 0 {
			t.Fatalf("udhcpc on %s: code %d, %v:\n%s", h.Name, code, err, out)
		}
		for _, addr := range []string{"10.77.0.150", "10.77.0.151"} {
			if strings.Contains(out, fmt.Sprintf("lease of %s obtained", addr)) {
				seen[addr] = true
			}
		}
	}
	if len(seen) != 2 {
		t.Errorf("two clients got %v, want two addresses of the pool", seen)
	}
}

// Off means off.
func TestDHCPOff(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 1})
	serve(t, p, "--dhcp", "off")
	if bound := sockets(t, p.Network.Server); strings.Contains(bound, ":67 ") || strings.Contains(bound, ":4011 ") {
		t.Errorf("DHCP ports are bound:\n%s", bound)
	}
	a := newAsker(t, p.Network.Clients[0])
	if answers := a.ask(t, a.message(t, dhcpv4.MessageTypeDiscover, true), "255.255.255.255:67", 2*time.Second); len(answers) > 0 {
		t.Errorf("%d answers", len(answers))
	}
}
