package main

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"

	"castpoint/internal/lab"
	"castpoint/test/client"
)

// rubbish is what broken machines and bad neighbours send, made from a seed.
type rubbish struct{ *rand.Rand }

// bytes are so many random bytes at most.
func (r rubbish) bytes(most int) []byte {
	b := make([]byte, r.IntN(most+1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// mutated changes a packet: bytes, bits, its length, the order of its parts.
func (r rubbish) mutated(p []byte) []byte {
	p = append([]byte(nil), p...)
	for range 1 + r.IntN(8) {
		if len(p) == 0 {
			return p
		}
		at := r.IntN(len(p))
		switch r.IntN(7) {
		case 0:
			p[at] = byte(r.Uint32())
		case 1:
			p[at] ^= 1 << r.IntN(8)
		case 2:
			p[at] = []byte{0, 1, 0x7f, 0x80, 0xff}[r.IntN(5)]
		case 3:
			p = p[:at]
		case 4:
			p = append(p[:at:at], append(r.bytes(40), p[at:]...)...)
		case 5:
			to := r.IntN(len(p))
			n := min(r.IntN(32), len(p)-at, len(p)-to)
			copy(p[to:to+n], p[at:at+n])
		case 6:
			if at+2 <= len(p) {
				binary.BigEndian.PutUint16(p[at:], uint16(r.Uint32()))
			}
		}
	}
	return p
}

// stranger is an identity that no machine of the soak has: its MAC begins with 06.
func (r rubbish) stranger() client.Identity {
	i := client.Identity{MAC: net.HardwareAddr{0x06, 0x77, 0, 0, 0, byte(r.Uint32())},
		Arch: []iana.Arch{iana.INTEL_X86PC, iana.EFI_X86_64, iana.EFI_BC, iana.EFI_ARM64, iana.EFI_X86_64_HTTP}[r.IntN(5)]}
	copy(i.UUID[:], "stranger........")
	copy(i.UUID[8:], i.MAC)
	return i
}

// dhcp is a packet that resembles one of DHCP.
func (r rubbish) dhcp() []byte {
	i := r.stranger()
	i.MAC[0] = 0x0a  // never one that is a stranger's: a mutation must not give its lease back
	i.MAC[5] &= 0x1f // and not so many that they have the whole pool by what they are offered
	kinds := []dhcpv4.MessageType{dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeRequest, dhcpv4.MessageTypeInform, dhcpv4.MessageTypeRelease,
		dhcpv4.MessageTypeDecline, dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeAck, dhcpv4.MessageType(r.IntN(256))}
	m, err := i.Message(kinds[r.IntN(len(kinds))])
	if err != nil {
		return r.bytes(600)
	}
	if r.IntN(3) == 0 {
		m.ClientIPAddr = net.IP{10, 77, 0, byte(r.Uint32())}
	}
	if r.IntN(4) == 0 {
		m.GatewayIPAddr = net.IP{10, 77, byte(r.IntN(2)), byte(r.Uint32())}
	}
	b := m.ToBytes()
	out := r.mutated(b)
	// The hardware address stays that of nobody: a packet in the name of a machine is
	// no rubbish but a lie, and the server may believe it.
	if len(out) >= 34 {
		copy(out[28:34], b[28:34])
	}
	return out
}

// tftp is a packet that resembles one of TFTP.
func (r rubbish) tftp(name string) []byte {
	seeds := []string{
		"\x00\x01" + name + "\x00octet\x00blksize\x001468\x00windowsize\x0064\x00tsize\x000\x00",
		"\x00\x01" + name + "\x00netascii\x00timeout\x00255\x00msftwindow\x0031416\x00",
		"\x00\x02upload.log\x00octet\x00tsize\x0099999999999\x00", "\x00\x03\x00\x01data", "\x00\x04\x00\x00", "\x00\x04\xff\xff", "\x00\x05\x00\x08gone\x00", "\x00\x06blksize\x008\x00",
		"\x00\x01../../etc/shadow\x00octet\x00",
	}
	seed := seeds[r.IntN(len(seeds))]
	if r.IntN(4) == 0 {
		return []byte(seed)
	}
	return r.mutated([]byte(seed))
}

// web is text that resembles HTTP.
func (r rubbish) web(name string) []byte {
	paths := []string{"/" + name, "/v1/join", "/v1/policy", "/v1/events", "/v1/run", "/v1/run/step", "/v1/object/00", "/api/v1/contents", "/ipxe/efi-x64/06-77-00-00-00-01", "/%2e%2e/%2e%2e/etc/passwd", "/" + string(make([]byte, 3000))}
	bodies := []string{`{"content":"x","token":"`, `[[[[[[[[[[[[[[[[`, `{"run":1,"number":-1}`, "\xff\xfe", `{"a":1e999}`}
	body := bodies[r.IntN(len(bodies))]
	seed := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nRange: bytes=%d-%d\r\nContent-Length: %d\r\n\r\n%s",
		[]string{"GET", "POST", "PUT", "HEAD", "DELETE", "CONNECT", "\x16\x03\x01"}[r.IntN(7)], paths[r.IntN(len(paths))], r.bytes(10),
		r.IntN(1<<30)-1<<20, r.IntN(1<<30), r.IntN(2*len(body)+1), body)
	if r.IntN(3) == 0 {
		return []byte(seed)
	}
	return r.mutated([]byte(seed))
}

// Ports of sessions, as the server has them by default.
const sessionPorts, sessionPortCount = 7800, 100

// groups of sessions, as the server has them by default.
var firstGroup = netip.MustParseAddr("239.192.67.1").As4()

// throw sends rubbish from a host for a while: datagrams to every port, and
// connections that are dropped, half said, or held.
func (r rubbish) throw(ctx context.Context, h *lab.Host, name string) error {
	conn, err := client.ListenUDP(h, 0, true)
	if err != nil {
		return err
	}
	defer conn.Close()
	server := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(lab.ServerAddr, port) }
	for range 10 + r.IntN(60) {
		var p []byte
		to := server(69)
		switch r.IntN(8) {
		case 0, 1:
			p = r.dhcp()
			to = []netip.AddrPort{server(67), server(4011), netip.MustParseAddrPort("255.255.255.255:67")}[r.IntN(3)]
		case 2, 3:
			p = r.tftp(name)
		case 4:
			p = r.bytes(1500)
			to = server(uint16(sessionPorts + r.IntN(8)))
		case 5: // what members of a session get
			group := firstGroup
			group[3] += byte(r.IntN(4))
			p, to = r.bytes(1472), netip.AddrPortFrom(netip.AddrFrom4(group), uint16(sessionPorts+r.IntN(8)))
		case 6:
			p, to = r.bytes(1500), server([]uint16{67, 69, 4011, uint16(sessionPorts + r.IntN(sessionPortCount))}[r.IntN(4)])
		case 7:
			p, to = r.tftp(name), server(uint16(32768+r.IntN(28000))) // where transfers are
		}
		_, _ = conn.WriteToUDPAddrPort(p, to) // an ICMP error of an earlier one is no matter
	}
	for range r.IntN(4) {
		r.connect(ctx, h, name)
	}
	return nil
}

// connect opens a connection to one of the TCP ports and misuses it.
func (r rubbish) connect(ctx context.Context, h *lab.Host, name string) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	port := []uint16{client.HTTPPort, client.JoinPort}[r.IntN(2)]
	conn, err := client.Dial(ctx, h, netip.AddrPortFrom(lab.ServerAddr, port))
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Duration(1+r.IntN(3000)) * time.Millisecond))
	if port == client.JoinPort && r.IntN(2) == 0 {
		secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
		if secure.HandshakeContext(ctx) == nil {
			_, _ = secure.Write(r.web(name))
			_, _ = io.Copy(io.Discard, io.LimitReader(secure, int64(r.IntN(1<<20))))
		}
		return
	}
	switch r.IntN(4) {
	case 0:
		_, _ = conn.Write(r.bytes(4000))
	case 1: // the beginning of a ClientHello
		_, _ = conn.Write([]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")[:1+r.IntN(11)])
	default:
		_, _ = conn.Write(r.web(name))
	}
	if r.IntN(3) == 0 { // held open
		_, _ = io.Copy(io.Discard, io.LimitReader(conn, int64(r.IntN(1<<20))))
	}
}
