package netio

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// winsockVersion is 2.2, what all Windows since 95 have.
const winsockVersion = 0x0202

// openSocket makes a UDP socket. Each needs a closeSocket.
func openSocket(family int32) (windows.Handle, error) {
	var data windows.WSAData
	if err := windows.WSAStartup(winsockVersion, &data); err != nil {
		return windows.InvalidHandle, fmt.Errorf("start Winsock: %w", err)
	}
	s, err := windows.WSASocket(family, windows.SOCK_DGRAM, windows.IPPROTO_UDP, nil, 0,
		windows.WSA_FLAG_OVERLAPPED|windows.WSA_FLAG_NO_HANDLE_INHERIT)
	if err != nil {
		_ = windows.WSACleanup()
		return windows.InvalidHandle, os.NewSyscallError("WSASocket", err)
	}
	return s, nil
}

func closeSocket(s windows.Handle) error {
	return firstError(os.NewSyscallError("closesocket", windows.Closesocket(s)), windows.WSACleanup())
}

// socketFamily is the family of an address, and how the system wants it.
func socketFamily(at netip.AddrPort) (int32, windows.Sockaddr) {
	a := at.Addr().Unmap()
	if a.Is4() {
		return windows.AF_INET, &windows.SockaddrInet4{Port: int(at.Port()), Addr: a.As4()}
	}
	return windows.AF_INET6, &windows.SockaddrInet6{Port: int(at.Port()), Addr: a.As16(), ZoneId: zoneIndex(a.Zone())}
}

// zoneIndex is the interface of a link-local address.
func zoneIndex(zone string) uint32 {
	if ifi, err := net.InterfaceByName(zone); err == nil {
		return uint32(ifi.Index)
	}
	n, _ := strconv.ParseUint(zone, 10, 32) // "" is no zone
	return uint32(n)
}

// connectSocket opens a socket that sends to one address.
func connectSocket(to netip.AddrPort) (windows.Handle, error) {
	family, at := socketFamily(to)
	s, err := openSocket(family)
	if err != nil {
		return s, err
	}
	if err := windows.Connect(s, at); err != nil {
		_ = closeSocket(s)
		return windows.InvalidHandle, os.NewSyscallError("connect", err)
	}
	return s, nil
}

// sendConnected sends one datagram over a connected socket. An answer of ICMP
// to an earlier one shows here, and says nothing about this one.
func sendConnected(s windows.Handle, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	buf := windows.WSABuf{Len: uint32(len(b)), Buf: unsafe.SliceData(b)}
	var sent uint32
	return os.NewSyscallError("WSASend", windows.WSASend(s, &buf, 1, &sent, 0, nil, nil))
}

// sourceFor is the address that a datagram to remote would carry. Connecting a
// UDP socket sends nothing; it only asks for the route.
func sourceFor(remote netip.Addr) (netip.Addr, error) {
	s, err := connectSocket(netip.AddrPortFrom(remote, 9))
	if err != nil {
		return netip.Addr{}, err
	}
	defer func() { _ = closeSocket(s) }()
	at, err := windows.Getsockname(s)
	if err != nil {
		return netip.Addr{}, os.NewSyscallError("getsockname", err)
	}
	switch at := at.(type) {
	case *windows.SockaddrInet4:
		return netip.AddrFrom4(at.Addr), nil
	case *windows.SockaddrInet6:
		a := netip.AddrFrom16(at.Addr).Unmap()
		if at.ZoneId != 0 {
			a = a.WithZone(strconv.FormatUint(uint64(at.ZoneId), 10))
		}
		return a, nil
	}
	return netip.Addr{}, syscall.EAFNOSUPPORT
}
