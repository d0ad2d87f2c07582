package socket

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
)

func TestFrameOfReply(t *testing.T) {
	payload := []byte("an odd number of b.")
	source, dest := netip.MustParseAddrPort("10.77.0.1:67"), netip.MustParseAddrPort("10.77.0.100:68")
	f := UDPFrame(net.HardwareAddr{2, 0, 0, 0, 0, 1}, net.HardwareAddr{2, 0, 0, 0, 0, 2}, source, dest, payload)
	if !bytes.Equal(f[:6], net.HardwareAddr{2, 0, 0, 0, 0, 2}) || !bytes.Equal(f[6:12], net.HardwareAddr{2, 0, 0, 0, 0, 1}) || binary.BigEndian.Uint16(f[12:]) != 0x0800 {
		t.Errorf("Ethernet header %x", f[:14])
	}
	// A correct Internet checksum sums up to all ones.
	ip, udp := f[14:34], f[34:]
	if c := checksum(0, ip); c != 0 {
		t.Errorf("IP checksum is off by %04x", c)
	}
	pseudo := append(append([]byte{}, ip[12:20]...), 0, 17, udp[4], udp[5])
	if c := checksum(sum(0, pseudo), udp); c != 0 {
		t.Errorf("UDP checksum is off by %04x", c)
	}
	got, s, d, ok := splitUDP(f[14:])
	if !ok || s != source || d != dest || !bytes.Equal(got, payload) {
		t.Errorf("read back %q from %v to %v", got, s, d)
	}
}

func TestARPProbe(t *testing.T) {
	target := netip.AddrFrom4([4]byte{192, 0, 2, 10})
	b := arpProbe(net.HardwareAddr{2, 0, 0, 0, 0, 1}, target)
	if len(b) != 42 || !bytes.Equal(b[28:32], make([]byte, 4)) || !bytes.Equal(b[38:42], target.AsSlice()) {
		t.Errorf("probe %x: wants sender 0.0.0.0 (RFC 5227)", b)
	}
	mac, a, ok := arpSender(b[14:])
	if !ok || !bytes.Equal(mac, net.HardwareAddr{2, 0, 0, 0, 0, 1}) || a.String() != "0.0.0.0" {
		t.Errorf("sender %s %s", mac, a)
	}
}
