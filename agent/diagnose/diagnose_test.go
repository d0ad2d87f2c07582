package diagnose

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"castpoint/multicast"
)

const igmpText = "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n" +
	"1\tlo        :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n" +
	"2\teth0      :     2      V2\n\t\t\t\t0143C0EF     1 0:00000000\t\t1\n\t\t\t\t010000E0     1 0:00000000\t\t0\n" +
	"3\teth00     :     1      V3\n\t\t\t\t0243C0EF     1 0:00000000\t\t0\n"

func TestParseIGMP(t *testing.T) {
	version, groups := parseIGMP(igmpText, "eth0")
	want := []netip.Addr{netip.MustParseAddr("239.192.67.1"), netip.MustParseAddr("224.0.0.1")}
	if version != "V2" || !slices.Equal(groups, want) {
		t.Error(version, groups)
	}
	if version, groups := parseIGMP(igmpText, "eth1"); version != "" || groups != nil {
		t.Error(version, groups)
	}
}

func FuzzParseIGMP(f *testing.F) {
	f.Add(igmpText)
	f.Add("2\teth0")
	f.Add("\t\t\t\tzz\n\n2 eth0: 1 V3\n\t")
	f.Fuzz(func(_ *testing.T, text string) { parseIGMP(text, "eth0") })
}

func TestExplainSilence(t *testing.T) {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	p := multicast.Params{Group: netip.MustParseAddrPort("239.192.67.1:7800"), Feedback: netip.MustParseAddrPort("127.0.0.1:7800")}
	text := strings.Join(explainSilence(lo, p, facts{igmp: strings.ReplaceAll(igmpText, "eth0 ", "lo   "), rpFilter: "1", rpAll: "0", firewall: "nftables"}, 5*time.Second), "\n")
	for _, part := range []string{"waited 5s on interface lo (127.0.0.1)", "239.192.67.1 port 7800", "rp_filter is 1", "nftables", "querier", "PIM"} {
		if !strings.Contains(text, part) {
			t.Errorf("does not say %q:\n%s", part, text)
		}
	}
	text = strings.Join(explainSilence(lo, p, facts{igmp: "1\tlo        :     1      V3\n", rpFilter: "2", rpAll: "1"}, time.Second), "\n")
	if !strings.Contains(text, "is not joined on lo") || strings.Contains(text, "rp_filter") {
		t.Error(text)
	}
}
