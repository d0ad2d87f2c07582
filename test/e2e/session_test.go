package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"castpoint/test/lab"
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
