package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"castpoint/internal/lab"
)

// A session to an IPv6 group, with reports over IPv6.
func TestIPv6Group(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 2, Loss: 0.01})
	for i, h := range append([]*lab.Host{p.Network.Server}, p.Network.Clients...) {
		script := fmt.Sprintf("echo 0 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6; ip address add fd77::%d/64 dev eth0 nodad", i+1)
		if out, code, err := h.Run(t.Context(), "sh", "-c", script); err != nil || code != 0 {
			t.Fatal(out, err)
		}
	}
	wim, c := addWIM(t, p, 16<<20)
	serve(t, p, "--groups", "ff15::4301-ff15::43ff", "--min-members", "2", "--max-wait", "1m", "--rate", "200mbit")
	var procs []*lab.Process
	var outs []string
	for _, h := range p.Network.Clients {
		outs = append(outs, filepath.Join(p.Network.Dir, h.Name+".wim"))
		procs = append(procs, receive(t, p, h, c.ID, outs[len(outs)-1], "--name", h.Name, "--no-unicast"))
	}
	for i := range procs {
		mustReceive(t, procs[i], wim, outs[i])
	}
	for _, s := range sessions(t, p) {
		if !strings.HasPrefix(s.Group, "[ff15::") {
			t.Errorf("the session was sent to %s", s.Group)
		}
	}
	m, code := measure(t, p, p.Network.Clients[0], token(t, p, c.ID))
	if code != 0 || m.Measured.MTU != 1500 || m.Measured.Loss > 0 {
		t.Errorf("castpoint doctor multicast over IPv6: exit code %d, %+v", code, m)
	}
}

// A server with two interfaces: a receiver gets its session by the one that it joined
// by.
func TestSessionsOnTwoInterfaces(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 2})
	// A cable from the server to the second client.
	scripts := []string{"ip link add eth1 type veth peer name eth1 netns " + p.Network.Clients[1].Namespace, ":"}
	for i, h := range []*lab.Host{p.Network.Server, p.Network.Clients[1]} {
		script := fmt.Sprintf("%s; ip address add 10.78.0.%d/24 brd + dev eth1; ip link set eth1 up", scripts[i], i+1)
		if out, code, err := h.Run(t.Context(), "sh", "-ec", script); err != nil || code != 0 {
			t.Fatal(out, err)
		}
	}
	wim, c := addWIM(t, p, 8<<20)
	serve(t, p, "--interface", "eth1", "--rate", "50mbit")
	first, second := filepath.Join(p.Network.Dir, "first"), filepath.Join(p.Network.Dir, "second")
	one := receive(t, p, p.Network.Clients[0], c.ID, first, "--no-unicast")
	other, err := p.Network.Clients[1].Start(lab.Command{Args: []string{p.Binary, "receive", "--server", "https://10.78.0.1:8443", "--pin", p.Pin,
		"--token", token(t, p, c.ID), "--out", second, "--no-unicast", "--json"}})
	if err != nil {
		t.Fatal(err)
	}
	mustReceive(t, one, wim, first)
	mustReceive(t, other, wim, second)
	by := map[string]int{}
	for _, s := range sessions(t, p) {
		by[s.Interface] += len(s.Members)
	}
	if by["eth0"] != 1 || by["eth1"] != 1 {
		t.Errorf("members by interface: %v, want one on each", by)
	}
}

// A session that is full is followed by another one.
func TestFullSession(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 2})
	wim, c := addWIM(t, p, 8<<20)
	serve(t, p, "--max-members", "1", "--rate", "50mbit")
	var procs []*lab.Process
	var outs []string
	for _, h := range p.Network.Clients {
		outs = append(outs, filepath.Join(p.Network.Dir, h.Name+".wim"))
		procs = append(procs, receive(t, p, h, c.ID, outs[len(outs)-1], "--name", h.Name))
	}
	eventually(t, "each has a session of its own", func() bool { return len(sessions(t, p)) == 2 })
	for i := range procs {
		mustReceive(t, procs[i], wim, outs[i])
	}
}

// Two sessions at once stay under what all of them together may send, and share it.
func TestSessionsShareTheTotalRate(t *testing.T) {
	const total = 80e6 // bits per second, with IP and UDP headers
	p := newPoint(t, lab.Config{Clients: 2})
	wim, c := addWIM(t, p, 24<<20)
	serve(t, p, "--max-members", "1", "--total-rate", "80mbit")
	sent := func() (bytes float64, at time.Time) {
		out, code, err := p.Network.Server.Run(t.Context(), "cat", "/sys/class/net/eth0/statistics/tx_bytes")
		if err != nil || code != 0 {
			t.Fatal(out, err)
		}
		if _, err := fmt.Sscan(out, &bytes); err != nil {
			t.Fatalf("count of bytes %q: %v", out, err)
		}
		return bytes, time.Now()
	}
	var procs []*lab.Process
	var outs []string
	for _, h := range p.Network.Clients {
		outs = append(outs, filepath.Join(p.Network.Dir, h.Name+".wim"))
		procs = append(procs, receive(t, p, h, c.ID, outs[len(outs)-1], "--name", h.Name, "--no-unicast"))
	}
	// progress is what the members of the two sessions have, in blocks.
	progress := func() (one, other, blocks int) {
		all := sessions(t, p)
		if len(all) != 2 || len(all[0].Members) != 1 || len(all[1].Members) != 1 {
			return 0, 0, 0
		}
		return all[0].Members[0].Complete, all[1].Members[0].Complete, all[0].Blocks
	}
	eventually(t, "both have something", func() bool { one, other, _ := progress(); return one > 0 && other > 0 })
	from, began := sent()
	first, second, blocks := progress()
	eventually(t, "one of them has nearly all", func() bool { one, other, _ := progress(); return max(one, other) > blocks*9/10 })
	to, ended := sent()
	one, other, _ := progress()
	if rate := (to - from) * 8 / ended.Sub(began).Seconds(); rate > 1.1*total {
		t.Errorf("the server sent %.1f Mbit/s, with a total rate of %.1f", rate/1e6, total/1e6)
	}
	if a, b := float64(one-first), float64(other-second); min(a, b) < 0.6*max(a, b) {
		t.Errorf("in the same time one session brought %.0f blocks and the other %.0f", a, b)
	}
	for i := range procs {
		mustReceive(t, procs[i], wim, outs[i])
	}
}
