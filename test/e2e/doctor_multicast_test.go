package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/ipv4"

	"castpoint/internal/lab"
	"castpoint/test/point"
)

// measured is castpoint doctor multicast --json.
type measured struct {
	Measured struct {
		Loss     float64
		MTU      int
		Rate     float64
		Burst    int
		Stopped  float64
		CameBack bool `json:"came_back"`
		Unicast  bool
	}
	Findings []finding
}

// measure runs castpoint doctor multicast on a client.
func measure(t *testing.T, p *point.Point, h *lab.Host, secret string, args ...string) (m measured, code int) {
	t.Helper()
	proc, err := h.Start(lab.Command{Args: append([]string{p.Binary, "doctor", "multicast", "--server", point.JoinURL, "--pin", p.Pin, "--token", secret, "--json"}, args...)})
	if err != nil {
		t.Fatal(err)
	}
	code = wait(t, proc)
	if err := json.Unmarshal([]byte(proc.Stdout.String()), &m); err != nil {
		t.Fatalf("exit code %d, %v: %s", code, err, proc.Output.Tail(20))
	}
	return m, code
}

// castpoint doctor multicast finds each fault that is planted, and nothing without
// one. One token is enough for all.
func TestDoctorMulticast(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 1})
	_, c := addWIM(t, p, 1<<20)
	serve(t, p, "--rate", "200mbit")
	h, secret := p.Network.Clients[0], token(t, p, c.ID)
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	attention := func(m measured, check, says string, besides ...string) {
		t.Helper()
		for _, f := range m.Findings {
			if slices.Contains(besides, f.Check) {
				continue
			}
			if f.Level == "attention" && (f.Check != check || !strings.Contains(f.Text, says) || f.Do == "") {
				t.Errorf("%+v, want only %s to need attention", f, check)
			}
			if f.Level == "attention" && f.Check == check {
				check = ""
			}
		}
		if check != "" {
			t.Errorf("%s finds nothing: %+v", check, m)
		}
	}

	m, code := measure(t, p, h, secret)
	if code != 0 || m.Measured.MTU != 1500 || m.Measured.Rate < 50e6 || m.Measured.Burst < 100 {
		t.Errorf("without a fault: exit code %d, %+v", code, m)
	}
	out, code, err := h.Run(t.Context(), p.Binary, "doctor", "multicast", "--server", point.JoinURL, "--pin", p.Pin, "--token", "none-such-token")
	if err != nil || code != 5 {
		t.Errorf("with a token that is none: exit code %d, %v: %s", code, err, out)
	}

	ok(p.Network.SetLoss(t.Context(), h, 0.02))
	m, code = measure(t, p, h, secret)
	attention(m, "loss", "packets are lost")
	if code != 3 || m.Measured.Loss < 0.01 || m.Measured.Loss > 0.03 {
		t.Errorf("at 2 %% loss: exit code %d, %+v", code, m.Measured)
	}
	ok(p.Network.SetLoss(t.Context(), h, 0))

	// A port of 100 Mbit/s with room for 20 packets.
	ok(p.Network.SetPort(t.Context(), h, "100mbit", "30kb"))
	// What is sent evenly on an idle machine comes in bursts on a busy one, and finds the
	// queue full: the best of three tells what the port allows, unless it is too busy for
	// that altogether.
	for range 3 {
		if m, code = measure(t, p, h, secret); m.Measured.Rate > 80e6 {
			break
		}
	}
	least, besides := 80e6, []string(nil)
	if busy(t) {
		least, besides = 20e6, []string{"rate"}
	}
	attention(m, "burst", "back to back", besides...)
	if code != 3 || m.Measured.Burst < 8 || m.Measured.Burst > 32 || m.Measured.Rate < least || m.Measured.Rate > 105e6 {
		t.Errorf("small queue: exit code %d, %+v", code, m.Measured)
	}
	ok(p.Network.SetPort(t.Context(), h, "", ""))

	ok(p.Network.SetMTU(t.Context(), h, 1400))
	m, code = measure(t, p, h, secret)
	attention(m, "mtu", "140")
	if code != 3 || m.Measured.MTU < 1400 || m.Measured.MTU > 1404 { // Linux leaves room for a VLAN tag
		t.Errorf("small MTU: exit code %d, %+v", code, m.Measured)
	}
	ok(p.Network.SetMTU(t.Context(), h, 1500))

	forgetful(t, p, 20)
	m, code = measure(t, p, h, secret, "--for", "40s")
	attention(m, "igmp", "forgot who wants it")
	if code != 3 || m.Measured.Stopped < 15 || m.Measured.Stopped > 35 || !m.Measured.CameBack {
		t.Errorf("without a querier: exit code %d, %+v", code, m.Measured)
	}
	if out, code, err := p.Network.Switch.Run(t.Context(), "/bin/sh", "-c", "echo 0 >/sys/class/net/br0/bridge/multicast_snooping"); err != nil || code != 0 {
		t.Fatal(out, err)
	}

	ok(p.Network.BlockMulticast(t.Context(), h))
	m, code = measure(t, p, h, secret)
	attention(m, "arrival", "does not arrive on eth0, datagrams to this machine's own address")
	if code != 3 || !m.Measured.Unicast {
		t.Errorf("blocked multicast: exit code %d, %+v", code, m.Measured)
	}
}

