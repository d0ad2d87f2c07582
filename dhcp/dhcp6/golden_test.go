package dhcp6

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"castpoint/boot"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
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

// The network of the tests.
var (
	testServer = netip.MustParseAddr("fd77::1")
	testClient = netip.MustParseAddrPort("[fe80::5054:ff:fe77:106]:546")
	testID     = &dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: net.HardwareAddr{2, 0x77, 0, 0, 0, 1}}
	otherID    = &dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: net.HardwareAddr{2, 0x77, 0, 0, 0, 2}}
	windowsID  = &dhcpv6.DUIDLLT{HWType: iana.HWTypeEthernet, Time: 1, LinkLayerAddr: net.HardwareAddr{0x52, 0x54, 0, 0, 0, 9}}
)

func testPool() Pool {
	return Pool{
		Network: netip.MustParsePrefix("fd77::/64"), From: netip.MustParseAddr("fd77::1000"), To: netip.MustParseAddr("fd77::1fff"),
		DNS: []netip.Addr{netip.MustParseAddr("fd77::53")}, Domains: []string{"example.com"},
	}
}

func farPool() Pool {
	return Pool{Network: netip.MustParsePrefix("fd88::/64"), From: netip.MustParseAddr("fd88::1000"), To: netip.MustParseAddr("fd88::1fff")}
}

func arrival(port uint16, source netip.AddrPort) Arrival {
	return Arrival{
		Interface: "eth0", Server: testServer, Networks: []netip.Prefix{netip.MustParsePrefix("fd77::/64")},
		Port: port, Source: source, ServerID: testID,
	}
}

// plan is what the tests' planner says, as boot's does.
func plan(c boot.Client) boot.Plan {
	p := boot.Plan{Serve: true, NextServer: c.Server, Reason: "known machine"}
	switch {
	case c.IPXE:
		p.File = "http://[fd77::1]:8080/boot/x.ipxe"
	case c.HTTPBoot:
		p.File, p.HTTPClient = "http://[fd77::1]:8080/x64/bootmgfw.efi", true
	default:
		p.File = `x64\bootmgfw.efi`
	}
	return p
}

func message(kind dhcpv6.MessageType, options ...dhcpv6.Option) *dhcpv6.Message {
	m := &dhcpv6.Message{MessageType: kind, TransactionID: dhcpv6.TransactionID{1, 2, 3}}
	for _, o := range options {
		m.AddOption(o)
	}
	return m
}

func ia(addrs ...string) *dhcpv6.OptIANA {
	o := &dhcpv6.OptIANA{IaId: [4]byte{0, 0, 0, 1}}
	for _, a := range addrs {
		o.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: net.ParseIP(a)})
	}
	return o
}

func class(text string) dhcpv6.Option {
	return &dhcpv6.OptVendorClass{EnterpriseNumber: 343, Data: [][]byte{[]byte(text)}}
}

func user(text string) dhcpv6.Option {
	return &dhcpv6.OptUserClass{UserClasses: [][]byte{[]byte(text)}}
}

// relayed puts two relays around a message: the inner one knows the interface
// and the MAC, the outer one the source port.
func relayed(m dhcpv6.DHCPv6) []byte {
	inner := &dhcpv6.RelayMessage{
		MessageType: dhcpv6.MessageTypeRelayForward, LinkAddr: net.IPv6zero, PeerAddr: net.ParseIP("fe80::1234"),
	}
	inner.AddOption(dhcpv6.OptInterfaceID([]byte("port7")))
	inner.AddOption(dhcpv6.OptClientLinkLayerAddress(iana.HWTypeEthernet, net.HardwareAddr{0x52, 0x54, 0, 0, 0, 7}))
	inner.AddOption(dhcpv6.OptRelayMessage(m))
	outer := &dhcpv6.RelayMessage{
		MessageType: dhcpv6.MessageTypeRelayForward, HopCount: 1, LinkAddr: net.ParseIP("fd88::fe"), PeerAddr: net.ParseIP("fe80::99"),
	}
	outer.AddOption(dhcpv6.OptRelayPort(0))
	outer.AddOption(dhcpv6.OptRelayMessage(inner))
	return outer.ToBytes()
}

type goldenCase struct {
	name   string
	bytes  func(testing.TB) []byte
	port   uint16 // 0 is PortServer
	gives  bool   // castpoint gives addresses
	params []string
	plan   *boot.Plan
}

func file(name string) func(testing.TB) []byte {
	return func(t testing.TB) []byte { return recorded(t, name) }
}

func built(p dhcpv6.DHCPv6) func(testing.TB) []byte {
	return func(testing.TB) []byte { return p.ToBytes() }
}

