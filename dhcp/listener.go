package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"castpoint/dhcp/dhcp6"
	"castpoint/dhcp/socket"
)

// link is one interface castpoint answers on.
type link struct {
	name string
	// state is read for each packet and replaced when the interface changes.
	state atomic.Pointer[linkState]
}

type linkState struct {
	index    int
	mac      net.HardwareAddr
	networks []netip.Prefix // own IPv4 addresses with their networks
	// networks6 are own IPv6 addresses, link-local ones included.
	networks6 []netip.Prefix
}

// refresh reads the interface's index and addresses again.
func (l *link) refresh() error {
	i, err := net.InterfaceByName(l.name)
	if err != nil {
		return fmt.Errorf("interface %s: %w", l.name, err)
	}
	addrs, err := i.Addrs()
	if err != nil {
		return fmt.Errorf("addresses of interface %s: %w", l.name, err)
	}
	state := &linkState{index: i.Index, mac: i.HardwareAddr}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP.To4()); ok {
				ones, _ := n.Mask.Size()
				state.networks = append(state.networks, netip.PrefixFrom(ip, ones))
			} else if ip, ok := netip.AddrFromSlice(n.IP); ok {
				ones, _ := n.Mask.Size()
				state.networks6 = append(state.networks6, netip.PrefixFrom(ip, ones))
			}
		}
	}
	l.state.Store(state)
	return nil
}

// own is the address that answers a request: the one it was sent to, else the
// one in the network of the client's or relay's address, else the first.
func (s *linkState) own(sentTo netip.Addr, near ...netip.Addr) netip.Prefix {
	for _, n := range s.networks {
		if n.Addr() == sentTo {
			return n
		}
	}
	for _, a := range near {
		for _, n := range s.networks {
			if a.IsValid() && n.Contains(a) {
				return n
			}
		}
	}
	if len(s.networks) > 0 {
		return s.networks[0]
	}
	return netip.Prefix{}
}

// broadcastLinks are the names of the interfaces that are up, can broadcast and
// have an IPv4 address.
func broadcastLinks() ([]string, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	var names []string
	for _, i := range all {
		const want = net.FlagUp | net.FlagBroadcast
		if i.Flags&want != want || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		l := link{name: i.Name}
		if l.refresh() == nil && len(l.state.Load().networks) > 0 {
			names = append(names, i.Name)
		}
	}
	if len(names) == 0 {
		return nil, errors.New("no interface is up with an IPv4 address; name one in the settings")
	}
	slices.Sort(names)
	return names, nil
}

// listener is one socket: an interface and a port. It is opened again when the
// interface goes and comes back under another index.
type listener struct {
	link *link
	port uint16
	tap  bool // beside the owner of the port
	v6   bool

	mu     sync.Mutex
	conn   socket.Transport
	index  int // the interface's index when the socket was opened
	closed bool
}

func (l *listener) open(ctx context.Context) error {
	var conn socket.Transport
	var err error
	switch {
	case l.v6 && l.tap:
		conn, err = socket.OpenRaw6(ctx, l.link.name, l.port, dhcp6.AllServers, dhcp6.AllSiteServers)
	case l.v6:
		conn, err = socket.OpenUDP6(ctx, l.link.name, l.port, dhcp6.AllServers, dhcp6.AllSiteServers)
	case l.tap:
		conn, err = socket.OpenTap(l.link.name, l.port, true)
	default:
		conn, err = socket.OpenUDP(ctx, l.link.name, l.port)
	}
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		_ = conn.Close()
		return net.ErrClosed
	}
	l.conn, l.index = conn, l.link.state.Load().index
	return nil
}

// current is the open socket, nil when there is none.
func (l *listener) current() socket.Transport {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conn
}

// drop closes the socket so that it is opened again.
func (l *listener) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil {
		_ = l.conn.Close()
		l.conn = nil
	}
}

// stale says whether the interface is another one than the socket is bound to.
func (l *listener) stale() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conn != nil && l.index != l.link.state.Load().index
}

func (l *listener) close() {
	l.drop()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}
