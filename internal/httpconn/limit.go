package httpconn

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Limit is an http.Server.ConnState that keeps a server to so many connections, in
// all and of one address; -1 is no limit. Of IPv6 a /64 has half of all at most: a host
// has as many addresses of it as it likes, and so have all the machines of a room. A
// connection beyond these is closed, or takes the place of the one that has been idle for
// longest. It counts what net/http says about connections, so the limits hold for every
// listener that the server is given.
func Limit(inAll, perClient int, log *zap.Logger) func(net.Conn, http.ConnState) {
	t := &connTable{max: inAll, perClient: perClient, perNetwork: -1, log: log, conns: make(map[net.Conn]*connEntry), clients: make(map[netip.Prefix]int)}
	if inAll > 0 {
		t.perNetwork = max(inAll/2, perClient)
	}
	return t.change
}

type connTable struct {
	max, perClient, perNetwork int // -1: no limit
	log                        *zap.Logger

	mu      sync.Mutex
	conns   map[net.Conn]*connEntry
	clients map[netip.Prefix]int // addresses, and the /64 of IPv6
	idles   uint64               // how often a connection has become idle
	warned  time.Time
}

type connEntry struct {
	client, network netip.Prefix
	idle            uint64 // which idle it was of all; 0 while it is in use. Clocks may stand still between two.
}

// warnEvery is how often the log says that connections are refused.
const warnEvery = 10 * time.Second

// change is http.Server.ConnState. net/http calls it with StateNew before it
// starts the connection's goroutine; a connection closed there ends at its
// first read.
func (t *connTable) change(c net.Conn, state http.ConnState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch state {
	case http.StateNew:
		t.admit(c)
	case http.StateActive:
		if e := t.conns[c]; e != nil {
			e.idle = 0
		}
	case http.StateIdle:
		if e := t.conns[c]; e != nil {
			t.idles++
			e.idle = t.idles
		}
	case http.StateClosed, http.StateHijacked:
		t.forget(c)
	}
}

// admit books a new connection or closes it. t.mu is held.
func (t *connTable) admit(c net.Conn) {
	client, network := clientOf(c)
	if t.perClient >= 0 && t.clients[client] >= t.perClient {
		t.refuse(c, client, "too many connections of one client")
		return
	}
	if t.perNetwork >= 0 && network.IsValid() && t.clients[network] >= t.perNetwork {
		t.refuse(c, network, "too many connections of one network")
		return
	}
	if t.max >= 0 && len(t.conns) >= t.max {
		old := t.longestIdle()
		if old == nil {
			t.refuse(c, client, "too many connections")
			return
		}
		t.forget(old)
		_ = old.Close() // its goroutine finds out at its read
	}
	t.conns[c] = &connEntry{client: client, network: network}
	t.clients[client]++
	if network.IsValid() {
		t.clients[network]++
	}
}

func (t *connTable) refuse(c net.Conn, of netip.Prefix, why string) {
	_ = c.Close()
	if now := time.Now(); now.Sub(t.warned) >= warnEvery {
		t.warned = now
		t.log.Warn("connection refused", zap.String("reason", why), zap.String("peer", peer(of)),
			zap.Int("connections", len(t.conns)), zap.Int("of_peer", t.clients[of]))
	}
}

func (t *connTable) forget(c net.Conn) {
	e := t.conns[c]
	if e == nil {
		return
	}
	delete(t.conns, c)
	for _, of := range []netip.Prefix{e.client, e.network} {
		if t.clients[of]--; t.clients[of] <= 0 {
			delete(t.clients, of)
		}
	}
}

func (t *connTable) longestIdle() net.Conn {
	var found net.Conn
	var first uint64
	for c, e := range t.conns {
		if e.idle != 0 && (found == nil || e.idle < first) {
			found, first = c, e.idle
		}
	}
	return found
}

// clientOf is what a connection's limits go by: its address, and of IPv6 the /64 of it.
// A link-local one has no network: that is every host of a link.
func clientOf(c net.Conn) (client, network netip.Prefix) {
	ap, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Prefix{}, netip.Prefix{}
	}
	a := ap.Addr().Unmap().WithZone("")
	if a.Is6() && !a.IsLinkLocalUnicast() {
		network = netip.PrefixFrom(a, 64).Masked()
	}
	return netip.PrefixFrom(a, a.BitLen()), network
}

// peer is how the log names an address or a network.
func peer(of netip.Prefix) string {
	if of.IsSingleIP() {
		return of.Addr().String()
	}
	return of.String()
}
