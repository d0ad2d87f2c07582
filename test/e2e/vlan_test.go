package e2e

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"castpoint/dhcp"
	"castpoint/test/lab"
)

// vlan puts client i and the server on a VLAN of their own, each by an interface
// eth0.ID: a tagged one of eth0, or, where the kernel has no 802.1Q
// (CONFIG_VLAN_8021Q), the end of a second cable to another switch, which is what
// a switch with untagged ports makes of a VLAN.
func vlan(t *testing.T, n *lab.Network, i, id int) {
	t.Helper()
	hosts := []*lab.Host{n.Server, n.Clients[i]}
	tagged := true
	for _, h := range hosts {
		out, code, err := h.Run(t.Context(), "ip", "link", "add", "link", "eth0", "name", fmt.Sprintf("eth0.%d", id), "type", "vlan", "id", fmt.Sprint(id))
		if err != nil || code != 0 && !strings.Contains(out, "Unknown device type") {
			t.Fatalf("make VLAN %d: code %d, %v: %s", id, code, err, out)
		}
		tagged = tagged && code == 0
	}
	if !tagged {
		t.Logf("VLAN %d without tags: this kernel has no 802.1Q", id)
		sh(t, n.Switch, fmt.Sprintf("ip link add br%d type bridge && ip link set br%d up", id, id))
		for k, h := range hosts {
			out, err := exec.CommandContext(t.Context(), "ip", "-n", n.Switch.Namespace, "link", "add", fmt.Sprintf("v%d-%d", id, k),
				"type", "veth", "peer", "name", fmt.Sprintf("eth0.%d", id), "netns", h.Namespace).CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			sh(t, n.Switch, fmt.Sprintf("ip link set v%d-%d master br%d up", id, k, id))
		}
	}
	for _, h := range hosts {
		sh(t, h, fmt.Sprintf("ip link set eth0.%d up", id))
	}
}

// Two VLANs at once: each client gets an address of its own VLAN,
// from the server's address there, and what to boot from there too.
func TestTwoVLANs(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 2})
	s := station{Mode: dhcp.ModeServer}
	for i, id := range []int{10, 20} {
		device := fmt.Sprintf("eth0.%d", id)
		vlan(t, p.Network, i, id)
		sh(t, p.Network.Server, fmt.Sprintf("ip addr add 10.%d.0.1/24 dev %s", id, device))
		s.Interfaces = append(s.Interfaces, device)
		s.Pools = append(s.Pools, dhcp.Pool{
			From: netip.MustParseAddr(fmt.Sprintf("10.%d.0.100", id)), To: netip.MustParseAddr(fmt.Sprintf("10.%d.0.110", id)),
		})
	}
	st := startStation(t, p.Network.Server, s)
	type answer struct {
		id   int
		addr netip.Addr
	}
	answers := make(chan answer, 2)
	for i, id := range []int{10, 20} {
		go func() {
			// A netboot client: option 60, and 93 = 7.
			answers <- answer{id, udhcpc(t, p.Network.Clients[i], fmt.Sprintf("eth0.%d", id), "-V PXEClient:Arch:00007:UNDI:003016 -x 0x5d:0007")}
		}()
	}
	for range 2 {
		a := <-answers
		if want := netip.MustParsePrefix(fmt.Sprintf("10.%d.0.0/24", a.id)); !want.Contains(a.addr) {
			t.Errorf("on VLAN %d: %s", a.id, a.addr)
		}
		said := fmt.Sprintf(`REQUEST ACK client=\S+ .*interface=eth0\.%d file=\S+\.efi address=%s `, a.id, a.addr)
		if _, err := st.Output.WaitFor(t.Context(), said, time.Second); err != nil {
			t.Error(err)
		}
	}
	// Outside the VLANs nobody answers.
	out, code, err := p.Network.Clients[0].Run(t.Context(), "busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "2", "-T", "1", "-s", "/bin/true")
	if err != nil || code == 0 {
		t.Errorf("outside: code %d, %v: %s", code, err, out)
	}
}
