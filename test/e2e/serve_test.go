package e2e

import (
	"context"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"castpoint/internal/lab"
	"castpoint/test/point"
)

// sockets lists what the program's namespace has bound, as ss prints it.
func sockets(t *testing.T, h *lab.Host) string {
	t.Helper()
	out, code, err := h.Run(t.Context(), "ss", "-Hlnutp")
	if err != nil || code != 0 {
		t.Fatalf("ss: code %d, %v: %s", code, err, out)
	}
	return out
}

// castpoint serve binds what it says and nothing more, and stops when asked.
func TestServeStartsAndStops(t *testing.T) {
	p := newPoint(t, lab.Config{})
	serve(t, p)
	bound := sockets(t, p.Network.Server)
	for _, want := range []string{
		`udp .*:67\b`, `udp .*:4011\b`, `udp .*:69\b`,
		`tcp .*:8080\b`, `tcp .*:8443\b`, `tcp .*127\.0\.0\.1:8069\b`,
	} {
		if !regexp.MustCompile(want).MatchString(bound) {
			t.Errorf("not bound: %s in\n%s", want, bound)
		}
	}
	if regexp.MustCompile(`tcp .*(10\.77\.0\.1|0\.0\.0\.0|\*|\[::\]):8069`).MatchString(bound) {
		t.Errorf("the admin listener is not on loopback alone:\n%s", bound)
	}
	said := p.Server.Output.String()
	for _, want := range []string{"67", "4011", "69", "8080", "8443", "8069", "10.77.0.1"} {
		if !strings.Contains(said, want) {
			t.Errorf("castpoint serve does not show %s:\n%s", want, said)
		}
	}
	code, err := p.Server.Stop()
	if err != nil || code != 0 {
		t.Errorf("after SIGTERM: exit code %d, %v", code, err)
	}
	if left := sockets(t, p.Network.Server); strings.TrimSpace(left) != "" {
		t.Errorf("still bound:\n%s", left)
	}
	// And again, on what the first run left in the data folder.
	serve(t, p)
	if _, err := p.Server.Stop(); err != nil {
		t.Error(err)
	}
}

// When one port is taken nothing is bound, and the error names port and holder.
func TestServeWithPortInUse(t *testing.T) {
	for _, c := range []struct {
		name string
		port int
		args []string // of the program that holds the port
		udp  bool
	}{
		{"HTTP", 8080, []string{"busybox", "nc", "-l", "-p", "8080"}, false},
		{"TFTP", 69, []string{"dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--port=0", "--user=root", "--enable-tftp", "--tftp-root=/usr/lib/ipxe", "--dhcp-range=10.77.0.5,static"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPoint(t, lab.Config{})
			holder, err := p.Network.Server.Start(lab.Command{Args: c.args})
			if err != nil {
				t.Fatal(err)
			}
			wait := holder.WaitTCP
			if c.udp {
				wait = holder.WaitUDP
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if err := wait(ctx, c.port); err != nil {
				t.Fatal(err)
			}
			before := sockets(t, p.Network.Server)
			_, err = p.Run(ctx, "serve", "--data", p.Data, "--interface", "eth0")
			if code := point.Code(err); code != 1 {
				t.Fatalf("exit code %d, want 1: %v", code, err)
			}
			for _, want := range []string{strconv.Itoa(c.port), c.args[0], strconv.Itoa(holder.Pid())} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not name %s: %v", want, err)
				}
			}
			if after := sockets(t, p.Network.Server); after != before {
				t.Errorf("bound after the failure:\n%s\nbefore:\n%s", after, before)
			}
		})
	}
}

// A second castpoint on the same data folder is refused by name.
func TestServeOnDataFolderInUse(t *testing.T) {
	p := newPoint(t, lab.Config{})
	serve(t, p)
	_, err := p.Run(t.Context(), "serve", "--data", p.Data, "--interface", "eth0")
	if code := point.Code(err); code != 5 {
		t.Fatalf("exit code %d, want 5 (refused): %v", code, err)
	}
	if pid := strconv.Itoa(p.Server.Pid()); !strings.Contains(err.Error(), pid) {
		t.Errorf("the error does not name process %s: %v", pid, err)
	}
}

// Wrong calls are told apart from failures by exit code 2.
func TestWrongUsage(t *testing.T) {
	p := newPoint(t, lab.Config{})
	for _, args := range [][]string{
		{"serve", "--data", p.Data, "--interface", "eth0", "--dhcp", "sometimes"},
		{"serve", "--data", p.Data, "--interface", "eth0", "--dhcp", "server", "--pool", "10.77.0.200-10.77.0.100"},
		{"serve", "--data", p.Data, "--interface", "eth0", "--rate", "fast"},
		{"content", "add", "os-image", "--data", p.Data},
		{"receive"},
		{"frobnicate"},
	} {
		_, err := p.Run(t.Context(), args...)
		if code := point.Code(err); code != 2 {
			t.Errorf("castpoint %s: exit code %d, want 2: %v", strings.Join(args, " "), code, err)
		}
	}
	if entries, err := os.ReadDir(p.Data); err != nil || len(entries) > 0 {
		t.Errorf("wrong calls left %v in the data folder (%v)", entries, err)
	}
}

// Ports that systemd has bound are served through its sockets, and one that no
// setting names is refused.
func TestSocketActivation(t *testing.T) {
	p := newPoint(t, lab.Config{})
	n := p.Network.Server
	start := func(ports ...string) *lab.Process {
		args := []string{"systemd-socket-activate"}
		for _, port := range ports {
			args = append(args, "-l", port)
		}
		args = append(args, p.Binary, "serve", "--data", p.Data, "--interface", "eth0")
		s, err := n.Start(lab.Command{Args: args})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.WaitTCP(t.Context(), 8080); err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := start("8080", "8443")
	// The first connection starts castpoint, which serves it.
	out, code, err := n.Run(t.Context(), "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "http://10.77.0.1:8080/nothing")
	if err != nil || code != 0 || out != "404" {
		t.Errorf("over the inherited socket: %q, exit code %d, %v: %s", out, code, err, s.Output.Tail(5))
	}
	if code, err := s.Stop(); err != nil || code != 0 {
		t.Errorf("stopped: exit code %d, %v", code, err)
	}

	s = start("8080", "8444")
	_, _, _ = n.Run(t.Context(), "curl", "-s", "--max-time", "5", "http://10.77.0.1:8080/")
	if code, err := s.Wait(t.Context()); err != nil || code != 1 || !strings.Contains(s.Output.String(), "8444: systemd has bound it for castpoint, and no setting names it") {
		t.Errorf("a port that no setting names: exit code %d, %v: %s", code, err, s.Output.Tail(5))
	}
}
