// Package netio holds the sockets that move many datagrams: multicast sending
// and receiving in batches, with UDP segmentation offload (GSO) on the way out
// and receive offload (GRO) on the way in where the kernel has them, and plain
// datagrams everywhere else.
//
// Offload is the largest single saving on this path: one call hands the kernel
// up to 64 KiB that it cuts into datagrams just above the device, and one call
// returns as much. Both are probed when the socket is opened, and sending falls
// back for good when the kernel refuses at run time.
//
// Socket and Poller are for the other pattern, many peers that each wait for the
// answer to their last datagram: one thread that waits for all sockets at once.
//
// On Windows a receiver has a socket of its own, without the net package's
// poller: it reads on a thread that blocks in the system, and it also runs under
// Wine, where the net package cannot open a UDP socket.
package netio

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Tuning.
const (
	// sendBuffer bounds what waits below a sender, in bytes as the kernel counts
	// them. It is small on purpose: what is queued here is late for the pacer,
	// and more than a network card's queue holds would be dropped silently.
	sendBuffer = 512 << 10
	// greedyBuffer fills the queue of most cards, which then drops others' packets too.
	greedyBuffer = 4 << 20
	// receiveBuffer holds about 40 ms of a gigabit link while the reader is busy.
	receiveBuffer = 8 << 20
	// maxDatagram is the largest UDP payload over IPv4, in bytes; also the most
	// that one segmented send may carry.
	maxDatagram = 65507
	// ipv6Header is the length of an IPv6 header, which counts for IPv6's limit.
	ipv6Header = 40
	// maxSegments is the kernel's UDP_MAX_SEGMENTS before Linux 6.9; the segments
	// of one send also have to fit into maxDatagram.
	maxSegments = 64
)

// ErrNoAddress is returned when an interface has no address of the family that
// is needed.
var ErrNoAddress = errors.New("interface has no usable address")

// InterfaceFor finds the interface whose address a datagram to remote would
// carry, and that address.
func InterfaceFor(remote netip.Addr) (*net.Interface, netip.Addr, error) {
	local, err := sourceFor(remote)
	if err != nil {
		return nil, netip.Addr{}, fmt.Errorf("find the route to %s: %w", remote, err)
	}
	all, err := net.Interfaces()
	if err != nil {
		return nil, netip.Addr{}, fmt.Errorf("list interfaces: %w", err)
	}
	for i := range all {
		for _, a := range addrsOf(&all[i]) {
			if a == local.WithZone("") {
				return &all[i], local, nil
			}
		}
	}
	return nil, netip.Addr{}, fmt.Errorf("no interface has the address %s that leads to %s", local, remote)
}

// GroupReceiverConfig says which group to join and where reports go.
type GroupReceiverConfig struct {
	// Interface is the name of the interface to join on; "" takes the one that
	// leads to Feedback.
	Interface string
	Group     netip.AddrPort
	Feedback  netip.AddrPort
	// SampleArrivals lets most datagrams come without the time when they arrived, as
	// long as some of each 5 ms have it: it saves a twentieth of the time of reading.
	SampleArrivals bool
}

// joinInterface is the interface to join the group on.
func (cfg *GroupReceiverConfig) joinInterface() (ifi *net.Interface, err error) {
	if cfg.Interface != "" {
		if ifi, err = net.InterfaceByName(cfg.Interface); err != nil {
			err = fmt.Errorf("interface %s: %w", cfg.Interface, err)
		}
	} else {
		ifi, _, err = InterfaceFor(cfg.Feedback.Addr())
	}
	if err != nil {
		return nil, fmt.Errorf("join group %s: %w", cfg.Group.Addr(), err)
	}
	return ifi, nil
}

// AddressOn returns the interface's first address of the same family as like; a
// link-local one only when there is no other.
func AddressOn(ifi *net.Interface, like netip.Addr) (found netip.Addr, err error) {
	for _, a := range addrsOf(ifi) {
		switch {
		case a.Is4() != like.Is4():
		case !a.IsLinkLocalUnicast():
			return a, nil
		case !found.IsValid():
			found = a
		}
	}
	if !found.IsValid() {
		return found, fmt.Errorf("interface %s: %w", ifi.Name, ErrNoAddress)
	}
	if found.Is6() {
		found = found.WithZone(ifi.Name)
	}
	return found, nil
}

// LinkSpeed is the speed of an interface in bits per second as its driver tells it,
// 0 when it does not.
func LinkSpeed(name string) int64 {
	text, err := os.ReadFile(filepath.Join("/sys/class/net", filepath.Base(name), "speed")) // Linux, in Mbit/s
	if err != nil {
		return 0
	}
	mbit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 32)
	if err != nil || mbit <= 0 {
		return 0 // -1 is unknown
	}
	return mbit * 1_000_000
}

// SentBytes is how many bytes have left by an interface since it exists; false
// when the system does not say.
func SentBytes(name string) (uint64, bool) {
	text, err := os.ReadFile(filepath.Join("/sys/class/net", filepath.Base(name), "statistics", "tx_bytes")) // Linux
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil
}

func addrsOf(ifi *net.Interface) []netip.Addr {
	list, err := ifi.Addrs()
	if err != nil {
		return nil
	}
	var out []netip.Addr
	for _, a := range list {
		if p, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(p.IP); ok {
				out = append(out, ip.Unmap())
			}
		}
	}
	return out
}
