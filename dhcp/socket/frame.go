package socket

import (
	"encoding/binary"
	"net"
	"net/netip"
)

const (
	etherTypeIPv4 = 0x0800
	etherTypeARP  = 0x0806
	etherTypeIPv6 = 0x86dd
	protoUDP      = 17
	lenEthernet   = 14
	lenIPv4       = 20
	lenIPv6       = 40
	lenUDP        = 8
	lenARP        = 28
)

// UDPFrame is an Ethernet frame around a UDP datagram: the way to reach a
// client that has been given an address and cannot answer ARP for it yet.
func UDPFrame(from, to net.HardwareAddr, source, dest netip.AddrPort, payload []byte) []byte {
	b := make([]byte, 0, lenEthernet+lenIPv4+lenUDP+len(payload))
	return appendUDP(appendEthernet(b, from, to, etherTypeIPv4), source, dest, payload)
}

func appendEthernet(b []byte, from, to net.HardwareAddr, kind uint16) []byte {
	b = append(b, to...)
	b = append(b, from...)
	return binary.BigEndian.AppendUint16(b, kind)
}

// appendUDP appends an IPv4 packet with a UDP datagram.
func appendUDP(b []byte, source, dest netip.AddrPort, payload []byte) []byte {
	ip := len(b)
	b = append(b, 0x45, 0x10) // version 4, 20 bytes; low delay
	b = binary.BigEndian.AppendUint16(b, uint16(lenIPv4+lenUDP+len(payload)))
	b = append(b, 0, 0, 0x40, 0) // no fragment, must not be fragmented
	b = append(b, 64, protoUDP, 0, 0)
	b = append(b, source.Addr().AsSlice()...)
	b = append(b, dest.Addr().AsSlice()...)
	binary.BigEndian.PutUint16(b[ip+10:], checksum(0, b[ip:]))

	udp := len(b)
	b = binary.BigEndian.AppendUint16(b, source.Port())
	b = binary.BigEndian.AppendUint16(b, dest.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(lenUDP+len(payload)))
	b = append(b, 0, 0)
	b = append(b, payload...)
	pseudo := sum(sum(uint32(protoUDP)+uint32(len(b)-udp), source.Addr().AsSlice()), dest.Addr().AsSlice())
	c := checksum(pseudo, b[udp:])
	if c == 0 {
		c = 0xffff // RFC 768: 0 means none
	}
	binary.BigEndian.PutUint16(b[udp+6:], c)
	return b
}

// splitUDP takes an IPv4 packet with a UDP datagram apart; payload shares its
// memory. Checksums are not looked at: virtual interfaces leave them to
// hardware that is not there.
func splitUDP(b []byte) (payload []byte, source, dest netip.AddrPort, ok bool) {
	if len(b) < lenIPv4 || b[0]>>4 != 4 || b[9] != protoUDP {
		return nil, source, dest, false
	}
	header, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if header < lenIPv4 || total > len(b) || total < header+lenUDP {
		return nil, source, dest, false
	}
	udp := b[header:total]
	length := int(binary.BigEndian.Uint16(udp[4:]))
	if length < lenUDP || length > len(udp) {
		return nil, source, dest, false
	}
	source = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[12:16])), binary.BigEndian.Uint16(udp))
	dest = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[16:20])), binary.BigEndian.Uint16(udp[2:]))
	return udp[lenUDP:length], source, dest, true
}

// splitUDP6 is splitUDP for IPv6. Packets with extension headers are passed over:
// no DHCPv6 server sends any.
func splitUDP6(b []byte) (payload []byte, source, dest netip.AddrPort, ok bool) {
	if len(b) < lenIPv6+lenUDP || b[0]>>4 != 6 || b[6] != protoUDP {
		return nil, source, dest, false
	}
	udp := b[lenIPv6:]
	length := int(binary.BigEndian.Uint16(udp[4:]))
	if length < lenUDP || length > len(udp) {
		return nil, source, dest, false
	}
	source = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:24])), binary.BigEndian.Uint16(udp))
	dest = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[24:40])), binary.BigEndian.Uint16(udp[2:]))
	return udp[lenUDP:length], source, dest, true
}

// arpProbe asks who has an address without claiming one (RFC 5227 section
// 2.1.1: sender address 0.0.0.0), so that no cache is changed by asking.
func arpProbe(from net.HardwareAddr, target netip.Addr) []byte {
	everybody := net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	b := appendEthernet(make([]byte, 0, lenEthernet+lenARP), from, everybody, etherTypeARP)
	b = append(b, 0, 1, 8, 0, 6, 4, 0, 1) // Ethernet, IPv4, 6 and 4 bytes, request
	b = append(b, from...)
	b = append(b, 0, 0, 0, 0)
	b = append(b, 0, 0, 0, 0, 0, 0)
	return append(b, target.AsSlice()...)
}

// arpSender is the sender of an ARP packet without its Ethernet header.
func arpSender(b []byte) (net.HardwareAddr, netip.Addr, bool) {
	if len(b) < lenARP || binary.BigEndian.Uint16(b) != 1 || binary.BigEndian.Uint16(b[2:]) != etherTypeIPv4 || b[4] != 6 || b[5] != 4 {
		return nil, netip.Addr{}, false
	}
	return net.HardwareAddr(append([]byte(nil), b[8:14]...)), netip.AddrFrom4([4]byte(b[14:18])), true
}

func sum(s uint32, b []byte) uint32 {
	for ; len(b) > 1; b = b[2:] {
		s += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	return s
}

// checksum is the Internet checksum (RFC 1071), begun with s.
func checksum(s uint32, b []byte) uint16 {
	s = sum(s, b)
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}
