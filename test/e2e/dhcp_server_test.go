package e2e

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"castpoint/internal/lab"
	"castpoint/test/point"
)

// first sends a message and returns the first answer that wanted accepts, nil
// when none comes in time.
func (a *asker) first(t *testing.T, m *dhcpv4.DHCPv4, patience time.Duration, wanted func(*dhcpv4.DHCPv4) bool) *dhcpv4.DHCPv4 {
	t.Helper()
	if _, err := a.conn.WriteToUDPAddrPort(m.ToBytes(), netip.MustParseAddrPort("255.255.255.255:67")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 2048)
	for deadline := time.Now().Add(patience); ; {
		if err := a.conn.SetReadDeadline(deadline); err != nil {
			t.Fatal(err)
		}
		n, err := a.conn.Read(buf)
		if err != nil {
			return nil
		}
		if r, err := dhcpv4.FromBytes(buf[:n]); err == nil && r.TransactionID == m.TransactionID && (wanted == nil || wanted(r)) {
			return r
		}
	}
}

// as makes the asker another machine.
func (a *asker) as(last byte) *asker {
	return &asker{conn: a.conn, mac: net.HardwareAddr{0x52, 0x54, 0, 0x99, 0, last}}
}

// lease goes through the whole exchange and returns the ACK.
func (a *asker) lease(t *testing.T, options ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	t.Helper()
	discover := a.message(t, dhcpv4.MessageTypeDiscover, false)
	for _, o := range options {
		o(discover)
	}
	offer := a.first(t, discover, 5*time.Second, nil)
	if offer == nil || offer.MessageType() != dhcpv4.MessageTypeOffer {
		t.Fatalf("%s got no offer: %v", a.mac, offer)
	}
	request := a.message(t, dhcpv4.MessageTypeRequest, false)
	for _, o := range append(options, dhcpv4.WithOption(dhcpv4.OptServerIdentifier(offer.ServerIdentifier())),
		dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(offer.YourIPAddr))) {
		o(request)
	}
	ack := a.first(t, request, 5*time.Second, nil)
	if ack == nil || ack.MessageType() != dhcpv4.MessageTypeAck || !ack.YourIPAddr.Equal(offer.YourIPAddr) {
		t.Fatalf("%s was offered %s and got %v", a.mac, offer.YourIPAddr, ack)
	}
	return ack
}

// about is a message about the address that the client has.
func (a *asker) about(t *testing.T, kind dhcpv4.MessageType, address net.IP, options ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	t.Helper()
	m := a.message(t, kind, false)
	m.ClientIPAddr = address
	for _, o := range options {
		o(m)
	}
	return m
}

// leases is castpoint dhcp leases --json: addresses and whose they are.
func leases(t *testing.T, p *point.Point) map[string]string {
	t.Helper()
	out, err := p.Run(t.Context(), "dhcp", "leases", "--data", p.Data, "--json")
	if err != nil {
		t.Fatal(err)
	}
	var all []struct {
		Address, MAC string
	}
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got := map[string]string{}
	for _, l := range all {
		got[l.Address] = l.MAC
	}
	return got
}

