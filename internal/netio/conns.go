package netio

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"
)

// LimitConns is an http.Server.ConnState that keeps a server to so many connections, in
// all and of one address (an IPv6 client counts by its /64); -1 is no limit. A connection
// beyond them is closed, or takes the place of the one that has been idle for longest. It
// counts what net/http says about connections, so the limits hold for every listener that
// the server is given.
func LimitConns(inAll, perClient int, log *zap.Logger) func(net.Conn, http.ConnState) {
	t := &connTable{max: inAll, perClient: perClient, log: log, conns: make(map[net.Conn]*connEntry), clients: make(map[netip.Addr]int)}
	return t.change
}

type connTable struct {
	max, perClient int // -1: no limit
	log            *zap.Logger

	mu      sync.Mutex
	conns   map[net.Conn]*connEntry
	clients map[netip.Addr]int
	warned  time.Time
}

type connEntry struct {
	client netip.Addr
	idle   time.Time // since when; zero while it is in use
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
			e.idle = time.Time{}
		}
	case http.StateIdle:
		if e := t.conns[c]; e != nil {
			e.idle = time.Now()
		}
	case http.StateClosed, http.StateHijacked:
		t.forget(c)
	}
}

// admit books a new connection or closes it. t.mu is held.
func (t *connTable) admit(c net.Conn) {
	client := clientAddr(c)
	if t.perClient >= 0 && t.clients[client] >= t.perClient {
		t.refuse(c, client, "too many connections of one client")
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
	t.conns[c] = &connEntry{client: client}
	t.clients[client]++
}

func (t *connTable) refuse(c net.Conn, client netip.Addr, why string) {
	_ = c.Close()
	if now := time.Now(); now.Sub(t.warned) >= warnEvery {
		t.warned = now
		t.log.Warn("connection refused", zap.String("reason", why), zap.Stringer("peer", client),
			zap.Int("connections", len(t.conns)), zap.Int("of_peer", t.clients[client]))
	}
}

func (t *connTable) forget(c net.Conn) {
	e := t.conns[c]
	if e == nil {
		return
	}
	delete(t.conns, c)
	if t.clients[e.client]--; t.clients[e.client] == 0 {
		delete(t.clients, e.client)
	}
}

func (t *connTable) longestIdle() net.Conn {
	var found net.Conn
	var since time.Time
	for c, e := range t.conns {
		if !e.idle.IsZero() && (found == nil || e.idle.Before(since)) {
			found, since = c, e.idle
		}
	}
	return found
}

// clientAddr is what a connection's limit goes by: a host has a whole /64 of IPv6.
func clientAddr(c net.Conn) netip.Addr {
	ap, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	a := ap.Addr().Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}
