package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// openUDP opens a socket that hears and speaks on one interface only, so that
// replies leave by it whatever the routing table says, and another DHCP server
// may serve other interfaces of the host.
func openUDP(ctx context.Context, name string, port uint16) (*ipv4.PacketConn, error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var bind error
		err := raw.Control(func(fd uintptr) {
			bind = unix.SetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE, name)
			// More room for a classroom that is switched on at once; the kernel
			// caps it, which is no failure.
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<20)
		})
		return errors.Join(err, bind)
	}}
	c, err := config.ListenPacket(ctx, "udp4", fmt.Sprintf("0.0.0.0:%d", port))
	if err != nil {
		return nil, fmt.Errorf("listen on UDP port %d of interface %s: %w%s", port, name, err, bindAdvice(err))
	}
	p := ipv4.NewPacketConn(c)
	if err := p.SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("ask for control messages on UDP port %d of interface %s: %w", port, name, err)
	}
	return p, nil
}

func bindAdvice(err error) string {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return " (another DHCP or PXE server runs on this host: stop it, bind it to other interfaces, or choose mode off)"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return " (run as root, or give the binary CAP_NET_BIND_SERVICE and CAP_NET_RAW)"
	case errors.Is(err, unix.ENODEV):
		return " (no such interface)"
	}
	return ""
}

// frames sends and receives whole Ethernet frames.
type frames struct{ fd int }

// openFrames opens a packet socket that receives nothing until bound; it needs
// CAP_NET_RAW.
func openFrames() (*frames, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open packet socket: %w", err)
	}
	return &frames{fd}, nil
}

// send puts a frame on the interface with the given index.
func (f *frames) send(index int, frame []byte) error {
	to := unix.SockaddrLinklayer{Ifindex: index, Halen: 6}
	copy(to.Addr[:], frame[:6])
	return unix.Sendto(f.fd, frame, 0, &to)
}

func (f *frames) close() error { return unix.Close(f.fd) }
