package dhcp4

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"castpoint/boot"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Option overload (52): what does not fit the options goes on in file, then in
// sname; pieces of one option are joined in that order (RFC 3396).
func TestParseOptionOverload(t *testing.T) {
	b := packet(dhcpv4.MessageTypeDiscover).ToBytes()[:240]
	b = append(b, 53, 1, 1, 52, 1, 3, 60, 4, 'P', 'X', 'E', 'C', 255)
	copy(b[offsetFile:], []byte{60, 3, 'l', 'i', 'e', 93, 2, 0, 11, 255})
	copy(b[offsetServerName:], []byte{60, 2, 'n', 't', 52, 1, 1, 255})
	p := parsed(t, b)
	if got := string(p.Options.Get(dhcpv4.OptionClassIdentifier)); got != "PXEClient" {
		t.Errorf("option 60 %q, want it joined from three fields", got)
	}
	if p.BootFileName != "" || p.ServerHostName != "" {
		t.Errorf("options taken for names: %q, %q", p.BootFileName, p.ServerHostName)
	}
	c, err := Identify(p, Arrival{})
	if err != nil || !c.PXE || c.Arch != boot.ArchEFIARM64 {
		t.Errorf("client %+v, %v", c, err)
	}
	// An overloaded field that is cut short is malformed.
	copy(b[offsetFile:], bytes.Repeat([]byte{60, 0}, 63))
	b[offsetFile+126], b[offsetFile+127] = 60, 9
	if _, err := Parse(b); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "file field") {
		t.Errorf("error %v", err)
	}
}

// Every prefix of a real request is either refused as malformed or read, and
// never more than is there.
func TestParseTruncated(t *testing.T) {
	whole := recorded(t, "ovmf-pxe-discover")
	for n := range whole {
		p, err := Parse(whole[:n])
		if n < offsetOptions && !errors.Is(err, ErrMalformed) {
			t.Fatalf("%d bytes: %v", n, err)
		}
		if err != nil && !errors.Is(err, ErrMalformed) {
			t.Fatalf("%d bytes: error %v does not wrap ErrMalformed", n, err)
		}
		if err == nil && len(Encode(p)) == 0 {
			t.Fatalf("%d bytes: read and not written", n)
		}
	}
	if p := parsed(t, whole[:len(whole)-1]); p.MessageType() != dhcpv4.MessageTypeDiscover {
		t.Error("the end option is missing and nothing else")
	}
}

func TestEncodeSplitsLongOptions(t *testing.T) {
	value := bytes.Repeat([]byte("0123456789"), 60)
	p := packet(dhcpv4.MessageTypeOffer, option(224, value...), option(225))
	w := onWire(t, p)
	if !bytes.Equal(w.value[224], value) {
		t.Error("a long option does not come back")
	}
	if got := parsed(t, w.raw); !bytes.Equal(got.Options[224], value) || !got.Options.Has(dhcpv4.GenericOptionCode(225)) {
		t.Error("the library reads it otherwise")
	}
	if n, bound := len(w.raw), encodedLen(p); n > bound || bound > n+1 {
		t.Errorf("encodedLen %d for %d bytes", bound, n)
	}
}

func TestEncodeLongFileName(t *testing.T) {
	url := "http://10.77.0.1:8080/" + strings.Repeat("d/", 60) + "x.efi"
	p := packet(dhcpv4.MessageTypeOffer, option(67, []byte(url)...))
	p.BootFileName = url
	w := onWire(t, p)
	if w.file[0] != 0 {
		t.Errorf("header holds a cut name %q", w.file)
	}
	if string(w.value[67]) != url {
		t.Errorf("option 67 %q", w.value[67])
	}
	// Option 67 is last here: a pad keeps the end option away from it.
	if b := w.raw[240:]; b[3+2+len(url)] != 0 {
		t.Error("the end option follows the name")
	}
}

