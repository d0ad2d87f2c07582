package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"castpoint/internal/lab"
	"castpoint/test/image"
	"castpoint/test/point"
)

// standIn is the program in place of the boot manager: an unsigned one that says
// on the screen that it runs.
const standIn = "/usr/lib/ipxe/snponly.efi"

// makeWinPE makes a WIM as Microsoft's boot chain wants it, of stand-ins. It
// returns its path and the files in it.
func makeWinPE(t *testing.T, dir string) (path string, files map[string][]byte) {
	t.Helper()
	efi, err := os.ReadFile(standIn)
	if err != nil {
		t.Fatal(err)
	}
	return makeWinPEWith(t, dir, efi)
}

// makeWinPEWith is makeWinPE with another program in place of the boot manager and
// of the loader.
func makeWinPEWith(t *testing.T, dir string, efi []byte) (path string, files map[string][]byte) {
	t.Helper()
	files = map[string][]byte{
		"Windows/Boot/EFI/bootmgfw.efi":                 efi,
		"Windows/Boot/EFI/boot.stl":                     []byte("trust"),
		"Windows/Boot/EFI/winsipolicy.p7b":              []byte("policy"),
		"Windows/Boot/Fonts/wgl4_boot.ttf":              bytes.Repeat([]byte("font"), 12_000),
		"Windows/Boot/DVD/EFI/boot.sdi":                 bytes.Repeat([]byte("sdi "), 800_000),
		"Windows/Boot/PXE/pxeboot.n12":                  []byte("pxeboot"),
		"Windows/Boot/PXE/bootmgr.exe":                  []byte("bootmgr"),
		"Windows/System32/Boot/winload.efi":             efi,
		"Windows/System32/Boot/winload.exe":             []byte("winload"),
		"Windows/System32/startnet.cmd":                 []byte("wpeinit\r\n"),
		"Windows/System32/drivers/etc/services.example": bytes.Repeat([]byte("x"), 100_000),
	}
	tree := filepath.Join(dir, "winpe")
	for name, data := range files {
		p := filepath.Join(tree, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	path = filepath.Join(dir, "boot.wim")
	wimlib(t, "capture", tree, path, "WinPE", "--compress=LZX", "--boot", "--no-acls", "--check")
	return path, files
}

func wimlib(t *testing.T, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "wimlib-imagex", args...).CombinedOutput(); err != nil {
		t.Fatalf("wimlib-imagex %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// What a signed boot manager asks for, in its order, by its names, with its
// options: over TFTP and over HTTP. The WIM at the end is one that wimlib takes,
// and its ticket admits the machine, once.
func TestWindowsBootFiles(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 2})
	source, files := makeWinPE(t, p.Network.Dir)
	osImage, assigned := addWIM(t, p, 2<<20)
	added, err := p.Run(t.Context(), "content", "add", "boot-image", source, "--name", "pe", "--data", p.Data)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"bootmgfw.efi", "not signed", "missing: bootmgfw_EX.efi", "missing: SkuSiPolicy.p7b"} {
		if !strings.Contains(added, want) {
			t.Errorf("content add does not say %q:\n%s", want, added)
		}
	}
	serve(t, p, "--assign", assigned.ID, "--ramdisk-block-size", "1400", "--ramdisk-window", "8")

	for i, by := range []string{"tftp", "http"} {
		h := p.Network.Clients[i]
		dir := "winpe/efi-x64/" + strings.ReplaceAll(h.MAC.String(), ":", "-")
		out := filepath.Join(p.Network.Dir, "got-"+by)
		get := func(name string, options ...string) []byte {
			t.Helper()
			defer os.Remove(out)
			if by == "http" {
				return fetch(t, h, out, "curl", "-sS", "--fail", "--path-as-is", "-o", out, "http://"+server+":8080/"+strings.ReplaceAll(strings.TrimPrefix(name, `\`), `\`, "/"))
			}
			args := []string{"atftp", "--get", "--remote-file", name, "--local-file", out}
			for _, o := range options {
				args = append(args, "--option", o)
			}
			return fetch(t, h, out, append(args, server)...)
		}
		same := func(name, want string, options ...string) {
			t.Helper()
			if got := get(name, options...); !bytes.Equal(got, files[want]) {
				t.Errorf("%s by %s: %d bytes that are not %s", name, by, len(got), want)
			}
		}
		slow, fast := "blksize 1456", []string{"blksize 1400", "windowsize 8"}
		same(dir+"/bootmgfw.efi", "Windows/Boot/EFI/bootmgfw.efi", "blksize 1468", "windowsize 4")
		store := get(`\`+strings.ReplaceAll(dir, "/", `\`)+`\BCD`, slow)
		if known := get(`\EFI\Microsoft\Boot\BCD`, slow); !bytes.Equal(known, store) {
			t.Errorf("by %s: the boot configuration by its well-known name is another", by)
		}
		file := filepath.Join(p.Network.Dir, "store")
		if err := os.WriteFile(file, store, 0o644); err != nil {
			t.Fatal(err)
		}
		words, err := p.Run(t.Context(), "bcd", "show", file)
		if err != nil {
			t.Fatal(err)
		}
		m := regexp.MustCompile(`(?m)^device +ramdisk=\[boot\](\S+),\{ramdiskoptions\}`).FindStringSubmatch(words)
		if m == nil || !regexp.MustCompile(`(?m)^ramdisktftpblocksize +1400$`).MatchString(words) {
			t.Fatalf("boot configuration by %s:\n%s", by, words)
		}
		if by == "http" { // first by HEAD
			head := func(name, want string) {
				t.Helper()
				said, _, err := h.Run(t.Context(), "curl", "-sS", "-I", "http://"+server+":8080/"+name)
				if err != nil || !regexp.MustCompile(want).MatchString(said) {
					t.Errorf("HEAD %s: %v:\n%s", name, err, said)
				}
			}
			head("EFI/Microsoft/Recovery/BCD", `^HTTP/1.1 404 `)
			head("EFI/Microsoft/Boot/BCD", fmt.Sprintf(`(?s)^HTTP/1.1 200 .*Content-Length: %d\s`, len(store)))
			head("EFI/Microsoft/Boot/Policies/SbcpFlightToken.p7b", `^HTTP/1.1 404 `)
		}
		same(`\EFI\Microsoft\Boot\WinSiPolicy.p7b`, "Windows/Boot/EFI/winsipolicy.p7b", slow)
		same(`\`+dir+"/bootmgfw.efi", "Windows/Boot/EFI/bootmgfw.efi", slow)
		same(`\boot.stl`, "Windows/Boot/EFI/boot.stl", slow)
		same(`\EFI\Microsoft\Boot\Fonts\wgl4_boot.ttf`, "Windows/Boot/Fonts/wgl4_boot.ttf", fast...)
		same(`\Boot\boot.sdi`, "Windows/Boot/DVD/EFI/boot.sdi", fast...)
		wim := get(m[1], fast...)
		if again := get(m[1], fast...); !bytes.Equal(again, wim) {
			t.Errorf("by %s: the WIM is another one when it is asked for again", by)
		}

		got := filepath.Join(p.Network.Dir, by+".wim")
		if err := os.WriteFile(got, wim, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := image.Verify(t.Context(), got); err != nil {
			t.Error(err)
		}
		tree := filepath.Join(p.Network.Dir, by+"-tree")
		wimlib(t, "apply", got, "1", tree)
		for name, want := range files {
			if b, err := os.ReadFile(filepath.Join(tree, name)); err != nil || !bytes.Equal(b, want) {
				t.Errorf("%s in the WIM: %d bytes, want %d, %v", name, len(b), len(want), err)
			}
		}
		agent, err := os.ReadFile(filepath.Join(filepath.Dir(p.Binary), "castagent-windows-amd64.exe"))
		if b, err2 := os.ReadFile(filepath.Join(tree, "castpoint/castagent.exe")); err != nil || err2 != nil || !bytes.Equal(b, agent) {
			t.Errorf("the agent in the WIM: %v, %v", err, err2)
		}
		ini, err := os.ReadFile(filepath.Join(tree, "Windows/System32/winpeshl.ini"))
		if err != nil || !strings.Contains(string(ini), `castpoint\start.cmd`) {
			t.Errorf("winpeshl.ini: %v: %s", err, ini)
		}

		conf, err := os.ReadFile(filepath.Join(tree, "castpoint/boot.conf"))
		if err != nil {
			t.Fatal(err)
		}
		word := func(name string) string {
			t.Helper()
			m := regexp.MustCompile(`(?m)^castpoint\.` + name + `=(\S+)\r$`).FindSubmatch(conf)
			if m == nil {
				t.Fatalf("no castpoint.%s in:\n%s", name, conf)
			}
			return string(m[1])
		}
		if word("server") != point.JoinURL || word("pin") != p.Pin || word("mac") != h.MAC.String() {
			t.Errorf("settings:\n%s", conf)
		}
		received := filepath.Join(p.Network.Dir, by+"-os.wim")
		proc, err := p.Receive(h, nil, assigned.ID, word("token"), received)
		if err != nil {
			t.Fatal(err)
		}
		mustReceive(t, proc, osImage, received)
		again, err := p.Receive(h, nil, assigned.ID, word("token"), received+"2")
		if err != nil {
			t.Fatal(err)
		}
		if code := wait(t, again); code != 5 {
			t.Errorf("a ticket was good twice: exit code %d", code)
		}
	}
}

// Firmware gets the boot manager out of the boot image by PXE, and starts it when
// Secure Boot allows it: a stand-in that nobody signed is refused there.
func TestFirmwareStartsBootManager(t *testing.T) {
	for _, c := range []struct {
		firmware lab.Firmware
		says     string
	}{
		{lab.UEFI, `iPXE \d`},
		{lab.UEFISecure, `Access Denied|Security Violation`},
	} {
		t.Run(string(c.firmware), func(t *testing.T) {
			p := newPoint(t, lab.Config{Clients: 1})
			source, _ := makeWinPE(t, p.Network.Dir)
			if _, err := p.Add(t.Context(), "boot-image", source, "--name", "pe"); err != nil {
				t.Fatal(err)
			}
			serve(t, p, "--dhcp", "server", "--pool", point.Pool)
			vm, err := p.Network.Boot(t.Context(), lab.Machine{Name: "m", Firmware: c.firmware})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := vm.Output.WaitFor(t.Context(), `NBP filename is winpe/efi-x64/52-54-00-77-00-01/bootmgfw\.efi`, patience); err != nil {
				t.Fatal(err)
			}
			if _, err := vm.Output.WaitFor(t.Context(), c.says, patience); err != nil {
				t.Fatal(err)
			}
		})
	}
}
