package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"castpoint/internal/lab"
	"castpoint/test/point"
)

// servedFolder makes a loader folder with the files that a boot manager asks for,
// and serves it.
func servedFolder(t *testing.T, p *point.Point, args ...string) (dir string) {
	t.Helper()
	dir = filepath.Join(p.Network.Dir, "loaders")
	for name, size := range map[string]int{
		"Boot/boot.wim":                          3<<20 + 17,
		"EFI/Microsoft/Boot/BCD":                 1468 * 8, // a whole number of blocks: the last one is empty
		"EFI/Microsoft/Boot/Fonts/wgl4_boot.ttf": 47452,
		"empty.efi":                              0,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		writeRandom(t, path, size)
	}
	serve(t, p, append([]string{"--dhcp", "off", "--loaders", dir, "--log-level", "debug"}, args...)...)
	return dir
}

// Every TFTP client that people and scripts use gets the same bytes, whatever it
// negotiates and however it writes the name.
func TestTFTPClients(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 1})
	dir := servedFolder(t, p)
	h, out := p.Network.Clients[0], filepath.Join(p.Network.Dir, "got")
	for _, f := range []struct{ file, name string }{
		{"Boot/boot.wim", "Boot/boot.wim"},
		{"Boot/boot.wim", `\BOOT\BOOT.WIM`},
		{"EFI/Microsoft/Boot/BCD", "efi//microsoft/boot/bcd"},
		{"EFI/Microsoft/Boot/Fonts/wgl4_boot.ttf", "/EFI/Microsoft/Boot/Fonts/WGL4_Boot.ttf"},
	} {
		want, err := os.ReadFile(filepath.Join(dir, f.file))
		if err != nil {
			t.Fatal(err)
		}
		clients := [][]string{
			{"atftp", "--get", "--remote-file", f.name, "--local-file", out, server},
			{"atftp", "--get", "--option", "blksize 1468", "--option", "windowsize 16", "--option", "tsize", "--option", "timeout 3",
				"--remote-file", f.name, "--local-file", out, server},
			{"tftp", "-m", "binary", server, "69", "-c", "get", f.name, out},
			{"busybox", "tftp", "-g", "-r", f.name, "-l", out, server},
			{"busybox", "tftp", "-g", "-b", "1468", "-r", f.name, "-l", out, server},
		}
		if !strings.Contains(f.name, `\`) { // curl makes %5C of it, and TFTP knows no such thing
			clients = append(clients,
				[]string{"curl", "-sS", "--fail", "-o", out, "tftp://" + server + "/" + f.name},
				[]string{"curl", "-sS", "--fail", "--tftp-no-options", "-o", out, "tftp://" + server + "/" + f.name},
				[]string{"curl", "-sS", "--fail", "--tftp-blksize", "1468", "-o", out, "tftp://" + server + "/" + f.name})
		}
		for _, c := range clients {
			if got := fetch(t, h, out, c...); !bytes.Equal(got, want) {
				t.Errorf("%s: %d bytes that differ from the %d of %s", strings.Join(c, " "), len(got), len(want), f.file)
			}
			if err := os.Remove(out); err != nil {
				t.Fatal(err)
			}
		}
	}
	// What is not there is said in words that fit a screen.
	for _, c := range [][]string{
		{"tftp", "-m", "binary", server, "69", "-c", "get", "no-such.efi", out},
		{"atftp", "--get", "--remote-file", "no-such.efi", "--local-file", out, server},
		{"busybox", "tftp", "-g", "-r", "no-such.efi", "-l", out, server},
	} {
		said, _, err := h.Run(t.Context(), c...) // tftp-hpa ends with 0
		if err != nil || !strings.Contains(said, "no-such.efi") {
			t.Errorf("%s: %v: %s", strings.Join(c, " "), err, said)
		}
	}
	if out := p.Server.Output.String(); strings.Contains(out, "transfer aborted") {
		t.Errorf("a transfer was aborted:\n%s", p.Server.Output.Tail(20))
	}
}

// A file of 512-byte blocks that number more than 65536: the numbers start anew.
func TestTFTPRollover(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 1, Offload: true})
	big := filepath.Join(p.Network.Dir, "loaders", "big.bin")
	if err := os.Mkdir(filepath.Dir(big), 0o755); err != nil {
		t.Fatal(err)
	}
	writeRandom(t, big, 70000*512+100)
	servedFolder(t, p)
	want, err := os.ReadFile(big)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(p.Network.Dir, "got")
	got := fetch(t, p.Network.Clients[0], out, "atftp", "--get", "--option", "windowsize 32", "--remote-file", "big.bin", "--local-file", out, server)
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes that differ from the %d sent", len(got), len(want))
	}
}

// What curl sees of the boot HTTP listener: ranges, HEAD, If-Range, an open
// connection, no redirect and no listing.
func TestHTTPByCurl(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 1})
	dir := servedFolder(t, p)
	h, out := p.Network.Clients[0], filepath.Join(p.Network.Dir, "got")
	wim, err := os.ReadFile(filepath.Join(dir, "Boot/boot.wim"))
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + server + ":8080"
	curl := func(args ...string) string {
		t.Helper()
		said, code, err := h.Run(t.Context(), append([]string{"curl", "-sS", "--path-as-is", "--max-time", "60"}, args...)...)
		if err != nil || code != 0 {
			t.Fatalf("curl %s: code %d, %v: %s", strings.Join(args, " "), code, err, said)
		}
		return strings.ReplaceAll(said, "\r", "")
	}
	head := curl("-I", url+"/boot/BOOT.wim")
	for _, want := range []string{"HTTP/1.1 200 ", "\nContent-Length: 3145745\n", "\nAccept-Ranges: bytes\n", "\nEtag: \""} {
		if !strings.Contains(head, want) {
			t.Errorf("HEAD lacks %q:\n%s", want, head)
		}
	}
	_, etag, _ := strings.Cut(head, "\nEtag: ")
	etag, _, _ = strings.Cut(etag, "\n")

	for _, c := range []struct {
		args   []string
		status string
		want   []byte
	}{
		{nil, "200", wim},
		{[]string{"-r", "1000-1999"}, "206", wim[1000:2000]},
		{[]string{"-r", "-100"}, "206", wim[len(wim)-100:]},
		{[]string{"-r", "3145700-"}, "206", wim[3145700:]},
		{[]string{"-r", "10-19", "-H", "If-Range: " + etag}, "206", wim[10:20]},
		{[]string{"-r", "10-19", "-H", `If-Range: "old"`}, "200", wim},
		{[]string{"-H", "If-None-Match: " + etag}, "304", nil},
		{[]string{"-r", "9999999-"}, "416", nil},
	} {
		if err := os.WriteFile(out, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		status := curl(append(c.args, "-o", out, "-w", "%{http_code}", url+"/Boot/boot.wim")...)
		got, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		if status != c.status || c.status < "300" && !bytes.Equal(got, c.want) {
			t.Errorf("%v: status %s with %d bytes, want %s with %d", c.args, status, len(got), c.status, len(c.want))
		}
	}
	// Several ranges come in parts.
	several := curl("-r", "0-3,8-11", "-o", out, "-w", "%{http_code} %{content_type} %{size_download}", url+"/Boot/boot.wim")
	parts, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(several, "206 multipart/byteranges") || !bytes.Contains(parts, wim[0:4]) || !bytes.Contains(parts, wim[8:12]) ||
		!bytes.Contains(parts, []byte("bytes 8-11/3145745")) {
		t.Errorf("two ranges: %s: %q", several, parts)
	}
	// A broken download goes on where it was.
	if err := os.WriteFile(out, wim[:1<<20], 0o644); err != nil {
		t.Fatal(err)
	}
	curl("-C", "-", "-o", out, url+"/Boot/boot.wim")
	if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, wim) {
		t.Errorf("a continued download differs: %v", err)
	}
	// One connection carries all, HEAD and GET, hits and misses.
	connects := curl("-o", out, "-o", out, "-o", out, "-w", "%{num_connects} ",
		url+"/EFI/Microsoft/Boot/BCD", url+"/efi/microsoft/boot/fonts/wgl4_boot.ttf", url+"/EFI/Microsoft/Boot/SiPolicy.p7b")
	if connects != "1 0 0 " {
		t.Errorf("connections made: %s, want 1 0 0", connects)
	}
	// No redirect, no listing; 403 differs from 404 and both say why.
	for path, want := range map[string]string{
		"/":                                  "404",
		"/Boot":                              "404",
		"/Boot/":                             "404",
		"//Boot//boot.wim":                   "200",
		"/Boot/boot.wim/":                    "200",
		"/empty.efi":                         "200",
		"/Boot/../Boot/boot.wim":             "403",
		"/%2e%2e/etc/passwd":                 "403",
		"/object/" + strings.Repeat("0", 64): "404",
	} {
		said := curl("-o", out, "-w", "%{http_code} %{redirect_url}|", url+path)
		if said != want+" |" {
			t.Errorf("%s: %s, want %s", path, said, want)
		}
		if body, err := os.ReadFile(out); err == nil && want > "400" && !bytes.HasPrefix(body, []byte("castpoint: boot file ")) {
			t.Errorf("%s: the answer does not say why: %q", path, body)
		}
	}
	// In the log a policy is no warning, a missing boot.stl is.
	curl("-o", out, url+"/EFI/Microsoft/Boot/boot.stl")
	if _, err := p.Server.Output.WaitFor(t.Context(), `WARN.*boot\.stl`, 10*time.Second); err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(p.Server.Output.String()) {
		if strings.Contains(line, "SiPolicy.p7b") && strings.Contains(line, "WARN") {
			t.Errorf("a missing policy is a warning: %s", line)
		}
	}
}

// The first files by firmware: EDK2 probes the size by TFTP, asks for a window,
// and starts what it got; SeaBIOS has iPXE as its PXE ROM, which goes for its
// script by HTTP at once. Neither leaves a failure in the log.
func TestFirmwareFetchesFirstFiles(t *testing.T) {
	for _, c := range []struct {
		firmware lab.Firmware
		log      []string // patterns, each a line
	}{
		{lab.UEFI, []string{
			`size probe.*snponly\.efi`,
			`transfer finished.*snponly\.efi.*"windowsize": 4,.*"confirmed": true`,
			`boot file by http.*/ipxe/efi-x64/.*"status": 200`,
		}},
		{lab.BIOS, []string{`boot file by http.*/ipxe/bios/.*"status": 200`}},
	} {
		t.Run(string(c.firmware), func(t *testing.T) {
			p := newPoint(t, lab.Config{Offload: true})
			serve(t, p, "--dhcp", "server", "--pool", point.Pool, "--log-level", "debug")
			start := time.Now()
			if _, err := p.Network.Boot(t.Context(), lab.Machine{Name: "m", Firmware: c.firmware}); err != nil {
				t.Fatal(err)
			}
			for _, pattern := range c.log {
				m, err := p.Server.Output.WaitFor(t.Context(), pattern, patience)
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("after %.0f s: %s", time.Since(start).Seconds(), m[0])
			}
			if strings.Contains(p.Server.Output.String(), "transfer aborted") {
				t.Error("the log has a failed transfer")
			}
		})
	}
}
