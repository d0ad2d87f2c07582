package diagnose

import (
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
)

// igmpQuery is the type of an IGMP membership query (RFC 3376 section 4.1).
const igmpQuery = 0x11

// ListenQueries counts the IGMP queries that arrive, in a goroutine of its own, until
// the function that it returns is called: known is false when this process may not
// look, from is the last querier. Only those for all groups have it: they come to
// 224.0.0.1, which every host listens to.
func ListenQueries(ifi *net.Interface) (end func() (known bool, count int, from string)) {
	conn, err := net.ListenIP("ip4:igmp", nil)
	if err != nil {
		return func() (bool, int, string) { return false, 0, "" }
	}
	var count int
	var from string
	var running sync.WaitGroup
	running.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, addr, err := conn.ReadFromIP(buf)
			if err != nil {
				return
			}
			if n >= 8 && buf[0] == igmpQuery && onLink(ifi, addr.IP) {
				count, from = count+1, addr.IP.String()
			}
		}
	})
	return func() (bool, int, string) {
		_ = conn.Close()
		running.Wait()
		return true, count, from
	}
}

// onLink says whether a querier is on the interface's network. Snooping switches ask
// as 0.0.0.0 (RFC 4541 section 2.1.1).
func onLink(ifi *net.Interface, ip net.IP) bool {
	if ip.IsUnspecified() {
		return true
	}
	all, err := ifi.Addrs()
	if err != nil {
		return false
	}
	for _, a := range all {
		if p, ok := a.(*net.IPNet); ok && p.Contains(ip) {
			return true
		}
	}
	return false
}

// UDPDrops is how many datagrams this machine had no room for: RcvbufErrors of
// /proc/net/snmp. It counts all sockets.
func UDPDrops() int {
	b, err := os.ReadFile("/proc/net/snmp")
	if err != nil {
		return 0
	}
	var names []string
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] != "Udp:" {
			continue
		}
		if names == nil {
			names = f
			continue
		}
		for i, name := range names {
			if name == "RcvbufErrors" && i < len(f) {
				n, _ := strconv.Atoi(f[i])
				return n
			}
		}
	}
	return 0
}
