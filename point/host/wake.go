package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// wakePort is where Wake-on-LAN packets go: cards look at the content only, and
// nobody answers there (discard).
const wakePort = 9

// wakeTimes is how many packets a card is sent at once on each network: nobody says
// that one has arrived.
const wakeTimes = 3

// wakePacket is six bytes 0xff and sixteen times the address (AMD's Magic Packet
// Technology, publication 20213).
func wakePacket(mac net.HardwareAddr) []byte {
	return append(bytes.Repeat([]byte{0xff}, 6), bytes.Repeat(mac, 16)...)
}

// SendWake broadcasts a packet on the networks of interfaces, of all without names.
func SendWake(interfaces []string, mac net.HardwareAddr) error {
	list, err := net.Interfaces()
	if err != nil {
		return err
	}
	sent, errs := 0, []error(nil)
	for _, i := range list {
		if len(interfaces) > 0 && !slices.Contains(interfaces, i.Name) || i.Flags&net.FlagUp == 0 || i.Flags&net.FlagBroadcast == 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, a := range addrs {
			n, ok := a.(*net.IPNet)
			if !ok || n.IP.To4() == nil {
				continue
			}
			if err := sendWakeFrom(n, mac); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", i.Name, err))
				continue
			}
			sent++
		}
	}
	if sent == 0 {
		return errors.Join(append(errs, errors.New("no network took the packet"))...)
	}
	return nil
}

// sendWakeFrom broadcasts on the network of one address of this host.
func sendWakeFrom(n *net.IPNet, mac net.HardwareAddr) error {
	ip, mask := n.IP.To4(), n.Mask
	last := make(net.IP, len(ip))
	for i := range ip {
		last[i] = ip[i] | ^mask[len(mask)-len(ip)+i]
	}
	from := netip.AddrPortFrom(netip.AddrFrom4([4]byte(ip)), 0)
	to := netip.AddrPortFrom(netip.AddrFrom4([4]byte(last)), wakePort)
	d := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(from)}
	conn, err := d.DialContext(context.Background(), "udp4", to.String())
	if err != nil {
		return err
	}
	for range wakeTimes {
		if _, err = conn.Write(wakePacket(mac)); err != nil {
			break
		}
	}
	return errors.Join(err, conn.Close())
}
