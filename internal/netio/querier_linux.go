package netio

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/ipv4"
)

// igmpQuery is the type of an IGMP membership query (RFC 3376 section 4.1).
const igmpQuery = 0x11

// ListenQueriers opens what hears IGMP queries. It needs CAP_NET_RAW.
func ListenQueriers() (*Queriers, error) {
	conn, err := net.ListenIP("ip4:igmp", nil)
	if err != nil {
		return nil, fmt.Errorf("listen for IGMP: %w", err)
	}
	p := ipv4.NewPacketConn(conn)
	if err := p.SetControlMessage(ipv4.FlagInterface, true); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("listen for IGMP: %w", err)
	}
	return &Queriers{heard: make(map[string]Querier), read: func(buf []byte) (int, int, netip.Addr, error) {
		n, cm, from, err := p.ReadFrom(buf)
		if err != nil || cm == nil {
			return 0, 0, netip.Addr{}, err
		}
		addr, _ := netip.ParseAddr(from.String())
		return n, cm.IfIndex, addr, nil
	}, close: conn.Close}, nil
}

// Querier is who asked on an interface for all groups, and when.
type Querier struct {
	Interface string
	Address   netip.Addr // 0.0.0.0 of a switch that has none (RFC 4541 section 2.1.1)
	Heard     time.Time
}

// Queriers remembers the last querier of each interface.
type Queriers struct {
	read  func([]byte) (n, index int, from netip.Addr, err error)
	close func() error

	mu    sync.Mutex
	heard map[string]Querier
}

// Serve listens until ctx ends, which is no error.
func (q *Queriers) Serve(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { _ = q.close() })()
	buf := make([]byte, 2048)
	for {
		n, index, from, err := q.read(buf)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("listen for IGMP: %w", err)
		}
		// Those for all groups come to 224.0.0.1, which every host listens to.
		if n < 8 || buf[0] != igmpQuery || [4]byte(buf[4:8]) != [4]byte{} {
			continue
		}
		ifi, err := net.InterfaceByIndex(index)
		if err != nil {
			continue // gone
		}
		q.mu.Lock()
		q.heard[ifi.Name] = Querier{ifi.Name, from, time.Now()}
		q.mu.Unlock()
	}
}

// Heard is the last querier on an interface; ok is false when there was none.
func (q *Queriers) Heard(name string) (last Querier, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	last, ok = q.heard[name]
	return last, ok
}

// Close gives up what was opened and is not served.
func (q *Queriers) Close() error { return q.close() }
