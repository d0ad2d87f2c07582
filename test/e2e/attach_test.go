package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"castpoint/internal/lab"
	"castpoint/test/image"
)

// What is attached to a boot image is in the WIM that each machine gets, in the same
// bytes by TFTP, by HTTP, and by HTTP in parts; wimlib takes it for a whole WIM. What
// is detached is gone at the next boot.
func TestContentAttach(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 1, Offload: true})
	dir := p.Network.Dir
	source, files := makeWinPE(t, dir)
	if _, err := p.Add(t.Context(), "boot-image", source, "--name", "pe"); err != nil {
		t.Fatal(err)
	}
	write := func(path string, data []byte) string {
		t.Helper()
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	inf, sys := []byte("[Version]\r\nClass=Net\r\n"), bytes.Repeat([]byte("driver"), 50_000)
	write("lan/net.inf", inf)
	write("lan/x64/net.sys", sys)
	write("realtek/rt.inf", inf)
	tool := write("diag.exe", bytes.Repeat([]byte("tool"), 40_000))
	services := write("services", []byte("another one\n"))
	if _, err := p.Add(t.Context(), "driver-package", filepath.Join(dir, "realtek"), "--name", "realtek"); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		t.Helper()
		out, err := p.Run(t.Context(), append(args, "--data", p.Data)...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	serve(t, p)
	h := p.Network.Clients[0]
	name := "winpe/efi-x64/" + strings.ReplaceAll(h.MAC.String(), ":", "-") + "/"
	url := "http://" + server + ":8080/" + name
	out := filepath.Join(dir, "got.wim")
	curl := func(args ...string) []byte {
		t.Helper()
		return fetch(t, h, out, append([]string{"curl", "-sS", "--fail", "-o", out}, args...)...)
	}
	plain := curl(url + "boot.wim")

	said := run("content", "attach", "pe", "--drivers", filepath.Join(dir, "lan"), "--drivers", "realtek",
		"--file", tool+"=Windows/System32/diag.exe", "--file", services+`=\windows\system32\DRIVERS\etc\services.example`)
	for _, want := range []string{`drivers +lan +2 files`, `drivers +realtek +1 files`, `attached +Windows/System32/diag\.exe`} {
		if !regexp.MustCompile(want).MatchString(said) {
			t.Errorf("content attach does not say %q:\n%s", want, said)
		}
	}
	for _, bad := range [][]string{
		{"--file", tool + "=../diag.exe"},
		{"--file", filepath.Join(dir, "gone.exe") + "=gone.exe"},
		{"--drivers", "no-such-package"},
	} {
		if _, err := p.Run(t.Context(), append([]string{"content", "attach", "pe", "--data", p.Data}, bad...)...); err == nil {
			t.Errorf("content attach takes %q", bad)
		}
	}

	// The next boot begins with the boot configuration.
	curl(url + "BCD")
	wim := curl(url + "boot.wim")
	if len(wim) < len(plain)+len(sys)+160_000 {
		t.Errorf("%d bytes with what is attached, %d without", len(wim), len(plain))
	}
	tftp := fetch(t, h, out, "atftp", "--get", "--option", "blksize 1456", "--option", "windowsize 16", "--remote-file", name+"boot.wim", "--local-file", out, server)
	if !bytes.Equal(tftp, wim) {
		t.Errorf("by TFTP: %d bytes that are not those by HTTP", len(tftp))
	}
	// From behind the bytes that are stored, across the seam, and the rest of it all.
	for _, r := range [][2]int{{0, 999}, {len(plain) - 3000, len(plain) + 3000}, {100_000, len(wim) - 1}} {
		part := curl("-r", fmt.Sprintf("%d-%d", r[0], r[1]), url+"boot.wim")
		if !bytes.Equal(part, wim[r[0]:r[1]+1]) {
			t.Errorf("bytes %d to %d by HTTP: %d others", r[0], r[1], len(part))
		}
	}
	if err := os.WriteFile(out, wim[:1<<20], 0o644); err != nil {
		t.Fatal(err)
	}
	if got := curl("-C", "-", url+"boot.wim"); !bytes.Equal(got, wim) {
		t.Errorf("continued by HTTP: %d bytes, or others", len(got))
	}

	if err := image.Verify(t.Context(), out); err != nil {
		t.Error(err)
	}
	wimlib(t, "info", out)
	wimlib(t, "dir", out, "1")
	wimlib(t, "extract", out, "1", "/castpoint", "--dest-dir="+filepath.Join(dir, "part"), "--no-acls")
	tree := filepath.Join(dir, "tree")
	wimlib(t, "apply", out, "1", tree)
	files["castpoint/drivers/lan/net.inf"], files["castpoint/drivers/lan/x64/net.sys"] = inf, sys
	files["castpoint/drivers/realtek/rt.inf"] = inf
	files["Windows/System32/diag.exe"] = bytes.Repeat([]byte("tool"), 40_000)
	files["Windows/System32/drivers/etc/services.example"] = []byte("another one\n")
	for name, want := range files {
		if b, err := os.ReadFile(filepath.Join(tree, name)); err != nil || !bytes.Equal(b, want) {
			t.Errorf("%s in the WIM: %d bytes, want %d, %v", name, len(b), len(want), err)
		}
	}
	if _, err := os.Stat(filepath.Join(tree, "castpoint/castagent.exe")); err != nil {
		t.Error("the agent is not in the WIM beside what is attached")
	}

	run("content", "detach", "pe", "lan", "realtek", "Windows/System32/diag.exe", "windows/system32/drivers/etc/services.example")
	curl(url + "BCD")
	if got := curl(url + "boot.wim"); len(got) != len(plain) {
		t.Errorf("%d bytes when all is detached, %d before it was attached", len(got), len(plain))
	}
}
