package dhcp4

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"castpoint/boot"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// wire is a reply as the client reads it: the header's file and the options in
// order, taken apart without the code under test.
type wire struct {
	raw   []byte
	file  []byte // 128 bytes
	codes []byte
	value map[byte][]byte
}

func onWire(t *testing.T, p *dhcpv4.DHCPv4) wire {
	t.Helper()
	b := Encode(p)
	w := wire{raw: b, file: b[108:236], value: map[byte][]byte{}}
	for rest := b[240:]; len(rest) > 0 && rest[0] != 255; {
		if rest[0] == 0 {
			rest = rest[1:]
			continue
		}
		n := int(rest[1])
		w.codes = append(w.codes, rest[0])
		w.value[rest[0]] = append(w.value[rest[0]], rest[2:2+n]...)
		rest = rest[2+n:]
	}
	return w
}

func mustReply(t *testing.T, request *dhcpv4.DHCPv4, port uint16, change func(*Terms)) (wire, Route) {
	t.Helper()
	r, terms, reply, reason := answerTo(t, request.ToBytes(), port, change)
	if reply == nil {
		t.Fatalf("silent: %s", reason)
	}
	return onWire(t, reply), Destination(r, reply, terms.Arrival)
}

func uefi(more ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	return packet(dhcpv4.MessageTypeDiscover, append([]dhcpv4.Modifier{
		broadcastFlag, vendorClass("PXEClient:Arch:00007:UNDI:003016"), option(93, 0, 7), uuidOption(),
	}, more...)...)
}

