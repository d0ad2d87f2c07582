package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"castpoint/internal/lab"
	"castpoint/test/point"
)

// Sessions that a person opens, and what he can do with them while they run.
func TestSessionsByHand(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 2})
	wim, c := addWIM(t, p, 8<<20)
	serve(t, p, "--rate", "20mbit", "--ttl", "7")
	first, second := p.Network.Clients[0], p.Network.Clients[1]
	out := func(name string) string { return filepath.Join(p.Network.Dir, name) }
	begin := func(h *lab.Host, name string, args ...string) *lab.Process {
		t.Helper()
		return receive(t, p, h, c.ID, out(name), append([]string{"--name", name}, args...)...)
	}

	t.Run("a delay after the first member", func(t *testing.T) {
		s := startSession(t, p, c.ID, "--min-clients", "5", "--delay", "3s")
		ttl, source := heardFrom(t, second, netip.MustParseAddrPort(s.Group))
		if ttl != 7 || source != lab.ServerAddr {
			t.Errorf("the session is sent from %s with TTL %d, want %s and 7", source, ttl, lab.ServerAddr)
		}
		proc := begin(first, "delayed")
		mustReceive(t, proc, wim, out("delayed"))
		if took := proc.Took(); took < 6*time.Second {
			t.Errorf("3 s of delay and 3 s of session took %v", took)
		}
		cancelSessions(t, p)
	})
	t.Run("a time", func(t *testing.T) {
		at := time.Now().Add(5 * time.Second).Truncate(time.Second)
		startSession(t, p, c.ID, "--min-clients", "5", "--at", at.Format(time.RFC3339))
		proc := begin(first, "at-a-time")
		if m, err := proc.Output.WaitFor(t.Context(), `"event":"progress".*"state":"(waiting|sending)"`, patience); err != nil || m[1] != "waiting" {
			t.Errorf("before its time the session is %q, %v", m, err)
		}
		mustReceive(t, proc, wim, out("at-a-time"))
		if early := time.Until(at); early > 0 {
			t.Errorf("it was over %v before its time", early)
		}
		cancelSessions(t, p)
	})
	t.Run("a least rate", func(t *testing.T) {
		if err := p.Network.SetRate(t.Context(), second, "4mbit"); err != nil {
			t.Fatal(err)
		}
		startSession(t, p, c.ID, "--min-clients", "2", "--min-rate", "15mbit")
		fast, slow := begin(first, "fast"), begin(second, "slow")
		mustReceive(t, fast, wim, out("fast"))
		if took := fast.Took(); took > 15*time.Second {
			t.Errorf("3 s of session beside a slow member took %v", took)
		}
		mustReceive(t, slow, wim, out("slow"))
		if !strings.Contains(slow.Output.String(), "far slower than that of the others") {
			t.Errorf("the slow member was not moved:\n%s", slow.Output.Tail(10))
		}
		if err := p.Network.SetRate(t.Context(), second, "1gbit"); err != nil {
			t.Fatal(err)
		}
		cancelSessions(t, p)
	})
	t.Run("kick", func(t *testing.T) {
		s := startSession(t, p, c.ID, "--min-clients", "2")
		stays, goes := begin(first, "stays"), begin(second, "goes")
		waitForBlocks(t, goes)
		if _, err := p.Run(t.Context(), "session", "kick", s.ID, "goes", "--data", p.Data); err != nil {
			t.Fatal(err)
		}
		if code := wait(t, goes); code != 5 {
			t.Errorf("the kicked member ended with exit code %d, want 5:\n%s", code, goes.Output.Tail(10))
		}
		mustReceive(t, stays, wim, out("stays"))
		cancelSessions(t, p)
	})
	t.Run("cancel", func(t *testing.T) {
		startSession(t, p, c.ID, "--min-clients", "2")
		one, other := begin(first, "one"), begin(second, "other")
		waitForBlocks(t, one)
		cancelSessions(t, p)
		for _, proc := range []*lab.Process{one, other} {
			if code := wait(t, proc); code != 5 {
				t.Errorf("a member of a cancelled session ended with exit code %d, want 5:\n%s", code, proc.Output.Tail(10))
			}
		}
		for _, s := range sessions(t, p) {
			if s.State != "ended" {
				t.Errorf("after all were cancelled there is %+v", s)
			}
		}
	})
}

// startSession is castpoint session start.
func startSession(t *testing.T, p *point.Point, content string, args ...string) (s session) {
	t.Helper()
	text, err := p.Run(t.Context(), append([]string{"session", "start", content, "--data", p.Data, "--json"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return s
}

// cancelSessions ends all that run.
func cancelSessions(t *testing.T, p *point.Point) {
	t.Helper()
	for _, s := range sessions(t, p) {
		if s.State == "ended" {
			continue
		}
		if _, err := p.Run(t.Context(), "session", "cancel", s.ID, "--data", p.Data); err != nil && point.Code(err) != 4 {
			t.Fatal(err) // 4: it has ended meanwhile
		}
	}
}

// waitForBlocks waits until a receiver has some.
func waitForBlocks(t *testing.T, proc *lab.Process) {
	t.Helper()
	if _, err := proc.Output.WaitFor(t.Context(), `"event":"progress".*"blocks":[1-9]`, patience); err != nil {
		t.Fatal(err)
	}
}

// heardFrom joins a group on a host and returns the TTL and the source of the first
// datagram.
func heardFrom(t *testing.T, h *lab.Host, group netip.AddrPort) (ttl int, source netip.Addr) {
	t.Helper()
	err := h.Do(func() error {
		c, err := net.ListenPacket("udp4", fmt.Sprintf(":%d", group.Port()))
		if err != nil {
			return err
		}
		defer c.Close()
		ifi, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		p := ipv4.NewPacketConn(c)
		if err := p.JoinGroup(ifi, &net.UDPAddr{IP: group.Addr().AsSlice()}); err != nil {
			return err
		}
		if err := p.SetControlMessage(ipv4.FlagTTL|ipv4.FlagSrc, true); err != nil {
			return err
		}
		if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			return err
		}
		_, cm, from, err := p.ReadFrom(make([]byte, 2048))
		if err != nil {
			return err
		}
		ttl, source = cm.TTL, from.(*net.UDPAddr).AddrPort().Addr().Unmap()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return ttl, source
}
