package socket

import (
	"net"
	"net/netip"
	"testing"
)

// FuzzSplitUDP: frames come from the network without the kernel's checks.
func FuzzSplitUDP(f *testing.F) {
	from, to := netip.MustParseAddrPort("10.77.0.2:67"), netip.MustParseAddrPort("255.255.255.255:68")
	f.Add(appendUDP(nil, from, to, []byte("payload")))
	f.Add([]byte{0x4f})
	f.Add(append([]byte{0x60, 0, 0, 0, 0, 15, protoUDP, 255}, append(make([]byte, 32), 2, 34, 2, 35, 0, 15, 0, 0, 1, 2, 3, 4, 5, 6, 7)...))
	f.Add(arpProbe(net.HardwareAddr{2, 0, 0, 0, 0, 1}, to.Addr())[lenEthernet:])
	f.Fuzz(func(t *testing.T, b []byte) {
		payload, _, _, ok := splitUDP(b)
		if ok && len(payload) > len(b)-lenIPv4-lenUDP {
			t.Fatalf("%d bytes of payload from %d", len(payload), len(b))
		}
		if payload, _, _, ok := splitUDP6(b); ok && len(payload) > len(b)-lenIPv6-lenUDP {
			t.Fatalf("%d bytes of payload from %d", len(payload), len(b))
		}
		arpSender(b)
	})
}