// What people reported of other servers, each as the symptom they saw. The
// names in brackets are the reports.
func TestFieldReports(t *testing.T) {
	t.Run("HP UEFI merges no two offers: one complete offer in server mode [garybowers/bootimus#77, danderson/netboot#43]", func(t *testing.T) {
		w, _ := mustReply(t, uefi(), PortServer, inServerMode)
		if w.value[53][0] != byte(dhcpv4.MessageTypeOffer) || !bytes.Equal(w.raw[16:20], []byte{10, 77, 0, 100}) || !bytes.HasPrefix(w.file, []byte("x64/bootmgfw.efi\x00")) {
			t.Errorf("offer lacks address or file: %x", w.raw[:240])
		}
		// Class and option 43 would make EDK2 look for a boot server besides.
		if w.value[60] != nil || w.value[43] != nil {
			t.Errorf("options 60 %q and 43 %x in a complete offer", w.value[60], w.value[43])
		}
	})
	t.Run("relayed offer is broadcast and the relay drops it [garybowers/bootimus#129, tinkerbell/smee#382, xcat2/xcat-core#1222]", func(t *testing.T) {
		for name, change := range map[string]func(*Terms){"proxy": nil, "server": inServerMode} {
			w, route := mustReply(t, uefi(relayed), PortServer, change)
			if route.To.String() != "10.88.0.1:67" || route.Hardware != nil {
				t.Errorf("%s: to %v, want the relay's port 67", name, route)
			}
			if !bytes.Equal(w.raw[24:28], goldenRelay.To4()) || w.value[82] == nil || w.codes[len(w.codes)-1] != 82 {
				t.Errorf("%s: giaddr %v, option 82 %x, order %d", name, w.raw[24:28], w.value[82], w.codes)
			}
		}
	})
	t.Run("firmware without a proxy offer cache needs every kind of answer [tianocore/edk2#6944]", func(t *testing.T) {
		// What such firmware takes: the answer on 4011 when it asks there, and
		// the complete offer of server mode (above).
		w, route := mustReply(t, packet(dhcpv4.MessageTypeRequest, dhcpv4.WithClientIP(net.IPv4(10, 77, 0, 53)),
			vendorClass("PXEClient:Arch:00007:UNDI:003016"), option(93, 0, 7)), PortProxy, nil)
		if w.value[53][0] != byte(dhcpv4.MessageTypeAck) || !bytes.HasPrefix(w.file, []byte("x64/bootmgfw.efi\x00")) {
			t.Errorf("no ACK with a file")
		}
		if route.To.String() != "10.77.0.53:4011" {
			t.Errorf("to %v, want the port it asked from", route.To)
		}
	})
	t.Run("client sends proxy requests though the offer had a boot file [tianocore/edk2#8149]", func(t *testing.T) {
		w, _ := mustReply(t, uefi(), PortServer, nil)
		// The very bytes that ended it in that report.
		if want := []byte{6, 1, 8, 10, 4, 0, 'P', 'X', 'E', 255}; !bytes.Equal(w.value[43], want) {
			t.Errorf("option 43 %x, want %x", w.value[43], want)
		}
	})
	t.Run("iPXE: no ProxyDHCP response, retrying [danderson/netboot#38]", func(t *testing.T) {
		ipxe := packet(dhcpv4.MessageTypeDiscover, option(77, []byte("iPXE")...), option(175, 1, 1, 0))
		w, _ := mustReply(t, ipxe, PortServer, nil)
		// iPXE takes a proxy offer with class, next server and file at once.
		if string(w.value[60]) != "PXEClient" || bytes.Equal(w.raw[20:24], make([]byte, 4)) || w.file[0] == 0 || !bytes.HasPrefix(w.value[43], []byte{6, 1, 8}) {
			t.Errorf("incomplete proxy offer")
		}
		w, _ = mustReply(t, ipxe, PortServer, inServerMode)
		if !bytes.Equal(w.value[175], []byte{176, 1, 1}) {
			t.Errorf("option 175 %x: iPXE is not told to wait for no proxy", w.value[175])
		}
	})
	t.Run("machine loops through iPXE [danderson/netboot#77]", func(t *testing.T) {
		for name, sign := range map[string]dhcpv4.Modifier{
			"user class":              option(77, []byte("iPXE")...),
			"user class as RFC 3004":  option(77, append([]byte{4}, "iPXE"...)...),
			"several user classes":    option(77, append([]byte{3, 'l', 'a', 'b', 4}, "iPXE"...)...),
			"option 175 alone":        option(175, 1, 1, 0),
			"gPXE, its ancestor":      option(77, []byte("gPXE")...),
			"with an empty class too": func(p *dhcpv4.DHCPv4) { option(77)(p); option(175, 1)(p) },
		} {
			for kind, request := range map[string]*dhcpv4.DHCPv4{"UEFI": uefi(sign), "BIOS": packet(dhcpv4.MessageTypeDiscover,
				vendorClass("PXEClient:Arch:00000:UNDI:002001"), option(93, 0, 0), sign)} {
				w, _ := mustReply(t, request, PortServer, func(t *Terms) { t.Menu = pressF12() })
				if !strings.HasPrefix(string(w.value[67]), "http://") {
					t.Errorf("%s, %s: gets %q again", name, kind, w.value[67])
				}
			}
		}
	})
	t.Run("cards without option 97 must be served [danderson/pixiecore#21]", func(t *testing.T) {
		w, _ := mustReply(t, packet(dhcpv4.MessageTypeDiscover, vendorClass("PXEClient:Arch:00000:UNDI:002001")), PortServer, nil)
		if w.value[97] != nil || w.file[0] == 0 {
			t.Errorf("option 97 %x, file %q", w.value[97], w.file[:20])
		}
	})
	t.Run("UEFI virtual machine on ESXi in proxy mode only: the DHCP server's words are left alone [digitalrebar/provision#238]", func(t *testing.T) {
		w, _ := mustReply(t, uefi(), PortServer, nil)
		for _, code := range []byte{1, 3, 6, 51, 58, 59} {
			if w.value[code] != nil {
				t.Errorf("proxy offer carries option %d", code)
			}
		}
		if !bytes.Equal(w.raw[16:20], make([]byte, 4)) {
			t.Errorf("proxy offer gives address %v", w.raw[16:20])
		}
	})
	t.Run("shim takes the TFTP server from the wrong packet [rhboot/shim#165, rhboot/shim#137]", func(t *testing.T) {
		// Whichever answer it reads, castpoint's name the same next server.
		for _, style := range []Style{StyleComplete, StyleRedirect} {
			w, _ := mustReply(t, uefi(), PortServer, withStyle(style))
			if !bytes.Equal(w.raw[20:24], goldenServer.AsSlice()) || string(w.value[66]) != goldenServer.String() {
				t.Errorf("style %s: siaddr %v, option 66 %q", style, w.raw[20:24], w.value[66])
			}
		}
	})
	t.Run("will this break my LAN: machines that did not ask to netboot hear nothing [tinkerbell/smee#10]", func(t *testing.T) {
		for _, kind := range []dhcpv4.MessageType{dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeRequest, dhcpv4.MessageTypeInform} {
			for _, port := range []uint16{PortServer, PortProxy} {
				for _, class := range []string{"", "MSFT 5.0", "android-dhcp-13", "udhcp 1.36"} {
					p := packet(kind)
					if class != "" {
						vendorClass(class)(p)
					}
					if _, _, reply, _ := answerTo(t, p.ToBytes(), port, nil); reply != nil {
						t.Errorf("%s of %q on port %d was answered", kind, class, port)
					}
				}
			}
		}
	})
	t.Run("Raspberry Pi 4: siaddr is not enough [tinkerbell/smee#23, raspberrypi/rpi-eeprom#103]", func(t *testing.T) {
		pi := packet(dhcpv4.MessageTypeDiscover, vendorClass("PXEClient:Arch:00000:UNDI:002001"), option(93, 0, 0))
		pi.ClientHWAddr = net.HardwareAddr{0xdc, 0xa6, 0x32, 0, 0, 1}
		w, _ := mustReply(t, pi, PortServer, nil)
		if string(w.value[66]) != goldenServer.String() || !bytes.Contains(w.value[43], []byte("Raspberry Pi Boot")) {
			t.Errorf("option 66 %q, option 43 %q", w.value[66], w.value[43])
		}
		if !bytes.HasPrefix(w.file, []byte("rpi/")) {
			t.Errorf("file %q: taken for a BIOS machine", w.file[:20])
		}
	})
	t.Run("0xFF glued to the TFTP file name [netbootxyz/netboot.xyz#1198]", func(t *testing.T) {
		for name, change := range map[string]func(*Terms){"proxy": nil, "server": inServerMode} {
			w, _ := mustReply(t, uefi(), PortServer, change)
			if !bytes.HasSuffix(w.value[67], []byte{0}) {
				t.Errorf("%s: option 67 %q is not terminated", name, w.value[67])
			}
			if w.codes[len(w.codes)-1] == 67 {
				t.Errorf("%s: the end option follows the file name", name)
			}
			if bytes.IndexByte(w.file, 0xff) >= 0 || w.file[127] != 0 {
				t.Errorf("%s: file %x", name, w.file)
			}
		}
	})
	t.Run("laptops send architectures 2, 6, 7, 8, 9 [linuxserver/docker-netbootxyz#8]", func(t *testing.T) {
		for _, arch := range []byte{0, 2, 6, 7, 8, 9, 10, 11, 15, 16, 17, 18, 19, 20, 41} {
			p := packet(dhcpv4.MessageTypeDiscover, vendorClass("PXEClient"), option(93, 0, arch))
			c, err := Identify(p, arrivalOf(p, PortServer))
			if err != nil || !c.HasArch || c.Arch != boot.Arch(arch) {
				t.Errorf("architecture %d: %+v, %v", arch, c, err)
			}
		}
		// A site maps what its machines say.
		x64 := boot.ArchEFIX64
		rows := append([]Quirk{{Name: "odd", Archs: []boot.Arch{2, 8}, Style: StyleComplete, As: &x64}}, Quirks()...)
		if q := QuirkOf(rows, boot.Client{Arch: 8, HasArch: true}); q.As == nil || *q.As != boot.ArchEFIX64 {
			t.Errorf("row %+v", q)
		}
	})
	t.Run("Proxmox says 9; a Realtek mini PC works with a menu of two services only [WillChamness/Dnsmasq-PXE#3]", func(t *testing.T) {
		p := packet(dhcpv4.MessageTypeDiscover, vendorClass("PXEClient:Arch:00009:UNDI:003016"), option(93, 0, 9))
		w, _ := mustReply(t, p, PortServer, nil)
		if !bytes.HasPrefix(w.file, []byte("x64/")) {
			t.Errorf("architecture 9 gets %q", w.file[:20])
		}
		w, _ = mustReply(t, uefi(), PortServer, withStyle(StyleMenu))
		menu := dhcpv4.Options{}
		if err := menu.FromBytes(w.value[43]); err != nil {
			t.Fatal(err)
		}
		if n := len(menu[pxeBootServers]); n != 2*7 {
			t.Errorf("%d bytes of boot servers, want two of 7", n)
		}
		if menu[pxeMenuPrompt][0] != 0 {
			t.Errorf("prompt waits %d s, want the first service at once", menu[pxeMenuPrompt][0])
		}
	})
	t.Run("HTTP boot drops offers without URL or class [xcat2/xcat-core#7743]", func(t *testing.T) {
		for name, change := range map[string]func(*Terms){"proxy": nil, "server": inServerMode} {
			w, _ := mustReply(t, packet(dhcpv4.MessageTypeDiscover, vendorClass("HTTPClient:Arch:00016:UNDI:003001"), option(93, 0, 16), uuidOption()), PortServer, change)
			if string(w.value[60]) != "HTTPClient" || !strings.HasPrefix(string(w.value[67]), "http://") || w.value[43] != nil {
				t.Errorf("%s: class %q, file %q, option 43 %x", name, w.value[60], w.value[67], w.value[43])
			}
		}
	})
	t.Run("boot file by architecture [TechnitiumSoftware/DnsServer#1021, #757]", func(t *testing.T) {
		seen := map[string]bool{}
		for _, arch := range []byte{0, 7, 11} {
			w, _ := mustReply(t, packet(dhcpv4.MessageTypeDiscover, vendorClass("PXEClient"), option(93, 0, arch)), PortServer, nil)
			seen[string(w.value[67])] = true
		}
		if len(seen) != 3 {
			t.Errorf("files %v", seen)
		}
	})
	t.Run("proxy across VLANs: a client of another network asks on 4011 [ltsp/community#110]", func(t *testing.T) {
		p := packet(dhcpv4.MessageTypeRequest, dhcpv4.WithClientIP(net.IPv4(10, 88, 0, 40)), vendorClass("PXEClient:Arch:00007:UNDI:003016"), option(93, 0, 7))
		w, route := mustReply(t, p, PortProxy, nil)
		if route.To.Addr().String() != "10.88.0.40" || !bytes.Equal(w.value[54], goldenServer.AsSlice()) {
			t.Errorf("to %v from %v", route.To, w.value[54])
		}
	})
	t.Run("interface without an address: said, not guessed [insomniacslk/dhcp#184]", func(t *testing.T) {
		_, _, reply, reason := answerTo(t, uefi().ToBytes(), PortServer, func(t *Terms) { t.Arrival.Server = netip.Addr{} })
		if reply != nil || !strings.Contains(reason, "eth0 has no IPv4 address") {
			t.Errorf("reply %v, reason %q", reply, reason)
		}
	})
	t.Run("Windows boot manager needs the name in the header, not in option 67 alone [observed]", func(t *testing.T) {
		for _, port := range []uint16{PortServer, PortProxy} {
			kind := dhcpv4.MessageTypeDiscover
			if port == PortProxy {
				kind = dhcpv4.MessageTypeRequest
			}
			w, _ := mustReply(t, packet(kind, vendorClass("PXEClient:Arch:00007:UNDI:003016"), option(93, 0, 7),
				option(55, 60, 66, 67)), port, nil)
			if !bytes.HasPrefix(w.file, []byte("x64/bootmgfw.efi\x00")) || !bytes.HasPrefix(w.value[67], []byte("x64/bootmgfw.efi\x00")) {
				t.Errorf("port %d: header %q, option %q", port, w.file[:20], w.value[67])
			}
			if !bytes.HasPrefix(w.value[252], []byte(`\Boot\525400000001.bcd`)) {
				t.Errorf("port %d: option 252 %q", port, w.value[252])
			}
		}
	})
}

