package socket

import (
	"net/netip"
	"testing"

	"golang.org/x/net/bpf"
)

// The filter runs in a virtual machine here as it does in the kernel.
func TestUDPFilter(t *testing.T) {
	vm, err := bpf.NewVM(udpFilter(67))
	if err != nil {
		t.Fatal(err)
	}
	from := netip.MustParseAddrPort("0.0.0.0:68")
	packet := func(to string, change func([]byte)) []byte {
		b := appendUDP(nil, from, netip.MustParseAddrPort(to), []byte("x"))
		if change != nil {
			change(b)
		}
		return b
	}
	options := append([]byte{0x46}, packet("10.77.0.1:67", nil)[1:20]...)
	options = append(append(options, 0, 0, 0, 0), packet("10.77.0.1:67", nil)[20:]...)
	for name, c := range map[string]struct {
		b    []byte
		pass bool
	}{
		"to the port":        {packet("10.77.0.1:67", nil), true},
		"with IP options":    {options, true},
		"to another":         {packet("10.77.0.1:68", nil), false},
		"TCP":                {packet("10.77.0.1:67", func(b []byte) { b[9] = 6 }), false},
		"a later fragment":   {packet("10.77.0.1:67", func(b []byte) { b[7] = 1 }), false},
		"the first fragment": {packet("10.77.0.1:67", func(b []byte) { b[6] = 0x20 }), false},
	} {
		n, err := vm.Run(c.b)
		if err != nil || (n > 0) != c.pass {
			t.Errorf("%s: passes %d bytes, %v", name, n, err)
		}
	}
}

func TestUDPFilter6(t *testing.T) {
	vm, err := bpf.NewVM(udpFilter6(546))
	if err != nil {
		t.Fatal(err)
	}
	packet := make([]byte, lenIPv6+lenUDP+3)
	packet[0], packet[6], packet[lenIPv6], packet[lenIPv6+2], packet[lenIPv6+3], packet[lenIPv6+5] = 0x60, protoUDP, 2, 2, 34, lenUDP+3
	for name, c := range map[string]struct {
		change func([]byte)
		pass   bool
	}{
		"to the port": {func([]byte) {}, true},
		"to another":  {func(b []byte) { b[lenIPv6+3] = 35 }, false},
		"TCP":         {func(b []byte) { b[6] = 6 }, false},
	} {
		b := append([]byte(nil), packet...)
		c.change(b)
		n, err := vm.Run(b)
		if err != nil || (n > 0) != c.pass {
			t.Errorf("%s: passes %d bytes, %v", name, n, err)
		}
		payload, _, dest, ok := splitUDP6(b)
		if c.pass && (!ok || len(payload) != 3 || dest.Port() != 546) {
			t.Errorf("%s: payload %x to %s, %v", name, payload, dest, ok)
		}
	}
}
