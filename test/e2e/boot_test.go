package e2e

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"castpoint/internal/lab"
	"castpoint/test/image"
	"castpoint/test/point"
)

const server = "10.77.0.1"

// fetch runs a download on the client and returns what arrived.
func fetch(t *testing.T, h *lab.Host, out string, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	said, code, err := h.Run(ctx, args...)
	if err != nil || code != 0 {
		t.Fatalf("%s: code %d, %v: %s", strings.Join(args, " "), code, err, said)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// First stages by TFTP, as two foreign clients see them.
func TestTFTP(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 1})
	serve(t, p)
	h, out := p.Network.Clients[0], filepath.Join(p.Network.Dir, "got")
	for _, name := range []string{"undionly.kpxe", "snponly.efi"} {
		want, err := os.ReadFile("/usr/lib/ipxe/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range [][]string{
			{"atftp", "--get", "--remote-file", name, "--local-file", out, server},
			{"atftp", "--get", "--option", "blksize 1468", "--option", "windowsize 4", "--remote-file", name, "--local-file", out, server},
			{"curl", "-sS", "--fail", "--output", out, "tftp://" + server + "/" + name},
			{"curl", "-sS", "--fail", "--tftp-blksize", "1400", "--output", out, "tftp://" + server + "//" + strings.ToUpper(name)},
			{"curl", "-sS", "--fail", "--output", out, "http://" + server + ":8080/" + name},
		} {
			if got := fetch(t, h, out, c...); !bytes.Equal(got, want) {
				t.Errorf("%s: %d bytes that differ from the %d of /usr/lib/ipxe/%s", strings.Join(c, " "), len(got), len(want), name)
			}
			if err := os.Remove(out); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, bad := range []string{"no-such-file", "../../../etc/passwd", "/etc/passwd", "data/tokens.json"} {
		said, code, err := h.Run(t.Context(), "curl", "-sS", "--fail", "--path-as-is", "tftp://"+server+"/"+bad)
		if err != nil || code == 0 {
			t.Errorf("tftp %s: code %d, %v: %s", bad, code, err, said)
		}
		said, code, err = h.Run(t.Context(), "curl", "-sS", "--fail", "--path-as-is", "http://"+server+":8080/"+bad)
		if err != nil || code == 0 {
			t.Errorf("http %s: code %d, %v: %s", bad, code, err, said)
		}
	}
}

// Kernel and initramfs are named by a script made for the device, and can be
// fetched by the names in it.
func TestBootScript(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 1})
	kernel, initrd := filepath.Join(p.Network.Dir, "k"), filepath.Join(p.Network.Dir, "i")
	writeRandom(t, kernel, 1<<20)
	writeRandom(t, initrd, 3<<20)
	if _, err := p.Run(t.Context(), "content", "add", "boot-image", "--kernel", kernel, "--initrd", initrd,
		"--arch", "amd64", "--name", "any", "--data", p.Data); err == nil {
		t.Error("random bytes were taken for a kernel")
	}
	if _, err := p.AddBootEnvironment(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, c := addWIM(t, p, 1<<20)
	serve(t, p, "--assign", c.ID, "--target", "/dev/vda", "--kernel-args", "console=ttyS0")
	h, out := p.Network.Clients[0], filepath.Join(p.Network.Dir, "got")
	url := "http://" + server + ":8080"
	script := string(fetch(t, h, out, "curl", "-sS", "--fail", "-o", out, url+"/ipxe/pcbios-x86_64/52-54-00-12-34-56"))
	for _, want := range []string{"#!ipxe\n", "castpoint.server=https://10.77.0.1:8443", "castpoint.pin=" + p.Pin, "castpoint.token=", "console=ttyS0"} {
		if !strings.Contains(script, want) {
			t.Errorf("the script lacks %q:\n%s", want, script)
		}
	}
	for _, c := range []struct{ pattern, file string }{
		{`(?m)^kernel (\S+)`, "vmlinuz"},
		{`(?m)^initrd .*?(/\S+)`, "initrd"},
	} {
		m := regexp.MustCompile(c.pattern).FindStringSubmatch(script)
		if m == nil {
			t.Fatalf("no %s in the script:\n%s", c.file, script)
		}
		want, err := os.ReadFile(filepath.Join(p.Network.Dir, "bootenv", c.file))
		if err != nil {
			t.Fatal(err)
		}
		if got := fetch(t, h, out, "curl", "-sS", "--fail", "-o", out, url+m[1]); !bytes.Equal(got, want) {
			t.Errorf("%s by HTTP differs from what was added", m[1])
		}
		if got := fetch(t, h, out, "curl", "-sS", "--fail", "-r", "1000-1999", "-o", out, url+m[1]); !bytes.Equal(got, want[1000:2000]) {
			t.Errorf("a range of %s differs", m[1])
		}
	}
}

// A machine with an empty disk boots over PXE and ends with a verified WIM: the
// whole way, by firmware, in both DHCP modes.
func TestMachineBootsAndReceives(t *testing.T) {
	for _, c := range []struct {
		name     string
		firmware lab.Firmware
		proxy    bool
	}{
		{"BIOS, castpoint's own DHCP", lab.BIOS, false},
		{"UEFI, beside another DHCP server", lab.UEFI, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPoint(t, lab.Config{Clients: 1, Offload: true})
			wim, content := addWIM(t, p, 24<<20)
			if _, err := p.AddBootEnvironment(t.Context()); err != nil {
				t.Fatal(err)
			}
			args := []string{"--assign", content.ID, "--target", "/dev/vda", "--after", "poweroff", "--kernel-args", "console=ttyS0"}
			if c.proxy {
				startDnsmasq(t, p.Network, p.Network.Clients[0])
			} else {
				args = append(args, "--dhcp", "server", "--pool", point.Pool)
			}
			serve(t, p, args...)
			source, err := os.ReadFile(wim)
			if err != nil {
				t.Fatal(err)
			}
			disk := filepath.Join(p.Network.Dir, "disk")
			if err := os.WriteFile(disk, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(disk, 64<<20); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			vm, err := p.Network.Boot(t.Context(), lab.Machine{Name: "m", Firmware: c.firmware, Disk: disk})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := vm.Output.WaitFor(t.Context(), "boot environment, kernel", 3*time.Minute); err != nil {
				t.Fatal(err)
			}
			t.Logf("Linux after %.0f s", time.Since(start).Seconds())
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			if _, err := vm.Wait(ctx); err != nil {
				t.Fatal(err)
			}
			t.Logf("done after %.0f s", time.Since(start).Seconds())
			if err := os.Truncate(disk, int64(len(source))); err != nil {
				t.Fatal(err)
			}
			if err := image.Same(wim, disk); err != nil {
				t.Fatalf("%v; the console:\n%s", err, vm.Output.Tail(40))
			}
			if err := image.Verify(t.Context(), disk); err != nil {
				t.Error(err)
			}
		})
	}
}