// A DHCP server on the same host has the same server identifier. An ACK without
// an address would end the lease of a client that only renews it.
func TestProxyLeavesAddressesOfTheSameHostAlone(t *testing.T) {
	class := vendorClass("PXEClient:Arch:00007:UNDI:003016")
	for name, p := range map[string]*dhcpv4.DHCPv4{
		"takes an offer":     packet(dhcpv4.MessageTypeRequest, class, option(54, 10, 77, 0, 1), option(50, 10, 77, 0, 50)),
		"renews by unicast":  packet(dhcpv4.MessageTypeRequest, class, dhcpv4.WithClientIP(net.IPv4(10, 77, 0, 50))),
		"after a restart":    packet(dhcpv4.MessageTypeRequest, class, option(50, 10, 77, 0, 50)),
		"declines":           packet(dhcpv4.MessageTypeDecline, class, option(50, 10, 77, 0, 50)),
		"releases":           packet(dhcpv4.MessageTypeRelease, class, dhcpv4.WithClientIP(net.IPv4(10, 77, 0, 50))),
		"discovers on 4011":  nil,
		"asks other servers": packet(dhcpv4.MessageTypeRequest, class, option(54, 10, 77, 0, 2)),
	} {
		port := uint16(PortServer)
		if p == nil {
			p, port = packet(dhcpv4.MessageTypeDiscover, class), PortProxy
		}
		if _, _, reply, _ := answerTo(t, p.ToBytes(), port, nil); reply != nil {
			t.Errorf("%s: answered %s", name, reply.MessageType())
		}
	}
	// But a boot server request on port 67 is answered.
	item := packet(dhcpv4.MessageTypeRequest, class, option(43, 71, 4, 0x80, 1, 0, 0, 255))
	if w, _ := mustReply(t, item, PortServer, nil); !bytes.Equal(w.value[43], []byte{71, 4, 0x80, 1, 0, 0, 255}) {
		t.Errorf("item answered with %x", w.value[43])
	}
	direct := packet(dhcpv4.MessageTypeRequest, class, option(54, 10, 77, 0, 1))
	if w, _ := mustReply(t, direct, PortServer, nil); w.value[53][0] != byte(dhcpv4.MessageTypeAck) {
		t.Error("request to castpoint's identifier not answered")
	}
}