func goldenCases() []goldenCase {
	client := dhcpv6.OptClientID(windowsID)
	arch := dhcpv6.OptClientArchType(iana.Arch(11))
	oro := dhcpv6.OptRequestedOption(dhcpv6.OptionBootfileURL, dhcpv6.OptionBootfileParam, dhcpv6.OptionDNSRecursiveNameServer, dhcpv6.OptionDomainSearchList)
	// As EDK2's HttpBootDhcp6.c writes it.
	http := message(dhcpv6.MessageTypeSolicit, client, ia(), oro, dhcpv6.OptClientArchType(iana.Arch(16)), class("HTTPClient:Arch:00016:UNDI:003000"))
	return []goldenCase{
		{name: "ovmf-pxe-solicit", bytes: file("ovmf-pxe-solicit")},
		{name: "ovmf-pxe-solicit-server", bytes: file("ovmf-pxe-solicit"), gives: true},
		{name: "ovmf-pxe-request-server", bytes: file("ovmf-pxe-request"), gives: true},
		{name: "ovmf-pxe-release-server", bytes: file("ovmf-pxe-release"), gives: true},
		{name: "ovmf-pxe-release", bytes: file("ovmf-pxe-release")},
		{name: "ovmf-pxe-4011", bytes: file("ovmf-pxe-4011"), port: PortProxy},
		{name: "ovmf-pxe-request-other-server", bytes: file("ovmf-pxe-request-other")},
		{name: "http-solicit", bytes: built(http)},
		{name: "http-solicit-server", bytes: built(http), gives: true},
		{name: "ipxe-information-request", params: []string{"a", "b c"}, bytes: built(message(dhcpv6.MessageTypeInformationRequest, client, user("iPXE"),
			dhcpv6.OptClientArchType(iana.EFI_X86_64), class("PXEClient:Arch:00007:UNDI:003010"), oro))},
		{name: "ipxe-solicit", bytes: file("ipxe-solicit")},
		{name: "ipxe-solicit-server", gives: true, bytes: file("ipxe-solicit")},
		{name: "arm64-pxe-no-file", bytes: built(message(dhcpv6.MessageTypeSolicit, client, ia(), arch, class("PXEClient:Arch:00011:UNDI:003000"))),
			plan: &boot.Plan{Reason: "no boot image for UEFI ARM64 (11)"}},
		{name: "ovmf-pxe-solicit-asked-for-a-key", bytes: file("ovmf-pxe-solicit"), plan: &boot.Plan{Serve: true, File: "x64/bootmgfw.efi", Ask: true}},
		{name: "ovmf-pxe-solicit-asked-for-a-key-server", gives: true, bytes: file("ovmf-pxe-solicit"), plan: &boot.Plan{Serve: true, File: "x64/bootmgfw.efi", Ask: true}},
		{name: "ovmf-pxe-solicit-local", bytes: file("ovmf-pxe-solicit"), plan: &boot.Plan{Serve: true, Local: true, Reason: "It boots from its own disk: nothing to do."}},
		{name: "windows-solicit", bytes: built(message(dhcpv6.MessageTypeSolicit, client, ia(), oro))},
		{name: "windows-solicit-server", gives: true, bytes: built(message(dhcpv6.MessageTypeSolicit, client, ia(), oro))},
		{name: "windows-rapid-commit-server", gives: true, bytes: built(message(dhcpv6.MessageTypeSolicit, client, ia(), &dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionRapidCommit}))},
		{name: "windows-information-request", bytes: built(message(dhcpv6.MessageTypeInformationRequest, client, oro))},
		{name: "windows-confirm-other-link-server", gives: true, bytes: built(message(dhcpv6.MessageTypeConfirm, client, ia("fd99::5")))},
		{name: "windows-rebind-other-link-server", gives: true, bytes: built(message(dhcpv6.MessageTypeRebind, client, ia("fd99::5")))},
		{name: "relayed-solicit", bytes: func(testing.TB) []byte {
			return relayed(message(dhcpv6.MessageTypeSolicit, client, ia(), class("PXEClient:Arch:00007:UNDI:003000"), dhcpv6.OptClientArchType(iana.EFI_X86_64)))
		}},
		{name: "relayed-solicit-server", gives: true, bytes: func(testing.TB) []byte { return relayed(message(dhcpv6.MessageTypeSolicit, client, ia())) }},
		{name: "solicit-without-identifier", bytes: built(message(dhcpv6.MessageTypeSolicit, class("PXEClient:Arch:00007")))},
		{name: "solicit-names-server", bytes: built(message(dhcpv6.MessageTypeSolicit, client, dhcpv6.OptServerID(testID), class("PXEClient:Arch:00007")))},
		{name: "request-other-server", gives: true, bytes: built(message(dhcpv6.MessageTypeRequest, client, dhcpv6.OptServerID(otherID), ia()))},
	}
}

