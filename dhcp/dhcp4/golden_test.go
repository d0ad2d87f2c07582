package dhcp4

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"castpoint/boot"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"
)

var update = flag.Bool("update", false, "write the golden replies")

// recorded reads a request from testdata/requests: hexadecimal, with comment
// lines that say where it comes from.
func recorded(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "requests", name+".hex"))
	if err != nil {
		t.Fatal(err)
	}
	var digits strings.Builder
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			digits.WriteString(strings.TrimSpace(line))
		}
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return b
}

func parsed(t testing.TB, b []byte) *dhcpv4.DHCPv4 {
	t.Helper()
	p, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The network of the golden packets.
var (
	goldenServer  = netip.MustParseAddr("10.77.0.1")
	goldenNetwork = netip.MustParsePrefix("10.77.0.0/24")
	goldenRelay   = net.IPv4(10, 88, 0, 1)
)

// arrivalOf is how a request came: straight from its client, or from its relay.
func arrivalOf(p *dhcpv4.DHCPv4, port uint16) Arrival {
	a := Arrival{
		Interface: "eth0", Index: 2, Server: goldenServer, Network: goldenNetwork, Port: port,
		Source: netip.MustParseAddrPort("0.0.0.0:68"), Local: limitedBroadcast,
	}
	if c := Addr(p.ClientIPAddr); c.IsValid() {
		a.Source, a.Local = netip.AddrPortFrom(c, PortClient), goldenServer
		if port == PortProxy {
			a.Source = netip.AddrPortFrom(c, PortProxy) // as EDK2 does
		}
	}
	if r := Addr(p.GatewayIPAddr); r.IsValid() {
		a.Source, a.Local = netip.AddrPortFrom(r, PortServer), goldenServer
	}
	return a
}

// goldenPlan is what the tests' planner says: by kind of client, as boot's does.
func goldenPlan(c boot.Client) boot.Plan {
	p := boot.Plan{Serve: true, NextServer: c.Server, Reason: "known machine"}
	switch {
	case c.IPXE:
		p.File = "http://10.77.0.1:8080/boot/x.ipxe"
	case c.HTTPBoot:
		p.File, p.HTTPClient = "http://10.77.0.1:8080/x64/bootmgfw.efi", true
	case c.HasArch && c.Arch == boot.ArchEFIARM64:
		p.File, p.BCDPath = "arm64/bootmgfw.efi", `\Boot\525400000001.bcd`
	case c.HasArch && c.Arch == boot.ArchRaspberryPi:
		p.File = "rpi/RPI_EFI.fd"
	case c.HasArch && c.Arch != boot.ArchBIOS:
		p.File, p.BCDPath = "x64/bootmgfw.efi", `\Boot\525400000001.bcd`
	default:
		p.File = "bios/pxeboot.n12"
	}
	return p
}

func goldenGrant() Grant {
	return Grant{
		Verdict: dhcpv4.MessageTypeOffer, Address: netip.MustParseAddr("10.77.0.100"), Network: goldenNetwork,
		Routers: []netip.Addr{netip.MustParseAddr("10.77.0.254")},
		DNS:     []netip.Addr{netip.MustParseAddr("10.77.0.53"), netip.MustParseAddr("10.77.0.54")},
		Domain:  "example.com", Lease: time.Hour,
	}
}

// pressF12 is the menu of an available deployment.
func pressF12() *Menu {
	return &Menu{Prompt: "Press F8 to deploy", Timeout: 5 * time.Second, Items: []MenuItem{
		{LocalBoot, "Boot from disk"}, {0x8001, "Deploy"},
	}}
}

func testMAC(n byte) net.HardwareAddr { return net.HardwareAddr{0x52, 0x54, 0, 0, 0, n} }

// packet builds a request that nobody recorded.
func packet(kind dhcpv4.MessageType, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	p := &dhcpv4.DHCPv4{
		OpCode: dhcpv4.OpcodeBootRequest, HWType: 1, TransactionID: dhcpv4.TransactionID{0, 0, 0, 1},
		ClientHWAddr: testMAC(1), Options: dhcpv4.Options{},
	}
	if kind != dhcpv4.MessageTypeNone {
		p.UpdateOption(dhcpv4.OptMessageType(kind))
	}
	for _, m := range mods {
		m(p)
	}
	return p
}

func option(code uint8, value ...byte) dhcpv4.Modifier {
	return dhcpv4.WithGeneric(dhcpv4.GenericOptionCode(code), value)
}

func vendorClass(s string) dhcpv4.Modifier { return option(60, []byte(s)...) }

func uuidOption() dhcpv4.Modifier {
	b, _ := hex.DecodeString("00102f1c6a4b8e0d4f9a570123456789ab")
	return option(97, b...)
}

func broadcastFlag(p *dhcpv4.DHCPv4) { p.SetBroadcast() }

func relayed(p *dhcpv4.DHCPv4) {
	p.GatewayIPAddr = goldenRelay
	p.HopCount = 1
	option(82, 1, 4, 'e', 't', 'h', '7', 2, 3, 1, 2, 3)(p)
}

type goldenCase struct {
	name    string
	file    string         // of testdata/requests; or
	request *dhcpv4.DHCPv4 // one built here
	port    uint16         // 0 is PortServer
	change  func(*Terms)
}

func inServerMode(t *Terms) { t.Mode, t.Grant = ModeServer, goldenGrant() }

func acknowledged(t *Terms) {
	inServerMode(t)
	t.Grant.Verdict = dhcpv4.MessageTypeAck
}

func withStyle(s Style) func(*Terms) { return func(t *Terms) { t.Style = s } }

func goldenCases() []goldenCase {
	discover, request, inform := dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeRequest, dhcpv4.MessageTypeInform
	raspberry := func(p *dhcpv4.DHCPv4) { p.ClientHWAddr = net.HardwareAddr{0xdc, 0xa6, 0x32, 0, 0, 1} }
	return []goldenCase{
		{name: "ovmf-pxe-discover", file: "ovmf-pxe-discover"},
		{name: "ovmf-pxe-discover-redirect", file: "ovmf-pxe-discover", change: withStyle(StyleRedirect)},
		{name: "ovmf-pxe-discover-two-services", file: "ovmf-pxe-discover", change: withStyle(StyleMenu)},
		{name: "ovmf-pxe-discover-press-f12", file: "ovmf-pxe-discover", change: func(t *Terms) { t.Menu = pressF12() }},
		{name: "ovmf-pxe-discover-server", file: "ovmf-pxe-discover", change: inServerMode},
		{name: "ovmf-pxe-discover-server-press-f12", file: "ovmf-pxe-discover", change: func(t *Terms) {
			inServerMode(t)
			t.Menu = pressF12()
		}},
		{name: "ovmf-pxe-request", file: "ovmf-pxe-request"},
		{name: "ovmf-pxe-request-server", file: "ovmf-pxe-request", change: acknowledged},
		{name: "ipxe-uefi-request-server", file: "ipxe-uefi-request", change: acknowledged},
		{name: "ipxe-bios-discover-server", file: "ipxe-bios-discover", change: inServerMode},
		{name: "relayed-http-discover", request: packet(discover, relayed, broadcastFlag, vendorClass("HTTPClient:Arch:00016:UNDI:003001"), option(93, 0, 16), uuidOption())},
		{name: "relayed-request-server", request: packet(request, relayed, option(50, 10, 77, 0, 100), option(54, 10, 77, 0, 1),
			vendorClass("PXEClient:Arch:00007:UNDI:003016"), option(93, 0, 7), uuidOption()), change: acknowledged},
		{name: "ovmf-pxe-4011", file: "ovmf-pxe-4011", port: PortProxy},
		{name: "ovmf-pxe-4011-item", file: "ovmf-pxe-4011-item", port: PortProxy},
		{name: "ovmf-pxe-4011-server", file: "ovmf-pxe-4011", port: PortProxy, change: inServerMode},
		{name: "ovmf-http-discover", file: "ovmf-http-discover"},
		{name: "ovmf-http-discover-server", file: "ovmf-http-discover", change: inServerMode},
		{name: "ipxe-uefi-discover", file: "ipxe-uefi-discover"},
		{name: "ipxe-uefi-discover-server", file: "ipxe-uefi-discover", change: inServerMode},
		{name: "ipxe-uefi-request", file: "ipxe-uefi-request"},
		{name: "ipxe-bios-discover", file: "ipxe-bios-discover"},
		{name: "ipxe-bios-discover-press-f12", file: "ipxe-bios-discover", change: func(t *Terms) { t.Menu = pressF12() }},
		{name: "bios-discover", request: packet(discover, broadcastFlag, vendorClass("PXEClient:Arch:00000:UNDI:002001"),
			option(93, 0, 0), option(94, 1, 2, 1), uuidOption(), option(55, 1, 2, 3, 5, 6, 11, 12, 13, 15, 16, 17, 18, 43, 54, 60, 67, 128, 129, 130, 131, 132, 133, 134, 135))},
		{name: "efi-bc-discover", request: packet(discover, broadcastFlag, vendorClass("PXEClient:Arch:00009:UNDI:003016"), option(93, 0, 9), uuidOption())},
		{name: "arm64-discover", request: packet(discover, broadcastFlag, vendorClass("PXEClient:Arch:00011:UNDI:003000"), option(93, 0, 11), uuidOption())},
		{name: "arm64-http-discover", request: packet(discover, broadcastFlag, vendorClass("HTTPClient:Arch:00019:UNDI:003000"), option(93, 0, 19), uuidOption())},
		{name: "raspberry-pi-discover", request: packet(discover, raspberry, vendorClass("PXEClient:Arch:00000:UNDI:002001"),
			option(93, 0, 0), option(94, 1, 2, 1), option(55, 1, 3, 43, 60, 66, 67, 128, 129, 130, 131, 132, 133, 134, 135))},
		{name: "no-uuid-discover", request: packet(discover, vendorClass("PXEClient:Arch:00007:UNDI:003016"), option(93, 0, 7))},
		{name: "odd-uuid-discover", request: packet(discover, vendorClass("PXEClient:Arch:00007:UNDI:003016"), option(93, 0, 7), option(97, 0, 1, 2, 3))},
		{name: "relayed-discover", request: packet(discover, relayed, broadcastFlag, vendorClass("PXEClient:Arch:00007:UNDI:003016"), option(93, 0, 7), uuidOption())},
		{name: "relayed-discover-server", request: packet(discover, relayed, vendorClass("PXEClient:Arch:00007:UNDI:003016"), option(93, 0, 7), uuidOption()), change: inServerMode},
		{name: "bootmgfw-4011", port: PortProxy, request: packet(request, dhcpv4.WithClientIP(net.IPv4(10, 77, 0, 53)),
			vendorClass("PXEClient"), option(93, 0, 7), uuidOption(), option(55, 1, 3, 60, 128, 129, 130, 131, 132, 133, 134, 135),
			option(250, 0x0c, 1, 1, 0x0d, 2, 8, 0, 1, 2, 0, 7, 0x0e, 1, 1, 5, 4, 0, 0, 0, 0x11, 0xff))},
		{name: "grub-wants-option-150", request: packet(discover, vendorClass("PXEClient:Arch:00007:UNDI:003016"), option(93, 0, 7), option(55, 1, 3, 66, 67, 150))},
		{name: "inform", request: packet(inform, dhcpv4.WithClientIP(net.IPv4(10, 77, 0, 53)), vendorClass("PXEClient:Arch:00007:UNDI:003016"), option(93, 0, 7))},
		{name: "windows-discover", request: packet(discover, vendorClass("MSFT 5.0"), option(61, 1, 0x52, 0x54, 0, 0, 0, 1))},
		{name: "windows-discover-server", request: packet(discover, vendorClass("MSFT 5.0"), option(61, 1, 0x52, 0x54, 0, 0, 0, 1),
			option(55, 1, 15, 3, 6, 44, 46, 47, 31, 33, 121, 249, 252, 43)), change: inServerMode},
		{name: "wrong-network-server", request: packet(request, option(50, 192, 168, 1, 20)), change: func(t *Terms) {
			t.Mode = ModeServer
			t.Grant = Grant{Verdict: dhcpv4.MessageTypeNak, Reason: "192.168.1.20 is not in network 10.77.0.0/24"}
		}},
		{name: "wrong-network-relayed-server", request: packet(request, relayed, option(50, 192, 168, 1, 20)), change: func(t *Terms) {
			t.Mode = ModeServer
			t.Grant = Grant{Verdict: dhcpv4.MessageTypeNak, Reason: "192.168.1.20 is not in network 10.88.0.0/24"}
		}},
		{name: "bootp", request: packet(dhcpv4.MessageTypeNone)},
		{name: "refused-by-plan", request: packet(discover, vendorClass("PXEClient:Arch:00011:UNDI:003016"), option(93, 0, 11)), change: func(t *Terms) {
			t.Plan = boot.Plan{Reason: "no boot image for UEFI ARM64 (11)"}
		}},
	}
}

func (c goldenCase) bytes(t testing.TB) []byte {
	if c.file != "" {
		return recorded(t, c.file)
	}
	return c.request.ToBytes()
}

// answerTo runs the pure part of the server on one packet.
func answerTo(t testing.TB, b []byte, port uint16, change func(*Terms)) (*dhcpv4.DHCPv4, Terms, *dhcpv4.DHCPv4, string) {
	t.Helper()
	if port == 0 {
		port = PortServer
	}
	request := parsed(t, b)
	a := arrivalOf(request, port)
	client, err := Identify(request, a)
	if err != nil {
		t.Fatal(err)
	}
	quirk := QuirkOf(Quirks(), client)
	if quirk.As != nil {
		client.Arch, client.HasArch = *quirk.As, true
	}
	terms := Terms{Mode: ModeProxy, Arrival: a, Client: client, Style: quirk.Style, Plan: goldenPlan(client)}
	if change != nil {
		change(&terms)
	}
	reply, reason := Reply(request, terms)
	return request, terms, reply, reason
}

func TestGoldenReplies(t *testing.T) {
	for _, c := range goldenCases() {
		t.Run(c.name, func(t *testing.T) {
			request, terms, reply, reason := answerTo(t, c.bytes(t), c.port, c.change)
			var got bytes.Buffer
			fmt.Fprintf(&got, "asked: %s on port %d by %s\n", request.MessageType(), terms.Arrival.Port, terms.Client)
			if reply == nil {
				fmt.Fprintf(&got, "silent: %s\n", reason)
			} else {
				route := Destination(request, reply, terms.Arrival)
				fmt.Fprintf(&got, "to: %s", route.To)
				if route.Hardware != nil {
					fmt.Fprintf(&got, " at %s", route.Hardware)
				}
				got.WriteString("\n")
				render(t, &got, Encode(reply))
			}
			path := filepath.Join("testdata", "replies", c.name+".golden")
			if *update {
				if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatalf("%v; run go test -update", err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("reply differs from %s (-want +got):\n%s", path, diff)
			}
		})
	}
}

// render spells a packet byte by byte without the code under test: options in
// the order of the wire.
func render(t *testing.T, w *bytes.Buffer, b []byte) {
	t.Helper()
	ip := func(off int) net.IP { return net.IP(b[off : off+4]) }
	fmt.Fprintf(w, "op %d htype %d hlen %d hops %d xid %x secs %d flags %x\n", b[0], b[1], b[2], b[3], b[4:8], int(b[8])<<8|int(b[9]), b[10:12])
	fmt.Fprintf(w, "ciaddr %s yiaddr %s siaddr %s giaddr %s\n", ip(12), ip(16), ip(20), ip(24))
	fmt.Fprintf(w, "chaddr %s\n", net.HardwareAddr(b[28:28+b[2]]))
	fmt.Fprintf(w, "sname %q\nfile %q\n", bytes.TrimRight(b[44:108], "\x00"), bytes.TrimRight(b[108:236], "\x00"))
	if b[44+63] != 0 || b[108+127] != 0 {
		t.Error("a header string is not terminated")
	}
	if !bytes.Equal(b[236:240], []byte{99, 130, 83, 99}) {
		t.Errorf("magic cookie %x", b[236:240])
	}
	if len(b) < 300 {
		t.Errorf("%d bytes, less than BOOTP's 300", len(b))
	}
	for rest := b[240:]; ; {
		if len(rest) == 0 {
			t.Fatal("no end option")
		}
		switch rest[0] {
		case 0:
			fmt.Fprintln(w, "pad")
			rest = rest[1:]
			continue
		case 255:
			fmt.Fprintln(w, "end")
			if tail := bytes.Trim(rest[1:], "\x00"); len(tail) > 0 {
				t.Errorf("%x behind the end option", tail)
			}
			return
		}
		value := rest[2 : 2+int(rest[1])]
		fmt.Fprintf(w, "%3d %-24s %x", rest[0], optionName(rest[0]), value)
		if text := strings.Trim(string(value), "\x00"); len(text) > 3 && strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) < 0 {
			fmt.Fprintf(w, " %q", value)
		}
		w.WriteString("\n")
		rest = rest[2+int(rest[1]):]
	}
}

func optionName(code uint8) string {
	return map[uint8]string{
		1: "subnet mask", 3: "router", 6: "dns", 12: "host name", 15: "domain name", 28: "broadcast", 43: "vendor",
		51: "lease time", 53: "message type", 54: "server identifier", 56: "message", 58: "renewal", 59: "rebinding",
		60: "vendor class", 61: "client identifier", 66: "tftp server", 67: "boot file", 82: "relay agent", 97: "uuid",
		150: "tftp servers", 175: "ipxe", 252: "bcd path",
	}[code]
}