func TestDestination(t *testing.T) {
	hardware := testMAC(1)
	granted := func(p *dhcpv4.DHCPv4) { p.YourIPAddr = net.IPv4(10, 77, 0, 100) }
	offer, ack, nak := dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeAck, dhcpv4.MessageTypeNak
	client := dhcpv4.WithClientIP(net.IPv4(10, 77, 0, 50))
	discover, ask, inform := dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeRequest, dhcpv4.MessageTypeInform
	for _, c := range []struct {
		name           string
		request, reply *dhcpv4.DHCPv4
		port           uint16
		source         string
		want           string
		frame          bool
	}{
		{"relay", packet(discover, relayed), packet(offer, granted), 67, "10.88.0.1:67", "10.88.0.1:67", false},
		{"relay, even with ciaddr", packet(ask, relayed, client), packet(ack, granted), 67, "10.88.0.1:67", "10.88.0.1:67", false},
		{"relay with its own source port", packet(discover, relayed, option(82, 19, 0)), packet(offer), 67, "10.88.0.1:1067", "10.88.0.1:1067", false},
		{"NAK through a relay", packet(ask, relayed), packet(nak), 67, "10.88.0.1:67", "10.88.0.1:67", false},
		{"renewal", packet(ask, client), packet(ack, granted), 67, "10.77.0.50:68", "10.77.0.50:68", false},
		{"renewal with the broadcast flag", packet(ask, client, broadcastFlag), packet(ack, granted), 67, "10.77.0.50:68", "10.77.0.50:68", false},
		{"NAK to a client with an address", packet(ask, client), packet(nak), 67, "10.77.0.50:68", "255.255.255.255:68", false},
		{"boot server", packet(ask, client), packet(ack), 4011, "10.77.0.50:4011", "10.77.0.50:4011", false},
		{"boot server, other port", packet(ask, client), packet(ack), 4011, "10.77.0.50:2070", "10.77.0.50:2070", false},
		{"boot server, asked without an address", packet(ask), packet(ack), 4011, "0.0.0.0:68", "255.255.255.255:68", false},
		{"boot server, mapped source", packet(ask), packet(ack), 4011, "[::ffff:10.77.0.50]:68", "10.77.0.50:68", false},
		{"INFORM", packet(inform, client), packet(ack), 67, "10.77.0.50:68", "10.77.0.50:68", false},
		{"INFORM without ciaddr", packet(inform), packet(ack), 67, "10.77.0.50:5000", "10.77.0.50:68", false},
		{"broadcast flag", packet(discover, broadcastFlag), packet(offer, granted), 67, "0.0.0.0:68", "255.255.255.255:68", false},
		{"proxy offer", packet(discover), packet(offer), 67, "0.0.0.0:68", "255.255.255.255:68", false},
		{"new address", packet(discover), packet(offer, granted), 67, "0.0.0.0:68", "10.77.0.100:68", true},
		{"InfiniBand has no address a frame could go to", packet(discover, func(p *dhcpv4.DHCPv4) { p.HWType, p.ClientHWAddr = 32, nil }), packet(offer, granted), 67, "0.0.0.0:68", "255.255.255.255:68", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Destination(c.request, c.reply, Arrival{Port: c.port, Source: netip.MustParseAddrPort(c.source), Server: goldenServer})
			if got.To.String() != c.want || (got.Hardware != nil) != c.frame {
				t.Errorf("to %v %v, want %s, frame %v", got.To, got.Hardware, c.want, c.frame)
			}
			if c.frame && !slices.Equal(got.Hardware, hardware) {
				t.Errorf("frame to %s", got.Hardware)
			}
		})
	}
}