func TestIdentify(t *testing.T) {
	a := Arrival{Interface: "eth0", Server: goldenServer}
	for _, c := range []struct {
		name string
		file string
		p    *dhcpv4.DHCPv4
		want boot.Client
	}{
		{name: "OVMF", file: "ovmf-pxe-discover", want: boot.Client{
			MAC: testMAC(1), UUID: "6a1c2f10-8e4b-4f0d-9a57-0123456789ab", Arch: 7, HasArch: true, PXE: true,
			VendorClass: "PXEClient:Arch:00007:UNDI:003000",
		}},
		{name: "OVMF HTTP", file: "ovmf-http-discover", want: boot.Client{
			MAC: testMAC(1), UUID: "6a1c2f10-8e4b-4f0d-9a57-0123456789ab", Arch: 16, HasArch: true, HTTPBoot: true,
			VendorClass: "HTTPClient:Arch:00016:UNDI:003000",
		}},
		{name: "iPXE", file: "ipxe-uefi-discover", want: boot.Client{
			MAC: testMAC(1), UUID: "6a1c2f10-8e4b-4f0d-9a57-0123456789ab", Arch: 7, HasArch: true, PXE: true, IPXE: true,
			VendorClass: "PXEClient:Arch:00007:UNDI:003010", UserClass: "iPXE",
		}},
		{name: "architecture in the class only", p: packet(1, vendorClass("PXEClient:Arch:00009:UNDI:003016")),
			want: boot.Client{MAC: testMAC(1), Arch: 9, HasArch: true, PXE: true, VendorClass: "PXEClient:Arch:00009:UNDI:003016"}},
		{name: "no architecture", p: packet(1, vendorClass("PXEClient:Arch:x")),
			want: boot.Client{MAC: testMAC(1), PXE: true, VendorClass: "PXEClient:Arch:x"}},
		{name: "half an architecture", p: packet(1, option(93, 7)), want: boot.Client{MAC: testMAC(1)}},
		{name: "several architectures, the first counts", p: packet(1, option(93, 0, 16, 0, 7)), want: boot.Client{MAC: testMAC(1), Arch: 16, HasArch: true}},
		{name: "UUID without its type byte", p: packet(1, option(97, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}...)),
			want: boot.Client{MAC: testMAC(1), UUID: "04030201-0605-0807-090a-0b0c0d0e0f10"}},
		{name: "UUID of another type", p: packet(1, option(97, append([]byte{1}, make([]byte, 16)...)...)), want: boot.Client{MAC: testMAC(1)}},
		{name: "UUID of nobody", p: packet(1, option(97, make([]byte, 17)...)), want: boot.Client{MAC: testMAC(1)}},
		{name: "UUID of a thousand boards", p: packet(1, option(97, 0, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8, 0, 9)), want: boot.Client{MAC: testMAC(1)}},
		{name: "InfiniBand: MAC in the client identifier", p: packet(1, func(p *dhcpv4.DHCPv4) { p.HWType, p.ClientHWAddr = 32, nil },
			option(61, 1, 2, 3, 4, 5, 6, 7)), want: boot.Client{MAC: net.HardwareAddr{2, 3, 4, 5, 6, 7}}},
		{name: "control bytes do not reach the log", p: packet(1, vendorClass("PXEClient\x1b[2J\n\x00rest")),
			want: boot.Client{MAC: testMAC(1), PXE: true, VendorClass: "PXEClient?[2J?"}},
		{name: "relayed", p: packet(1, relayed), want: boot.Client{MAC: testMAC(1), Relay: netip.MustParseAddr("10.88.0.1")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := c.p
			if p == nil {
				p = parsed(t, recorded(t, c.file))
			}
			c.want.Interface, c.want.Server = "eth0", goldenServer
			got, err := Identify(p, a)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != c.want.String() || !bytes.Equal(got.MAC, c.want.MAC) {
				t.Errorf("got %s, want %s", got, c.want)
			}
			got.MAC, c.want.MAC = nil, nil
			if !equalClients(got, c.want) {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}

	nobody := packet(1)
	nobody.ClientHWAddr = make(net.HardwareAddr, 6)
	if _, err := Identify(nobody, a); !errors.Is(err, ErrNoIdentity) {
		t.Errorf("all-zero MAC: %v", err)
	}
	reply := packet(2)
	reply.OpCode = dhcpv4.OpcodeBootReply
	if _, err := Identify(reply, a); !errors.Is(err, ErrNotRequest) {
		t.Errorf("a reply: %v", err)
	}
}

// equalClients compares clients without their MACs, which are slices.
func equalClients(a, b boot.Client) bool {
	return a.UUID == b.UUID && a.Arch == b.Arch && a.HasArch == b.HasArch && a.IPXE == b.IPXE && a.HTTPBoot == b.HTTPBoot &&
		a.PXE == b.PXE && a.VendorClass == b.VendorClass && a.UserClass == b.UserClass && a.Interface == b.Interface &&
		a.Server == b.Server && a.Relay == b.Relay
}
