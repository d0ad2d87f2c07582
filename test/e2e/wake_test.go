package e2e

import (
	"encoding/hex"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"castpoint/internal/lab"
)

var hexLine = regexp.MustCompile(`(?m)^\s+0x[0-9a-f]{4}:  ([0-9a-f ]+)$`)

// Devices are woken before the start of a required deployment, on every network that
// is served, and by hand. tcpdump sees the packets.
func TestWake(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 2})
	server, second := p.Network.Server, p.Network.Clients[1]
	// A second cable, and a second subnet on the first.
	for _, args := range [][]string{
		{"ip", "link", "add", "eth1", "type", "veth", "peer", "name", "peer1"},
		{"ip", "link", "set", "peer1", "netns", second.Namespace},
		{"ip", "addr", "add", "10.99.0.1/24", "brd", "+", "dev", "eth1"},
		{"ip", "link", "set", "eth1", "up"},
		{"ip", "addr", "add", "10.88.0.1/24", "brd", "+", "dev", "eth0"},
	} {
		if out, code, err := server.Run(t.Context(), args...); err != nil || code != 0 {
			t.Fatalf("%q: %v: %s", args, err, out)
		}
	}
	if out, code, err := second.Run(t.Context(), "ip", "link", "set", "peer1", "up"); err != nil || code != 0 {
		t.Fatalf("%v: %s", err, out)
	}
	serve(t, p, "--interface", "eth1", "--dhcp", "off", "--tftp=false")
	watch := func(h *lab.Host, card, network string) *lab.Process {
		t.Helper()
		proc, err := h.Start(lab.Command{Args: []string{"tcpdump", "-l", "-n", "-x", "-i", card, "dst", network, "and", "udp", "dst", "port", "9"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := proc.Output.WaitFor(t.Context(), "listening on", patience); err != nil {
			t.Fatal(err)
		}
		return proc
	}
	seen := map[string]*lab.Process{
		"10.77.0.255": watch(p.Network.Clients[0], "eth0", "10.77.0.255"), "10.88.0.255": watch(p.Network.Clients[0], "eth0", "10.88.0.255"),
		"10.99.0.255": watch(second, "peer1", "10.99.0.255"),
	}
	a := newAdmin(p)
	const first, other = "52:54:00:00:aa:01", "52:54:00:00:aa:02"
	a.call(t, http.MethodPost, "/devices", map[string]any{"name": "pc-1", "macs": []string{first, other}}, nil)
	// await waits until each network has seen so many packets for a card.
	await := func(mac string, want int) {
		t.Helper()
		packet := strings.Repeat("ff", 6) + strings.Repeat(strings.ReplaceAll(mac, ":", ""), 16)
		for network, proc := range seen {
			count := func() int {
				var all strings.Builder
				for _, m := range hexLine.FindAllStringSubmatch(proc.Output.String(), -1) {
					all.WriteString(strings.ReplaceAll(m[1], " ", ""))
				}
				if _, err := hex.DecodeString(all.String()); err != nil {
					return 0 // in the middle of a line
				}
				return strings.Count(all.String(), packet)
			}
			eventually(t, network+" sees packets for "+mac, func() bool { return count() >= want })
			if n := count(); n != want {
				t.Errorf("%s: %d packets for %s, want %d", network, n, mac, want)
			}
		}
	}
	a.call(t, http.MethodPost, "/devices/pc-1/wake", nil, nil)
	await(first, 3)
	await(other, 3)

	a.call(t, http.MethodPost, "/sequences", "name: nothing\nsteps:\n  - run-command: {command: \"true\"}\n", nil)
	a.call(t, http.MethodPost, "/collections", map[string]any{"name": "all", "devices": []string{"pc-1"}}, nil)
	deploy := func(name string, start time.Duration, wake bool) {
		t.Helper()
		a.call(t, http.MethodPost, "/deployments", map[string]any{"name": name, "sequence": "nothing", "collection": "all", "purpose": "required",
			"start": time.Now().Add(start).UTC().Format(time.RFC3339), "wake": wake}, nil)
	}
	deploy("without", time.Minute, false)
	deploy("much later", time.Hour, true)
	deploy("tonight", time.Minute, true)
	await(first, 6)
	await(other, 6)
	timeline, err := p.Run(t.Context(), "device", "timeline", first, "--data", p.Data)
	if err != nil || !strings.Contains(timeline, "woken by Wake-on-LAN before the start of deployment tonight") || strings.Contains(timeline, "deployment without") || strings.Contains(timeline, "much later") {
		t.Errorf("%v:\n%s", err, timeline)
	}
}