// answerTo is one packet's way through the package.
func answerTo(t testing.TB, b []byte, c goldenCase, leases *Leases) (*Request, Terms, *dhcpv6.Message, string) {
	t.Helper()
	r, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	source := testClient
	if len(r.Relays) > 0 {
		source = netip.MustParseAddrPort("[fd77::fe]:40000")
	}
	port := c.port
	if port == 0 {
		port = PortServer
	} else {
		source = netip.AddrPortFrom(netip.MustParseAddr("fd77::2000"), port)
	}
	a := arrival(port, source)
	terms := Terms{Arrival: a, Client: Identify(r, a), Params: c.params}
	if Netboots(terms.Client) {
		terms.Plan = plan(terms.Client)
	}
	if c.plan != nil {
		terms.Plan = *c.plan
	}
	if leases != nil {
		terms.Grant = leases.Answer(r, terms.Client, a, time.Unix(1000, 0))
	}
	m, reason := Reply(r, terms)
	return r, terms, m, reason
}

func newLeases(t testing.TB) *Leases {
	t.Helper()
	l, err := NewLeases([]Pool{testPool(), farPool()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestGoldenReplies(t *testing.T) {
	for _, c := range goldenCases() {
		t.Run(c.name, func(t *testing.T) {
			var leases *Leases
			if c.gives {
				leases = newLeases(t)
			}
			r, terms, m, reason := answerTo(t, c.bytes(t), c, leases)
			var got bytes.Buffer
			fmt.Fprintf(&got, "asked: %s on port %d by %s, UUID %q\n", r.MessageType, terms.Arrival.Port, terms.Client, terms.Client.UUID)
			if m == nil {
				fmt.Fprintf(&got, "silent: %s\n", reason)
			} else {
				fmt.Fprintf(&got, "to: %s\n", Destination(r, terms.Arrival))
				render(t, &got, "", Encode(r, m))
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

// render spells a packet without the code under test, options in the order of
// the wire.
func render(t testing.TB, w io.Writer, indent string, b []byte) {
	t.Helper()
	if b[0] == 12 || b[0] == 13 {
		fmt.Fprintf(w, "%stype %d hops %d link %s peer %s\n", indent, b[0], b[1], net.IP(b[2:18]), net.IP(b[18:34]))
		b = b[34:]
	} else {
		fmt.Fprintf(w, "%stype %d xid %x\n", indent, b[0], b[1:4])
		b = b[4:]
	}
	renderOptions(t, w, indent+"  ", b)
}

func renderOptions(t testing.TB, w io.Writer, indent string, b []byte) {
	t.Helper()
	for len(b) > 0 {
		if len(b) < 4 || len(b) < 4+int(binary.BigEndian.Uint16(b[2:])) {
			t.Fatalf("torn option %x", b)
		}
		code, value := binary.BigEndian.Uint16(b), b[4:4+int(binary.BigEndian.Uint16(b[2:]))]
		b = b[4+len(value):]
		switch code {
		case 9:
			fmt.Fprintf(w, "%s9 relayed message\n", indent)
			render(t, w, indent+"  ", value)
			continue
		case 3:
			fmt.Fprintf(w, "%s3 IA_NA %x T1 %d T2 %d\n", indent, value[:4], binary.BigEndian.Uint32(value[4:]), binary.BigEndian.Uint32(value[8:]))
			renderOptions(t, w, indent+"  ", value[12:])
			continue
		case 5:
			fmt.Fprintf(w, "%s5 address %s preferred %d valid %d\n", indent, net.IP(value[:16]), binary.BigEndian.Uint32(value[16:]), binary.BigEndian.Uint32(value[20:]))
			continue
		}
		fmt.Fprintf(w, "%s%d %s %x", indent, code, optionName(code), value)
		if text := strings.Trim(string(value), "\x00"); len(text) > 3 && strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) < 0 {
			fmt.Fprintf(w, " %q", value)
		}
		_, _ = io.WriteString(w, "\n")
	}
}

func optionName(code uint16) string {
	return map[uint16]string{
		1: "client identifier", 2: "server identifier", 13: "status", 14: "rapid commit", 16: "vendor class",
		18: "interface", 23: "dns", 24: "domains", 59: "boot file url", 60: "boot file parameters", 135: "relay port",
	}[code]
}
