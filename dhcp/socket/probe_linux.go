package socket

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// ProbeARP asks on an interface who has an address, until somebody answers or ctx ends.
func ProbeARP(ctx context.Context, index int, address netip.Addr) (net.HardwareAddr, bool, error) {
	fail := func(err error) (net.HardwareAddr, bool, error) {
		return nil, false, fmt.Errorf("ask by ARP: %w", err)
	}
	i, err := net.InterfaceByIndex(index)
	if err != nil {
		return fail(err)
	}
	if len(i.HardwareAddr) != 6 {
		return fail(errors.New("not an Ethernet interface"))
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(networkOrder(etherTypeARP)))
	if err != nil {
		return fail(err)
	}
	f := os.NewFile(uintptr(fd), "arp")
	defer f.Close()
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(etherTypeARP), Ifindex: index}); err != nil {
		return fail(err)
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := f.SetReadDeadline(deadline); err != nil {
			return fail(err)
		}
	}
	if _, err := f.Write(arpProbe(i.HardwareAddr, address)); err != nil {
		return fail(err)
	}
	for b := make([]byte, 128); ; {
		n, err := f.Read(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, false, nil
		}
		if err != nil {
			return fail(err)
		}
		if n < lenEthernet {
			continue
		}
		if mac, sender, ok := arpSender(b[lenEthernet:n]); ok && sender == address {
			return mac, true, nil
		}
	}
}
