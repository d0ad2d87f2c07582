package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"castpoint/deploy/sequence"
	"castpoint/internal/lab"
	"castpoint/test/point"
)

// debianImage makes a WIM of a Debian that starts in a machine: with a kernel, GRUB for
// both firmwares, systemd, and an address by DHCP.
func debianImage(t *testing.T, dir string) string {
	t.Helper()
	file := filepath.Join(dir, "debian.wim")
	// Who works on this test leaves it there between two runs.
	if made := os.Getenv("CASTPOINT_DEBIAN_WIM"); made != "" {
		if _, err := os.Stat(made); err == nil {
			return made
		}
		file = made
	}
	root := bootstrap(t, "systemd", "systemd-sysv", "udev", "initramfs-tools", "zstd", "linux-image-cloud-amd64",
		"grub-pc-bin", "grub-efi-amd64-bin", "grub2-common")
	for name, text := range map[string]string{
		"etc/systemd/network/80-dhcp.network": "[Match]\nName=en* eth*\n[Network]\nDHCP=yes\n",
		"etc/default/grub":                    "GRUB_TIMEOUT=0\nGRUB_DISTRIBUTOR=Debian\nGRUB_CMDLINE_LINUX=\"console=ttyS0 quiet\"\n",
		"etc/machine-id":                      "",
	} {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "systemctl", "--root="+root, "enable", "systemd-networkd").CombinedOutput(); err != nil {
		t.Fatalf("systemctl: %v: %s", err, out)
	}
	for _, name := range []string{"usr/share/doc", "usr/share/man", "usr/share/locale", "var/lib/apt/lists", "var/cache/apt"} {
		if err := os.RemoveAll(filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	wimlib(t, "capture", root, file, "Debian", "--unix-data", "--compress=XPRESS")
	return file
}

// linuxSteps are what the test adds to the template: they run in the Linux that was
// installed.
const linuxSteps = `
  - name: A tool
    install-package: {content: tool, command: "sh install.sh", restart: [10]}
  - name: Use it
    run-command: {command: "castpoint-test-tool; findmnt --noheadings --output SOURCE /; systemctl is-active castpoint-continue", variable: Said}
  - name: Note it
    set-variable: {name: Where, value: "${_Environment}: ${Said}"}
`

// Two machines, one with UEFI firmware and one with a BIOS, boot over PXE and get a
// Debian by the template install-linux, in one session. They start it from their
// disks, and the sequence goes on there: a package is installed, the machine restarts
// because that wants it, a command is run; then the agent removes itself, and the
// machine switches itself off.
func TestLinuxDeployment(t *testing.T) {
	takesMinutes(t)
	p := newPoint(t, lab.Config{Offload: true})
	dir := p.Network.Dir
	wim := debianImage(t, dir)
	if _, err := p.Add(t.Context(), "os-image", wim, "--name", "debian-13", "--multicast", "--encrypt"); err != nil {
		t.Fatal(err)
	}
	script := "set -e\nprintf '#!/bin/sh\\necho the tool works\\n' >/usr/local/bin/castpoint-test-tool\nchmod 755 /usr/local/bin/castpoint-test-tool\nexit 10\n"
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "tool"), 0o755), os.WriteFile(filepath.Join(dir, "tool/install.sh"), []byte(script), 0o644)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Add(t.Context(), "package", filepath.Join(dir, "tool"), "--name", "tool"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.AddBootEnvironment(t.Context(), "--from", linuxFrom()); err != nil {
		t.Fatal(err)
	}
	serve(t, p, "--dhcp", "server", "--pool", point.Pool, "--kernel-args", "console=ttyS0", "--min-members", "2", "--max-wait", "60s")
	text, err := sequence.Template("install-linux")
	if err != nil {
		t.Fatal(err)
	}
	a := newAdmin(p)
	a.call(t, http.MethodPost, "/sequences", strings.Replace(string(text), "disk-size: 8GB", "disk-size: 1GB", 1)+linuxSteps, nil)

	start := time.Now()
	type target struct {
		*lab.VM
		disk string
	}
	var targets []*target
	var names []string
	for _, f := range linuxFirmwares() {
		name := "pc-" + strings.ToLower(string(f))
		disk := blankDisk(t, filepath.Join(dir, name+".disk"), 2<<30)
		targets = append(targets, &target{disk: disk})
		names = append(names, name)
		console, err := os.Create(filepath.Join(dir, name+".console"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { console.Close() })
		vm := lab.Machine{Name: name, Firmware: f, Disk: disk, Restarts: true, Memory: 1024, Console: console}
		targets[len(targets)-1].VM = bootVM(t, p, vm)
		if _, err := p.Run(t.Context(), "device", "add", "--mac", targets[len(targets)-1].MAC, "--name", name, "--data", p.Data); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Run(t.Context(), "device", "set", name, "--variable", "ComputerName="+name, "--data", p.Data); err != nil {
			t.Fatal(err)
		}
	}
	a.call(t, http.MethodPost, "/collections", map[string]any{"name": "linux", "devices": names}, nil)
	a.call(t, http.MethodPost, "/deployments", map[string]any{"name": "linux", "sequence": "install-linux", "collection": "linux",
		"purpose": "required", "after": "poweroff"}, nil)
	for i, m := range targets {
		if said, err := m.Output.WaitFor(t.Context(), "the system on the disk is to go on|FAILED:", 15*time.Minute); err != nil || strings.Contains(said[0], "FAILED") {
			t.Fatalf("%v; the console:\n%s", err, m.Output.Tail(60))
		}
		t.Logf("%s restarts into its disk after %.0f s", names[i], time.Since(start).Seconds())
		// Its firmware asks the network first, and is sent to its disk.
		for _, says := range []string{`(?s)the system on the disk is to go on.*going on with step`, `(?s)castpoint: .*now: reboot.*going on with step`, `now: poweroff`} {
			if _, err := m.Output.WaitFor(t.Context(), says, 15*time.Minute); err != nil {
				t.Fatalf("%v; the console:\n%s", err, m.Output.Tail(60))
			}
			t.Logf("%s: %s after %.0f s", names[i], says, time.Since(start).Seconds())
		}
	}
	for i, m := range targets {
		eventually(t, names[i]+" switches itself off", func() bool {
			select {
			case <-m.Done():
				return true
			default:
				return false
			}
		})
		all := a.runs(t, names[i])
		if len(all) != 1 || all[0].State != "succeeded" {
			t.Fatalf("%s: runs %+v", names[i], all)
		}
		var got []string
		for _, s := range all[0].Steps {
			got = append(got, s.Name+" "+s.State)
			if s.Name == "Use it" && (!strings.Contains(s.Output, "the tool works") || !regexp.MustCompile(`/dev/vda\d`).MatchString(s.Output) || !strings.Contains(s.Output, "active")) {
				t.Errorf("%s: step %+v", names[i], s)
			}
		}
		if want := "Is the machine fit for it? done, Prepare the disk done, Apply Linux done, Make the disk boot done, Its name done, Keep the logs done, Start Linux done, " +
			"A tool done, Use it done, Note it done"; strings.Join(got, ", ") != want {
			t.Errorf("%s: steps %s", names[i], strings.Join(got, ", "))
		}
		timeline, err := p.Run(t.Context(), "device", "timeline", m.MAC, "--data", p.Data)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"restarting into the disk", "goes on at step 8, A tool", "goes on at step 9, Use it", "succeeded"} {
			if !strings.Contains(timeline, text) {
				t.Errorf("the timeline of %s lacks %q:\n%s", names[i], text, timeline)
			}
		}
		checkLinuxDisk(t, m.disk, names[i])
	}
	t.Logf("all is done after %.0f s", time.Since(start).Seconds())
}

// linuxFrom is where the boot environment of the test comes from.
func linuxFrom() string {
	if from := os.Getenv("CASTPOINT_BOOTENV_FROM"); from != "" {
		return from
	}
	return "host"
}

// linuxFirmwares are those of the machines of the test.
func linuxFirmwares() []lab.Firmware {
	if one := os.Getenv("CASTPOINT_FIRMWARE"); one != "" {
		return []lab.Firmware{lab.Firmware(one)}
	}
	return []lab.Firmware{lab.UEFI, lab.BIOS}
}

// checkLinuxDisk reads the installed root file system by debugfs.
func checkLinuxDisk(t *testing.T, disk, name string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "sfdisk", "--json", disk).Output()
	if err != nil {
		t.Fatal(err)
	}
	starts := regexp.MustCompile(`"start": (\d+)`).FindAllStringSubmatch(string(out), -1)
	if len(starts) == 0 {
		t.Fatalf("sfdisk: %s", out)
	}
	var sector int64
	if _, err := fmt.Sscan(starts[len(starts)-1][1], &sector); err != nil {
		t.Fatal(err)
	}
	root := fmt.Sprintf("%s?offset=%d", disk, sector*512)
	ask := func(command string) string {
		out, _ := exec.CommandContext(t.Context(), "debugfs", "-R", command, root).CombinedOutput()
		return string(out)
	}
	if got := ask("cat /etc/hostname"); !strings.Contains(got, name) {
		t.Errorf("%s: its name is %q", name, got)
	}
	if got := ask("cat /usr/local/bin/castpoint-test-tool"); !strings.Contains(got, "the tool works") {
		t.Errorf("%s: the tool is %q", name, got)
	}
	for _, path := range []string{"/usr/local/lib/castpoint-continue", "/etc/systemd/system/castpoint-continue.service",
		"/etc/systemd/system/multi-user.target.wants/castpoint-continue.service", "/castpoint", "/castpoint-image.wim"} {
		if got := ask("stat " + path); !strings.Contains(got, "File not found") {
			t.Errorf("%s: %s is still there:\n%s", name, path, got)
		}
	}
	f, err := os.Open(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	gap := make([]byte, 1<<20)
	if _, err := f.ReadAt(gap, 0); err != nil || strings.Contains(string(gap), "castpoint record") {
		t.Errorf("%s: the state of the run is still on the disk (%v)", name, err)
	}
}
