package diagnose

import (
	"os"
	"strings"
)

// systemFacts reads /proc; what cannot be read is not known.
func systemFacts(ifi string) facts {
	read := func(path string) string {
		b, err := os.ReadFile(path)
		if err != nil {
			return ""
		}
		return strings.TrimRight(string(b), "\n")
	}
	f := facts{
		igmp:     read("/proc/net/igmp"),
		rpFilter: read("/proc/sys/net/ipv4/conf/" + ifi + "/rp_filter"),
		rpAll:    read("/proc/sys/net/ipv4/conf/all/rp_filter"),
	}
	for line := range strings.Lines(read("/proc/modules")) {
		switch name, _, _ := strings.Cut(line, " "); name {
		case "nf_tables":
			f.firewall = "nftables"
		case "ip_tables":
			if f.firewall == "" {
				f.firewall = "iptables"
			}
		}
	}
	return f
}