// A whole life of addresses: pool, reservations by MAC, UUID and client
// identifier, renewal, INFORM, release, decline, an address that somebody uses
// without asking, and a kill in the middle.
func TestServerGivesAndTakesAddresses(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 2})
	uuid := "33323130-3534-3736-3839-616263646566" // as SMBIOS spells "0123456789abcdef"
	args := []string{"--dhcp", "server", "--pool", "10.77.0.150-10.77.0.153", "--router", "10.77.0.254", "--dns", "10.77.0.53",
		"--ntp", "10.77.0.54", "--domain", "example.com", "--lease", "2h",
		"--reserve", "52:54:00:99:00:21=10.77.0.201=pc-21", "--reserve", uuid + "=10.77.0.202", "--reserve", "id:00aabb=10.77.0.203"}
	serve(t, p, args...)
	a := newAsker(t, p.Network.Clients[0])

	// Somebody sits on the first address of the pool without asking: the probe
	// finds out and the next one is given.
	sh(t, p.Network.Clients[1], "ip addr add 10.77.0.150/24 dev eth0")
	one := a.as(1)
	ack := one.lease(t)
	if _, err := p.Server.Output.WaitFor(t.Context(), `10\.77\.0\.150 answers a probe`, time.Second); err != nil {
		t.Error(err)
	}
	if got := ack.YourIPAddr.String(); got != "10.77.0.151" {
		t.Errorf("the first lease is %s, want 10.77.0.151: 10.77.0.150 is in use", got)
	}
	if ack.IPAddressLeaseTime(0) != 2*time.Hour || ack.SubnetMask().String() != "ffffff00" || ack.Router()[0].String() != "10.77.0.254" ||
		ack.DNS()[0].String() != "10.77.0.53" || ack.DomainName() != "example.com" || ack.IPAddressRenewalTime(0) != time.Hour {
		t.Errorf("the ACK lacks a setting: %s", ack.Summary())
	}

	// Reservations.
	if got := a.as(0x21).lease(t); got.YourIPAddr.String() != "10.77.0.201" || got.HostName() != "pc-21" {
		t.Errorf("by MAC: %s %q", got.YourIPAddr, got.HostName())
	}
	if got := a.as(0x22).lease(t, dhcpv4.WithGeneric(dhcpv4.OptionClientMachineIdentifier, append([]byte{0}, "0123456789abcdef"...))); got.YourIPAddr.String() != "10.77.0.202" {
		t.Errorf("by UUID: %s", got.YourIPAddr)
	}
	if got := a.as(0x24).lease(t, dhcpv4.WithGeneric(dhcpv4.OptionClientMachineIdentifier, append([]byte{0}, "0123456789abcdef"...))); got.YourIPAddr.String() != "10.77.0.202" {
		t.Errorf("by UUID, with another card: %s", got.YourIPAddr)
	}
	id, _ := hex.DecodeString("00aabb")
	if got := a.as(0x23).lease(t, dhcpv4.WithGeneric(dhcpv4.OptionClientIdentifier, id)); got.YourIPAddr.String() != "10.77.0.203" {
		t.Errorf("by client identifier: %s", got.YourIPAddr)
	} else if back := got.Options.Get(dhcpv4.OptionClientIdentifier); string(back) != string(id) {
		t.Errorf("the identifier came back as %x", back)
	}

	// INFORM: settings, no address.
	if inform := one.first(t, one.about(t, dhcpv4.MessageTypeInform, ack.YourIPAddr), 2*time.Second, nil); inform != nil {
		t.Errorf("the answer to INFORM went to everybody: %s", inform.Summary())
	}
	if _, err := p.Server.Output.WaitFor(t.Context(), `"asked": "INFORM".*"answer": "ACK".*"to": "10\.77\.0\.151:68"`, 5*time.Second); err != nil {
		t.Error(err)
	}

	// Killed, and started again: the lease is known, renewed and given to nobody
	// else.
	p.Server.Kill()
	serve(t, p, args...)
	if got := leases(t, p)["10.77.0.151"]; got != one.mac.String() {
		t.Errorf("after the kill 10.77.0.151 is %q's, want %s's", got, one.mac)
	}
	restart := one.about(t, dhcpv4.MessageTypeRequest, nil, dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(ack.YourIPAddr)))
	if again := one.first(t, restart, 5*time.Second, nil); again == nil || again.MessageType() != dhcpv4.MessageTypeAck || !again.YourIPAddr.Equal(ack.YourIPAddr) {
		t.Errorf("a machine that starts again got %v", again)
	}
	renew := one.about(t, dhcpv4.MessageTypeRequest, ack.YourIPAddr)
	one.first(t, renew, time.Second, nil) // the answer goes to the address itself
	if _, err := p.Server.Output.WaitFor(t.Context(), `"asked": "REQUEST".*"answer": "ACK".*"to": "10\.77\.0\.151:68"`, 5*time.Second); err != nil {
		t.Errorf("renewal: %v", err)
	}
	two := a.as(2)
	if got := two.lease(t).YourIPAddr.String(); got != "10.77.0.152" {
		t.Errorf("the next machine got %s, want 10.77.0.152", got)
	}

	// An address of another network is refused, with a reason.
	lost := two.about(t, dhcpv4.MessageTypeRequest, nil, dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.IPv4(192, 168, 1, 20))))
	if nak := two.first(t, lost, 5*time.Second, nil); nak == nil || nak.MessageType() != dhcpv4.MessageTypeNak || !strings.Contains(nak.Message(), "10.77.0.0/24") {
		t.Errorf("an address of another network: %v", nak)
	}

	// Released, it is free; declined, it rests.
	server := dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IP(lab.ServerAddr.AsSlice())))
	two.first(t, two.about(t, dhcpv4.MessageTypeRelease, net.IPv4(10, 77, 0, 152), server), 300*time.Millisecond, nil)
	one.first(t, one.about(t, dhcpv4.MessageTypeDecline, nil, server, dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(ack.YourIPAddr))), 300*time.Millisecond, nil)
	got := leases(t, p)
	if _, held := got["10.77.0.152"]; held || got["10.77.0.151"] != "" {
		t.Errorf("after release of .152 and decline of .151: %v", got)
	}
	if _, err := p.Server.Output.WaitFor(t.Context(), `client declined 10\.77\.0\.151: another machine answers there`, time.Second); err != nil {
		t.Error(err)
	}
	// Three machines for what is left: .152 and .153.
	given := map[string]bool{}
	for _, last := range []byte{31, 32} {
		given[a.as(last).lease(t).YourIPAddr.String()] = true
	}
	if !given["10.77.0.152"] || !given["10.77.0.153"] {
		t.Errorf("given %v, want what is left of the pool", given)
	}
	// What rests comes back when there is nothing else, and is probed: another machine
	// does answer at both.
	sh(t, p.Network.Clients[1], "ip addr add 10.77.0.151/24 dev eth0")
	none := a.as(0x33)
	if offer := none.first(t, none.message(t, dhcpv4.MessageTypeDiscover, false), 2*time.Second, nil); offer != nil {
		t.Errorf("an empty pool offers %s", offer.YourIPAddr)
	}
	if _, err := p.Server.Output.WaitFor(t.Context(), `52:54:00:99:00:33.*"reason": "address 10\.77\.0\.151 answers a probe`, 5*time.Second); err != nil {
		t.Error(err)
	}
}

