package main

import (
	"context"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"castpoint/agent"
	"castpoint/dhcp/lease"
	"castpoint/point"
	"castpoint/point/explain"
	"castpoint/web/admin"
	"castpoint/web/call"
)

// loaders makes a folder with the first stages for BIOS and x64.
func loaders(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"undionly.kpxe", "snponly.efi", "wimboot"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// settingsFile makes a file of settings for loopback.
func settingsFile(t *testing.T, more string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.yaml")
	text := "interface: lo\nloaders: " + loaders(t) + "\n" + more
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// explained runs castpoint explain, which prints an answer whatever its exit code.
func explained(t *testing.T, want int, args ...string) (x explain.Explanation) {
	t.Helper()
	code, out, errs := castpoint(t, append([]string{"explain", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &x); err != nil || code != want {
		t.Fatalf("explain %v: exit code %d, %s, %v", args, code, errs, err)
	}
	return x
}

// A device on record asks with its card and the firmware that it had last.
func TestExplainDevice(t *testing.T) {
	data := t.TempDir()
	common := []string{"--config", settingsFile(t, ""), "--data", data}
	succeeds(t, "device", "add", "--name", "pc-1", "--mac", "52:54:00:aa:00:01", "--uuid", "11111111-2222-4333-8444-555555555555", "--data", data)
	if x := explained(t, 0, append(common, "pc-1")...); x.File != "snponly.efi" || !strings.HasPrefix(x.Client, "52:54:00:aa:00:01") {
		t.Errorf("%+v", x)
	}
	if x := explained(t, 0, append(common, "pc-1", "--arch", "bios")...); x.File != "undionly.kpxe" {
		t.Errorf("%+v", x)
	}
	if code, _, errs := castpoint(t, append([]string{"explain", "pc-2"}, common...)...); code != 4 {
		t.Errorf("%d %s", code, errs)
	}
	// What lists and records say does not count for one that is taken as known.
	file := settingsFile(t, "allow: 52:54:00:cc\ndevices-unknown: ignore\n")
	if x := explained(t, 3, "--config", file, "--data", data, "--mac", "52:54:00:aa:00:09"); x.Answered {
		t.Errorf("%+v", x)
	}
	if x := explained(t, 0, "--config", file, "--data", data, "--mac", "52:54:00:aa:00:09", "--known"); x.File != "snponly.efi" || x.Waiting {
		t.Errorf("%+v", x)
	}
}

func TestExplainWithoutAServer(t *testing.T) {
	data := t.TempDir()
	file := settingsFile(t, "deny: 52:54:00:bb\nquirk: mac=52:54:00:cc style=redirect name=lab\nmenu: Press F8\n")
	common := []string{"--config", file, "--data", data}
	x := explained(t, 0, append(common, "--mac", "52:54:00:AA:00:01")...)
	if !x.Answered || x.File != "snponly.efi" || x.Interface != "lo" || x.Quirk != "uefi" || !x.Menu || x.Chain != "ipxe" ||
		x.Image != "" || !strings.Contains(x.Script, "no boot image") {
		t.Errorf("%+v", x)
	}
	if x := explained(t, 0, append(common, "--mac", "52:54:00:aa:00:01", "--arch", "bios")...); x.File != "undionly.kpxe" {
		t.Errorf("%+v", x)
	}
	if x := explained(t, 0, append(common, "--mac", "52:54:00:aa:00:01", "--ipxe")...); !strings.HasPrefix(x.File, "http://127.0.0.1:8080/ipxe/") || x.Menu {
		t.Errorf("%+v", x)
	}
	if x := explained(t, 0, append(common, "--mac", "52:54:00:cc:00:01")...); x.Quirk != "lab" || x.Style != "redirect" {
		t.Errorf("%+v", x)
	}
	if x := explained(t, 3, append(common, "--mac", "52:54:00:bb:00:01")...); x.Answered || !strings.Contains(x.Reason, "denied by list entry 52:54:00:bb") {
		t.Errorf("%+v", x)
	}
	if x := explained(t, 3, append(common, "--uuid", "4C4C4544-0031-3010-8052-B4C04F4E3332", "--arch", "arm64-http")...); x.Answered || !strings.Contains(x.Reason, "first stage") {
		t.Errorf("%+v", x)
	}
	text := succeeds(t, append([]string{"explain", "--script", "--mac", "52:54:00:aa:00:01"}, common...)...)
	for _, part := range []string{"snponly.efi", "because", "menu", "#!ipxe"} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in:\n%s", part, text)
		}
	}
	for args, want := range map[string]int{
		"explain":         agent.ExitUsage,
		"explain --mac x": agent.ExitUsage,
		"explain --mac 52:54:00:aa:00:01 --arch vax":        agent.ExitUsage,
		"explain --mac 52:54:00:aa:00:01 --interface none0": agent.ExitUsage,
		"dhcp settings":                    agent.ExitUsage,
		"dhcp settings isc":                agent.ExitUsage,
		"dhcp settings kea --address here": agent.ExitUsage,
	} {
		if code, _, errs := castpoint(t, append(strings.Fields(args), common...)...); code != want {
			t.Errorf("castpoint %s: exit code %d, %q; want %d", args, code, errs, want)
		}
	}
	server := settingsFile(t, "dhcp: server\npool: 127.0.0.10-127.0.0.20\nreserve: 52:54:00:aa:00:01=127.0.0.50\n")
	if x := explained(t, 0, "--mac", "52:54:00:aa:00:01", "--config", server, "--data", data); x.Address != "127.0.0.50" || x.Style != "" {
		t.Errorf("%+v", x)
	}
	bad := settingsFile(t, "delay: 1h\n")
	if code, _, errs := castpoint(t, "explain", "--mac", "52:54:00:aa:00:01", "--config", bad, "--data", data); code != agent.ExitUsage || !strings.Contains(errs, "delay") {
		t.Errorf("%d %s", code, errs)
	}
}

func TestDHCPSettings(t *testing.T) {
	data, file := t.TempDir(), settingsFile(t, "dhcp: \"off\"\n")
	for product, part := range map[string]string{"kea": `"client-classes"`, "dnsmasq": "dhcp-boot=", "windows": "Add-DhcpServerv4Policy"} {
		text := succeeds(t, "dhcp", "settings", product, "--address", "192.0.2.9", "--config", file, "--data", data)
		if !strings.Contains(text, part) || !strings.Contains(text, "192.0.2.9") || !strings.Contains(text, "snponly.efi") {
			t.Errorf("%s:\n%s", product, text)
		}
	}
	f := decode[explain.ForeignSettings](t, "dhcp", "settings", "kea", "--config", file, "--data", data)
	if f.Server != "127.0.0.1" || f.Missing["efi-arm64"] == "" {
		t.Errorf("%+v", f)
	}
}

func TestLeasesWithoutAServer(t *testing.T) {
	data := t.TempDir()
	if out := succeeds(t, "dhcp", "leases", "--data", data); !strings.Contains(out, "no address") {
		t.Error(out)
	}
	j, err := lease.OpenJournal(filepath.Join(data, "leases"))
	if err != nil {
		t.Fatal(err)
	}
	for last, expires := range map[string]time.Duration{"192.0.2.9": time.Hour, "192.0.2.8": time.Hour, "192.0.2.7": -time.Hour} {
		l := lease.Lease{Address: netip.MustParseAddr(last), Key: "mac:52:54:00:00:00:01", MAC: "52:54:00:00:00:01", Hostname: "pc", Expires: time.Now().Add(expires)}
		if err := j.Put(l); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	list := decode[[]lease.Lease](t, "dhcp", "leases", "--data", data)
	if len(list) != 2 || list[0].Address.String() != "192.0.2.8" || list[1].Hostname != "pc" {
		t.Errorf("%+v", list)
	}
	if out := succeeds(t, "dhcp", "leases", "--data", data); !strings.Contains(out, "192.0.2.9") {
		t.Error(out)
	}
}

// TestSocket: commands reach a server by its unix socket, also when they cannot
// read its token, and whatever the path is.
func TestSocket(t *testing.T) {
	data := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	file := settingsFile(t, "dhcp: \"off\"\ntftp: false\nhttps-name: boot.example.net\nhttps: "+freePort(t)+"\n")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out, errs := newLockedBuffer(), newLockedBuffer()
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"serve", "--config", file, "--data", data, "--http", freePort(t), "--join", freePort(t),
			"--admin", freePort(t), "--log-level", "error"}, out, errs)
	}()
	text := out.waitFor(t, "Next\n")
	if !strings.Contains(text, "boot HTTPS") || !strings.Contains(text, "boot-ca.crt") || !strings.Contains(text, "castpoint dhcp settings") {
		t.Error(text)
	}
	socket := filepath.Join(data, "admin.sock")
	deadline := time.Now().Add(10 * time.Second)
	for {
		if _, ok, err := call.ReadFile(data); ok && err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no admin file")
		}
		time.Sleep(10 * time.Millisecond)
	}
	st, err := os.Stat(socket)
	if err != nil || st.Mode().Perm() != 0o600 || st.Mode()&os.ModeSocket == 0 {
		t.Fatal(st, err)
	}
	// Without the token: only the socket is left.
	if err := os.Remove(filepath.Join(data, "admin.json")); err != nil {
		t.Fatal(err)
	}
	s := decode[admin.Status](t, "status", "--data", data)
	if s.Network == nil || s.Network.DHCP != "off" || s.Network.Interfaces[0] != "lo 127.0.0.1" {
		t.Errorf("%+v", s)
	}
	if out := succeeds(t, "status", "--data", data); !strings.Contains(out, "interface") {
		t.Error(out)
	}
	if x := explained(t, 0, "--mac", "52:54:00:aa:00:01", "--data", data); x.File != "snponly.efi" || !strings.Contains(x.Reason, "castpoint dhcp settings") {
		t.Errorf("%+v", x)
	}
	if code, _, errs := castpoint(t, "dhcp", "leases", "--data", data); code != agent.ExitRefused || !strings.Contains(errs, "--dhcp off") {
		t.Errorf("%d %s", code, errs)
	}
	if code, _, errs := castpoint(t, "explain", "--mac", "52:54:00:aa:00:01", "--interface", "eth9", "--data", data); code != 2 || !strings.Contains(errs, "eth9") {
		t.Errorf("%d %s", code, errs)
	}
	if out := succeeds(t, "dhcp", "settings", "dnsmasq", "--data", data); !strings.Contains(out, "dhcp-boot") {
		t.Error(out)
	}
	stop()
	select {
	case code := <-ended:
		if code != 0 {
			t.Errorf("ended with %d", code)
		}
	case <-time.After(2 * point.StopTime):
		t.Fatal("it does not stop")
	}
	if _, err := os.Lstat(socket); !os.IsNotExist(err) {
		t.Error("the socket is still there", err)
	}
	if left, err := filepath.Glob(filepath.Join(data, ".socket-*")); err != nil || left != nil {
		t.Error(left, err)
	}
	if s := decode[admin.Status](t, "status", "--data", data); s.Network != nil {
		t.Errorf("%+v", s)
	}
}
