package dhcp

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"castpoint/boot"
	"castpoint/dhcp/dhcp4"
	"castpoint/dhcp/dhcp6"
	"castpoint/dhcp/lease"
	"castpoint/dhcp/socket"
)

func TestMACsAreRemembered(t *testing.T) {
	m := newMACs()
	id := []byte("a client")
	if got := m.note(id, nil); got != nil {
		t.Errorf("a MAC from nowhere: %s", got)
	}
	m.note(id, testMAC(1))
	if got := m.note(id, nil); !bytes.Equal(got, testMAC(1)) {
		t.Errorf("%s is not what was noted", got)
	}
	if got := m.note(nil, testMAC(2)); !bytes.Equal(got, testMAC(2)) {
		t.Errorf("%s for a client without identifier", got)
	}
	for i := range 3 * limitClients {
		m.note(fmt.Append(nil, i), testMAC(1))
	}
	if n := len(m.young) + len(m.old); n > 2*limitClients {
		t.Errorf("%d clients are remembered", n)
	}
	if got := m.note(id, nil); got != nil {
		t.Error("a client is remembered for ever")
	}
}

// One journal holds leases of both protocols; each finds its own.
func TestJournalKeepsBothProtocols(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases")
	j, err := lease.OpenJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	six := dhcp6.Lease{Address: netip.MustParseAddr("fd77::5"), Key: "ab/01", MAC: "52:54:00:00:00:01", Expires: time.Now().Add(time.Hour).Round(0)}
	four := lease.Lease{Address: netip.MustParseAddr("10.77.0.5"), Key: "mac:52:54:00:00:00:01", Expires: time.Now().Add(time.Hour)}
	if err := (store6{j}).Put(six); err != nil {
		t.Fatal(err)
	}
	if err := j.Put(four); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if j, err = lease.OpenJournal(path); err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if got, err := (store6{j}).Load(); err != nil || len(got) != 1 || got[0].Address != six.Address || got[0].Key != six.Key {
		t.Errorf("read %+v, %v", got, err)
	}
	l, err := dhcp4.NewLeases(dhcp4.LeasesConfig{Store: j, Pools: []dhcp4.Pool{{
		Network: testNetwork, From: netip.MustParseAddr("10.77.0.2"), To: netip.MustParseAddr("10.77.0.9"),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := l.Current(time.Now()); len(got) != 1 || got[0].Address != four.Address {
		t.Errorf("IPv4 leases: %+v", got)
	}
}

func TestIPv6Settings(t *testing.T) {
	pool := []dhcp6.Pool{{From: netip.MustParseAddr("fd77::1"), To: netip.MustParseAddr("fd77::9")}}
	_, err := New(Config{Planner: planner(func(boot.Client) boot.Plan { return boot.Plan{} }), IPv6: &IPv6{Pools: pool}})
	if err == nil || !strings.Contains(err.Error(), "IPv6 pool") {
		t.Errorf("a proxy with an IPv6 pool: %v", err)
	}
}

type planner func(boot.Client) boot.Plan

func (p planner) Plan(c boot.Client) boot.Plan { return p(c) }

func TestOwnIPv6Address(t *testing.T) {
	s := &linkState{}
	for _, p := range []string{"fe80::1/64", "fd77::1/64", "fd88::1/64"} {
		s.networks6 = append(s.networks6, netip.MustParsePrefix(p))
	}
	for _, c := range []struct{ sentTo, near, want string }{
		{"ff02::1:2", "", "fd77::1"},
		{"fe80::1", "", "fd77::1"},
		{"fd88::1", "", "fd88::1"},
		{"", "fd88::77", "fd88::1"},
	} {
		var sentTo, near netip.Addr
		if c.sentTo != "" {
			sentTo = netip.MustParseAddr(c.sentTo)
		}
		if c.near != "" {
			near = netip.MustParseAddr(c.near)
		}
		if got := s.own6(sentTo, near); got.String() != c.want {
			t.Errorf("sent to %q near %q: %s, want %s", c.sentTo, c.near, got, c.want)
		}
	}
	s.networks6 = s.networks6[:1]
	if got := s.own6(netip.Addr{}, netip.Addr{}); got.String() != "fe80::1" {
		t.Errorf("link-local alone: %s", got)
	}
}

// A storm leaves room for what is not a DISCOVER.
func TestQueueShedsDiscoversFirst(t *testing.T) {
	s := &Server{seed: maphash.MakeSeed(), queues: []chan job{make(chan job, queueLength)}, buffers: make(chan []byte, queueLength)}
	discover, request := packet(1).ToBytes(), packet(3).ToBytes()
	l := &listener{}
	for range queueLength {
		s.enqueue(l, bytes.Clone(discover), socket.Received{Length: len(discover)})
	}
	if n := len(s.queues[0]); n != queueShed {
		t.Fatalf("%d DISCOVERs were taken in, want %d", n, queueShed)
	}
	s.enqueue(l, bytes.Clone(request), socket.Received{Length: len(request)})
	if n := len(s.queues[0]); n != queueShed+1 {
		t.Error("the REQUEST was dropped")
	}
	for range 2 * queueLength {
		s.enqueue(l, bytes.Clone(request), socket.Received{Length: len(request)})
	}
	if n := s.made.Load(); len(s.queues[0]) != queueLength || n > queueLength {
		t.Errorf("%d packets wait in %d buffers, at most %d may", len(s.queues[0]), n, queueLength)
	}
}