// A machine that asks without end is told off once and no longer answered, while
// others are; what is no DHCP is counted.
func TestStorm(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 1})
	serve(t, p)
	a := newAsker(t, p.Network.Clients[0])
	mad := a.as(0xed)
	for range 200 {
		if _, err := mad.conn.WriteToUDPAddrPort(mad.message(t, dhcpv4.MessageTypeDiscover, true).ToBytes(), netip.MustParseAddrPort("255.255.255.255:67")); err != nil {
			t.Fatal(err)
		}
	}
	for range 50 {
		if _, err := a.conn.WriteToUDPAddrPort([]byte(strings.Repeat("\x01", 250)), netip.MustParseAddrPort("255.255.255.255:67")); err != nil {
			t.Fatal(err)
		}
	}
	sane := a.as(0x5a)
	if sane.first(t, sane.message(t, dhcpv4.MessageTypeDiscover, true), 5*time.Second, nil) == nil {
		t.Error("another machine is not answered")
	}
	// The counts of status say when all 251 packets have been dealt with.
	type counts struct {
		Network struct{ Requests, Answered, Malformed, Limited uint64 }
	}
	var got counts
	eventually(t, "251 packets dealt with", func() bool {
		out, err := p.Run(t.Context(), "status", "--data", p.Data, "--json")
		if err = errors.Join(err, json.Unmarshal([]byte(out), &got)); err != nil {
			t.Fatal(err)
		}
		return got.Network.Answered+got.Network.Malformed+got.Network.Limited >= 251
	})
	if n := got.Network; n.Malformed != 50 || n.Answered < 41 || n.Answered > 50 {
		t.Errorf("counted %+v, want 50 malformed, 40 answers for the one and one for the other", n)
	}
	if n := strings.Count(p.Server.Output.String(), "more than 40 requests at once"); n != 1 {
		t.Errorf("the machine is told off %d times, want once", n)
	}
}

