package point

import (
	"net/netip"
	"testing"

	"castpoint/dhcp"
	"castpoint/dhcp/dhcp4"
)

func TestOtherServers(t *testing.T) {
	seen := []dhcp.Sighting{
		{Interface: "eth1", Server: netip.MustParseAddr("192.0.2.2"), What: dhcp.SeenDHCP},
		{Interface: "eth2", Server: netip.MustParseAddr("198.51.100.2"), What: dhcp.SeenDHCP},
		{Interface: "eth1", Server: netip.MustParseAddr("192.0.2.3"), What: dhcp.SeenDHCP},
		{Interface: "eth1", Server: netip.MustParseAddr("192.0.2.4"), What: dhcp.SeenPXE},
	}
	trouble := func(mode dhcp4.Mode) (list []bool) {
		for _, o := range otherServers(seen, mode, false) {
			list = append(list, o.Trouble != "")
		}
		return list
	}
	for mode, want := range map[dhcp4.Mode][4]bool{dhcp4.ModeProxy: {false, false, true, true}, dhcp4.ModeServer: {true, true, true, true}} {
		if got := trouble(mode); [4]bool(got) != want {
			t.Errorf("%s: %v", mode, got)
		}
	}
	six := []dhcp.Sighting{{Interface: "eth1", Server: netip.MustParseAddr("fe80::2"), What: dhcp.SeenDHCP6}}
	for gives, want := range map[bool]bool{true: true, false: false} {
		if got := otherServers(six, dhcp4.ModeServer, gives)[0].Trouble != ""; got != want {
			t.Errorf("DHCPv6 server, pool6 %v: trouble %v", gives, got)
		}
	}
}