// RFC 5107: the relay stands in for the server, so it is the identifier.
func TestServerIdentifierOverride(t *testing.T) {
	through := func(p *dhcpv4.DHCPv4) {
		p.GatewayIPAddr = goldenRelay
		option(82, 11, 4, 10, 88, 0, 1)(p)
	}
	w, _ := mustReply(t, uefi(through), PortServer, inServerMode)
	if !bytes.Equal(w.value[54], goldenRelay.To4()) {
		t.Errorf("server identifier %v, want the relay's", w.value[54])
	}
}

func TestReplyFitsTheClient(t *testing.T) {
	long := strings.Repeat("x", 110) + ".example.com"
	big := func(t *Terms) {
		inServerMode(t)
		t.Grant.Domain, t.Grant.Hostname = long, long
		for range 20 {
			t.Grant.NTP = append(t.Grant.NTP, goldenServer)
		}
	}
	w, _ := mustReply(t, uefi(), PortServer, big)
	if len(w.raw)+28 > 576 {
		t.Errorf("%d bytes for a client that takes 576", len(w.raw)+28)
	}
	if w.value[67] == nil || w.value[51] == nil || w.value[1] == nil {
		t.Error("something that matters was left out")
	}
	w, _ = mustReply(t, uefi(option(57, 5, 0xc0)), PortServer, big)
	if w.value[42] == nil || w.value[12] == nil || w.value[15] == nil {
		t.Error("left out what fits 1472 bytes")
	}
}

func TestMenuMustFitOption43(t *testing.T) {
	if err := pressF12().Validate(); err != nil {
		t.Error(err)
	}
	for name, m := range map[string]*Menu{
		"no items":    {Prompt: "x"},
		"no text":     {Items: []MenuItem{{Type: 1}}},
		"too long":    {Items: []MenuItem{{1, strings.Repeat("x", 240)}}},
		"too patient": {Timeout: 300 * time.Second, Items: []MenuItem{{1, "x"}}},
	} {
		if m.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
