package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"castpoint/internal/lab"
	"castpoint/test/point"
)

// finding is one of castpoint doctor --json.
type finding struct{ Check, Level, Text, Do string }

// doctor runs castpoint doctor on the server and returns what needs attention.
func doctor(t *testing.T, p *point.Point, args ...string) (attention []finding) {
	t.Helper()
	out, err := p.Run(t.Context(), append([]string{"doctor", "--data", p.Data, "--json"}, args...)...)
	var all []finding
	if jerr := json.Unmarshal([]byte(out), &all); jerr != nil {
		t.Fatalf("%v, %v: %s", err, jerr, out)
	}
	for _, f := range all {
		if f.Level == "attention" {
			attention = append(attention, f)
		}
	}
	if code := point.Code(err); code == 0 && len(attention) > 0 || code == 3 && len(attention) == 0 || code != 0 && code != 3 {
		t.Errorf("exit code %d with %v", code, attention)
	}
	return attention
}

// finds checks that a check says it.
func finds(t *testing.T, found []finding, check, text string) {
	t.Helper()
	for _, f := range found {
		if f.Check == check && strings.Contains(f.Text, text) {
			if f.Do == "" {
				t.Errorf("%q does not say what to do", f.Text)
			}
			return
		}
	}
	t.Errorf("%s does not say %q: %v", check, text, found)
}

// castpoint doctor finds each fault that is planted, and nothing without one.
func TestDoctor(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 1})
	sh := func(h *lab.Host, script string) {
		t.Helper()
		if out, code, err := h.Run(t.Context(), "/bin/sh", "-ec", script); err != nil || code != 0 {
			t.Fatalf("%s: code %d, %v: %s", script, code, err, out)
		}
	}
	server := p.Network.Server

	// Before the server starts, another program has TFTP's port.
	holder, err := server.Start(lab.Command{Args: []string{"dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--port=0", "--user=root",
		"--enable-tftp", "--tftp-root=/usr/lib/ipxe", "--dhcp-range=10.77.0.5,static"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.WaitUDP(t.Context(), 69); err != nil {
		t.Fatal(err)
	}
	finds(t, doctor(t, p), "ports", "UDP port 69 (TFTP requests) is held by dnsmasq")
	if _, err := holder.Stop(); err != nil {
		t.Fatal(err)
	}

	serve(t, p)
	if found := doctor(t, p); len(found) > 0 {
		t.Errorf("a server without a fault: %v", found)
	}
	out, code, err := p.Network.Clients[0].Run(t.Context(), p.Binary, "doctor", "--server", lab.ServerAddr.String())
	if err != nil || code != 0 || !strings.Contains(out, "snponly.efi") {
		t.Errorf("from a client: code %d, %v: %s", code, err, out)
	}

	for _, fault := range []struct {
		name, plant, undo string
		check, says       string
	}{
		{"nftables drops TFTP", "nft add table inet t; nft 'add chain inet t in { type filter hook input priority 0 ; policy accept ; }'; nft add rule inet t in udp dport 69 drop",
			"nft delete table inet t", "firewall", "UDP port 69"},
		{"nftables drops groups", "nft add table inet t; nft 'add chain inet t out { type filter hook output priority 0 ; policy accept ; }'; nft add rule inet t out ip daddr 239.0.0.0/8 drop",
			"nft delete table inet t", "firewall", "group 239."},
		{"nftables drops DHCP", "nft add table inet t; nft 'add chain inet t in { type filter hook input priority 0 ; policy accept ; }'; nft add rule inet t in meta l4proto udp udp dport '{ 67, 4011 }' drop",
			"nft delete table inet t", "firewall", "UDP port 4011"},
		{"nftables accepts little", "nft add table ip t; nft 'add chain ip t in { type filter hook input priority 0 ; policy drop ; }'; nft add rule ip t in ct state established,related accept; nft add rule ip t in iifname lo accept; nft add rule ip t in udp dport '{ 67, 69, 4011 }' accept; nft add rule ip t in tcp dport '{ 8080, 8443 }' accept",
			"nft delete table ip t", "firewall", "UDP port 7800 (reports of receivers)"},
		{"iptables drops DHCP", "iptables-legacy -A INPUT -p udp -m udp --dport 67 -j DROP", "iptables-legacy -F", "firewall", "UDP port 67"},
		{"iptables drops PXE and TFTP", "iptables-legacy -A INPUT -p udp -m multiport --dports 69,4011 -j DROP", "iptables-legacy -F", "firewall", "UDP port 69"},
		{"iptables drops reports", "iptables-legacy -A INPUT -p udp --dport 7000:7999 -j DROP", "iptables-legacy -F", "firewall", "UDP port 7800"},
		{"iptables drops groups", "iptables-legacy -A OUTPUT -d 224.0.0.0/4 -o eth0 -j DROP", "iptables-legacy -F", "firewall", "group 239."},
		{"iptables by nftables drops joins", "iptables-nft -P INPUT DROP; iptables-nft -A INPUT -i lo -j ACCEPT; iptables-nft -A INPUT -p udp -j ACCEPT", "iptables-nft -P INPUT ACCEPT; iptables-nft -F; nft flush ruleset", "firewall", "TCP port 8443"},
		{"iptables drops HTTP", "iptables-legacy -A INPUT -i eth0 -p tcp --dport 8080 -j REJECT", "iptables-legacy -F", "firewall", "TCP port 8080"},
		{"the address is gone", "ip addr del 10.77.0.1/24 dev eth0; ip addr add 10.77.0.2/24 dev eth0", "ip addr del 10.77.0.2/24 dev eth0; ip addr add 10.77.0.1/24 dev eth0", "interfaces", "no longer has 10.77.0.1"},
		{"the interface is down", "ip link set eth0 down", "ip link set eth0 up", "interfaces", "eth0 is down"},
	} {
		sh(server, fault.plant)
		finds(t, doctor(t, p), fault.check, fault.says)
		sh(server, fault.undo)
	}

	// From a client, when the server's firewall drops TFTP.
	sh(server, "nft add table inet t; nft 'add chain inet t in { type filter hook input priority 0 ; policy accept ; }'; nft add rule inet t in udp dport 69 drop")
	out, code, err = p.Network.Clients[0].Run(t.Context(), p.Binary, "doctor", "--server", lab.ServerAddr.String())
	if err != nil || code != 3 || !strings.Contains(out, "does not arrive by TFTP") {
		t.Errorf("from a client: code %d, %v: %s", code, err, out)
	}
	sh(server, "nft delete table inet t")

	finds(t, doctor(t, p, "--data", p.Network.Dir+"/none"), "disk", "no such file")
}