// busy says whether more than this test, and one beside it, wants the machine's
// processors: then times say nothing.
func busy(t *testing.T) bool {
	t.Helper()
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		t.Fatal(err)
	}
	var load float64
	if _, err := fmt.Sscan(string(text), &load); err != nil {
		t.Fatal(err)
	}
	return load > 2*float64(runtime.NumCPU())
}

// forgetful makes the switch forget after so many seconds who wants a group: it snoops,
// there has been a querier, and there is none.
func forgetful(t *testing.T, p *point.Point, seconds int) {
	t.Helper()
	script := fmt.Sprintf("cd /sys/class/net/br0/bridge; echo 1 >multicast_snooping; echo %d00 >multicast_membership_interval", seconds)
	if out, code, err := p.Network.Switch.Run(t.Context(), "/bin/sh", "-ec", script); err != nil || code != 0 {
		t.Fatalf("%s: code %d, %v: %s", script, code, err, out)
	}
	if err := p.Network.Server.Do(func() error { return askOnce(lab.ServerAddr.String()) }); err != nil {
		t.Fatal(err)
	}
}

// A session behind such a switch goes on: its members join again.
func TestNoQuerier(t *testing.T) {
	takesMinutes(t)
	p := newPoint(t, lab.Config{Clients: 1})
	wim, c := addWIM(t, p, 24<<20)
	serve(t, p, "--rate", "20mbit")
	forgetful(t, p, 3)
	out := filepath.Join(p.Network.Dir, "out.wim")
	proc := receive(t, p, p.Network.Clients[0], c.ID, out, "--no-unicast")
	mustReceive(t, proc, wim, out)
	if took := proc.Took().Seconds(); took < 12 || took > 40 {
		t.Errorf("10 s of session, with a pause of a second after every three, took %.1f s", took)
	}
}

// askOnce sends one IGMPv2 general query (RFC 2236 section 2).
func askOnce(from string) error {
	c, err := net.ListenPacket("ip4:igmp", from)
	if err != nil {
		return err
	}
	defer c.Close()
	ifi, err := net.InterfaceByName("eth0")
	if err != nil {
		return err
	}
	if err := ipv4.NewPacketConn(c).SetMulticastInterface(ifi); err != nil {
		return err
	}
	query := []byte{0x11, 10, 0xee, 0xf5, 0, 0, 0, 0} // answers within a second; checksum
	_, err = c.WriteTo(query, &net.IPAddr{IP: net.IPv4(224, 0, 0, 1)})
	return err
}
