package host

import (
	"bufio"
	"net"
	"net/netip"
	"os"
	"strings"
)

// maxNeighbours bounds what is read of the kernel's table.
const maxNeighbours = 16384

// Neighbours reads the IPv4 neighbours of Linux; elsewhere there are none.
func Neighbours(path string) map[netip.Addr]string {
	found := make(map[netip.Addr]string)
	f, err := os.Open(path)
	if err != nil {
		return found
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan() && len(found) < maxNeighbours; {
		// IP address, HW type, flags, HW address, mask, device
		cells := strings.Fields(lines.Text())
		if len(cells) < 6 || cells[3] == "00:00:00:00:00:00" {
			continue
		}
		addr, err := netip.ParseAddr(cells[0])
		if mac, macErr := net.ParseMAC(cells[3]); err == nil && macErr == nil {
			found[addr] = mac.String()
		}
	}
	return found
}
