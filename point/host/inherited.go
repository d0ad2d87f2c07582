package host

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"
)

// Inherited are the sockets that systemd has bound for castpoint (sd_listen_fds(3)).
// A socket that stays bound while castpoint restarts refuses nobody. The ports of
// DHCP are never among them: castpoint opens these again when an interface has
// been away.
type Inherited struct {
	tcp []net.Listener
	udp []*net.UDPConn
}

// InheritSockets takes what systemd has bound; without systemd, nothing.
func InheritSockets() (*Inherited, error) {
	return sortSockets(activation.Files(true))
}

func sortSockets(files []*os.File) (*Inherited, error) {
	var in Inherited
	for _, f := range files {
		l, err := net.FileListener(f)
		if err == nil {
			in.tcp = append(in.tcp, l)
		} else if c, packetErr := net.FilePacketConn(f); packetErr == nil {
			if udp, ok := c.(*net.UDPConn); ok {
				in.udp = append(in.udp, udp)
			} else {
				err = errors.Join(fmt.Errorf("socket %s of systemd is of no kind that castpoint serves", f.Name()), c.Close())
				in.Close()
				_ = f.Close()
				return nil, err
			}
		} else {
			in.Close()
			_ = f.Close()
			return nil, fmt.Errorf("socket %s of systemd: %w", f.Name(), err)
		}
		_ = f.Close() // the connections have descriptors of their own
	}
	return &in, nil
}

// Listener takes the socket of a TCP address, host:port as net.Listen takes it;
// nil if there is none.
func (in *Inherited) Listener(address string) net.Listener {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil
	}
	i := slices.IndexFunc(in.tcp, func(l net.Listener) bool {
		a, err := netip.ParseAddrPort(l.Addr().String())
		if err != nil || fmt.Sprint(a.Port()) != port {
			return false
		}
		wanted, err := netip.ParseAddr(host)
		if err != nil {
			return a.Addr().IsUnspecified() // "" is every address
		}
		return wanted.Unmap() == a.Addr().Unmap() || wanted.IsUnspecified() && a.Addr().IsUnspecified()
	})
	if i < 0 {
		return nil
	}
	l := in.tcp[i]
	in.tcp = slices.Delete(in.tcp, i, i+1)
	return l
}

// Packets takes the socket of a UDP port that is bound to an interface, for one
// family of addresses; nil if there is none.
func (in *Inherited) Packets(address netip.AddrPort, device string) *net.UDPConn {
	i := slices.IndexFunc(in.udp, func(c *net.UDPConn) bool {
		a := c.LocalAddr().(*net.UDPAddr).AddrPort()
		return a.Port() == address.Port() && a.Addr().Is4() == address.Addr().Is4() && boundDevice(c) == device
	})
	if i < 0 {
		return nil
	}
	c := in.udp[i]
	in.udp = slices.Delete(in.udp, i, i+1)
	return c
}

// Unused names what nothing has taken: a port in castpoint.socket that the
// settings do not have would otherwise be bound and never answered.
func (in *Inherited) Unused() []Obstacle {
	var list []Obstacle
	const why = "systemd has bound it for castpoint, and no setting names it"
	for _, l := range in.tcp {
		list = append(list, Obstacle{What: "socket " + l.Addr().String(), Why: why,
			Out: "change castpoint.socket, or the settings http, https, join or admin"})
	}
	for _, c := range in.udp {
		list = append(list, Obstacle{What: "UDP socket " + c.LocalAddr().String(), Why: why,
			Out: "it can be TFTP's port 69 only, with BindToDevice= naming an interface that castpoint serves"})
	}
	return list
}

// Close gives up what nothing has taken.
func (in *Inherited) Close() {
	for _, l := range in.tcp {
		_ = l.Close()
	}
	for _, c := range in.udp {
		_ = c.Close()
	}
}

// boundDevice is the interface that a socket is bound to, "" for none.
func boundDevice(c *net.UDPConn) (name string) {
	raw, err := c.SyscallConn()
	if err != nil {
		return ""
	}
	_ = raw.Control(func(fd uintptr) {
		name, _ = unix.GetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE)
	})
	return name
}
