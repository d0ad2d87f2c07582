package dhcp

import (
	"encoding/binary"
	"net"
	"net/netip"
)

const (
	etherTypeIPv4 = 0x0800
	etherTypeARP  = 0x0806
	protoUDP      = 17
	lenEthernet   = 14
	lenIPv4       = 20
	lenUDP        = 8
)

// udpFrame is an Ethernet frame around a UDP datagram: the way to reach a
// client that has been given an address and cannot answer ARP for it yet.
func udpFrame(from, to net.HardwareAddr, source, dest netip.AddrPort, payload []byte) []byte {
	b := make([]byte, 0, lenEthernet+lenIPv4+lenUDP+len(payload))
	b = append(b, to...)
	b = append(b, from...)
	b = binary.BigEndian.AppendUint16(b, etherTypeIPv4)

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