// Who is answered: not on other interfaces, not whom the lists leave out, not
// before the delay, and with the menu that was set.
func TestProxySettings(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 1})
	elsewhere := newAsker(t, farHost(t, p.Network.Server, "10.88.0.1/24", ""))
	a := newAsker(t, p.Network.Clients[0])
	discover := func(a *asker, patience time.Duration) (*dhcpv4.DHCPv4, time.Duration) {
		start := time.Now()
		offer := a.first(t, a.message(t, dhcpv4.MessageTypeDiscover, true), patience, nil)
		return offer, time.Since(start)
	}
	stop := func() {
		if code, err := p.Server.Stop(); err != nil || code != 0 {
			t.Errorf("castpoint ended with %d, %v", code, err)
		}
	}

	serve(t, p, "--deny", "52:54:00:99:00:01", "--delay", "2s")
	if offer, took := discover(a, 10*time.Second); offer == nil || took < 2*time.Second {
		t.Errorf("offer %v after %s, want one after the delay of 2 s", offer, took)
	}
	if offer, _ := discover(elsewhere, 3*time.Second); offer != nil {
		t.Errorf("answered on an interface that is not served: %s", offer.Summary())
	}
	if offer, _ := discover(a.as(1), 3*time.Second); offer != nil {
		t.Error("answered a machine that is denied")
	}
	if !strings.Contains(p.Server.Output.String(), "denied by list entry 52:54:00:99:00:01") {
		t.Error("the log does not say why")
	}
	stop()

	serve(t, p, "--interface", "far0", "--allow", "52:54:00:99")
	if offer, _ := discover(elsewhere.as(1), 5*time.Second); offer == nil || offer.ServerIdentifier().String() != "10.88.0.1" || offer.ServerIPAddr.String() != "10.88.0.1" {
		t.Errorf("on the second interface: %v, want an answer from 10.88.0.1", offer)
	}
	if offer, _ := discover(a, 2*time.Second); offer != nil {
		t.Error("answered a machine that is not on the list of allowed ones")
	}
	stop()

	// The menu, as PXE 2.1 has it: sub-options 8, 9 and 10, first the disk.
	serve(t, p, "--menu", "Press F8 to deploy", "--menu-wait", "7s")
	offer, _ := discover(a, 5*time.Second)
	if offer == nil {
		t.Fatal("no offer with a menu")
	}
	vendor := dhcpv4.Options{}
	if err := vendor.FromBytes(offer.Options.Get(dhcpv4.OptionVendorSpecificInformation)); err != nil {
		t.Fatal(err)
	}
	if got := vendor[9]; len(got) < 3 || got[0] != 0 || got[1] != 0 || !strings.Contains(string(got), "Boot from disk") || !strings.Contains(string(got), "castpoint") {
		t.Errorf("menu %q", got)
	}
	if got := vendor[10]; len(got) < 1 || got[0] != 7 || string(got[1:]) != "Press F8 to deploy" {
		t.Errorf("prompt %q", got)
	}
	if got := vendor[8]; len(got) == 0 || !strings.Contains(string(got), string(lab.ServerAddr.AsSlice())) {
		t.Errorf("boot servers %x", got)
	}
	if offer.BootFileName != "" || offer.ClassIdentifier() != "PXEClient" {
		t.Errorf("file %q, class %q: firmware would not show the menu", offer.BootFileName, offer.ClassIdentifier())
	}
	// Its second item is asked for on port 4011.
	request := a.message(t, dhcpv4.MessageTypeRequest, true)
	request.ClientIPAddr = p.Network.Clients[0].Addr.AsSlice()
	request.Flags = 0
	request.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionVendorSpecificInformation, []byte{71, 4, 0x80, 1, 0, 0, 255}))
	acks := a.ask(t, request, lab.ServerAddr.String()+":4011", 2*time.Second)
	if len(acks) != 1 || !strings.Contains(acks[0].BootFileName, ".efi") || !strings.HasPrefix(string(acks[0].Options.Get(dhcpv4.OptionVendorSpecificInformation)), "\x47\x04\x80\x01") {
		t.Errorf("the menu's item was answered by %v", acks)
	}
}
