package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"castpoint/internal/lab"
	"castpoint/test/image"
)

// asService are the rights that castpoint.service gives the program: its user,
// and two capabilities that it hands on to nobody.
var asService = []string{
	"setpriv", "--reuid=castpoint", "--regid=castpoint", "--init-groups", "--no-new-privs",
	"--bounding-set=-all,+net_bind_service,+net_raw", "--inh-caps=-all,+net_bind_service,+net_raw", "--ambient-caps=-all,+net_bind_service,+net_raw",
}

// The Debian package is installed in a root of its own that has nothing but
// Debian's essential packages, serves there as its user, is replaced without losing
// anything, and leaves nothing when it is purged.
func TestDebianPackage(t *testing.T) {
	deb := debianPackage(t)
	root := bootstrap(t)
	mountProc(t, root)
	copyTo(t, deb, filepath.Join(root, "castpoint.deb"))
	wim := filepath.Join(root, "root", "image.wim")
	if err := image.Make(t.Context(), wim, "packaged", 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(wim, 0o600); err != nil {
		t.Fatal(err)
	}
	n := newPoint(t, lab.Config{}).Network
	in := func(args ...string) string {
		t.Helper()
		out, code, err := n.Server.Run(t.Context(), append([]string{"env", "--unset=TMPDIR", "chroot", root}, args...)...)
		if err != nil || code != 0 {
			t.Fatalf("%s: exit code %d, %v: %s", strings.Join(args, " "), code, err, out)
		}
		return out
	}

	in("dpkg", "-i", "/castpoint.deb")
	// Root adds before the service has ever run; it belongs to the service.
	in("castpoint", "content", "add", "os-image", "/root/image.wim", "--name", "image")
	in("castpoint", "doctor", "--help")
	everybodyReads(in)
	serve := func() *lab.Process {
		t.Helper()
		args := append([]string{"chroot", root}, asService...)
		s, err := n.Server.Start(lab.Command{Args: append(args, "castpoint", "serve", "--interface", "eth0")})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Output.WaitFor(t.Context(), `sha256:[0-9a-f]{64}`, 20*time.Second); err != nil {
			t.Fatalf("castpoint serve: %v", err)
		}
		return s
	}
	s := serve()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`CapEff:\s0000000000002400\n`).Match(status) || regexp.MustCompile(`Uid:\s0`).Match(status) {
		t.Errorf("the rights of the service:\n%s", status)
	}
	if out := in("castpoint", "content", "list"); !strings.Contains(out, "image") {
		t.Errorf("the service does not have what root has added: %s", out)
	}
	in("castpoint", "backup", "/root/backup.tar.zst")
	if out := in("stat", "-c", "%U %a", "/root/backup.tar.zst"); out != "root 600\n" {
		t.Errorf("root's backup: %s", out)
	}
	// Onto a disk of its own, whose root cannot be replaced.
	mount(t, filepath.Join(root, "mnt/disk"), "-t", "tmpfs", "tmpfs")
	in("sh", "-c", "mkdir /mnt/disk/lost+found && chown castpoint: /mnt/disk")
	in("castpoint", "restore", "/root/backup.tar.zst", "--data", "/mnt/disk", "--objects", "/var/lib/castpoint/library/objects")
	in("castpoint", "content", "validate", "image", "--data", "/mnt/disk")
	if out := in("stat", "-c", "%U %a", "/mnt/disk/castpoint.db", "/mnt/disk/tls/join.pem"); out != "castpoint 600\ncastpoint 600\n" {
		t.Errorf("what was restored onto a disk: %s", out)
	}
	if code, err := s.Stop(); err != nil || code != 0 {
		t.Errorf("stopped: exit code %d, %v: %s", code, err, s.Output.Tail(5))
	}

	// Installed again, as an upgrade does.
	if err := os.WriteFile(filepath.Join(root, "etc/castpoint/castpoint.yaml"), []byte("log-level: debug\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	in("dpkg", "-i", "--force-confold", "/castpoint.deb")
	if b, err := os.ReadFile(filepath.Join(root, "etc/castpoint/castpoint.yaml")); err != nil || string(b) != "log-level: debug\n" {
		t.Errorf("settings after an upgrade: %q, %v", b, err)
	}
	s = serve()
	in("castpoint", "content", "validate", "image")
	if _, err := s.Stop(); err != nil {
		t.Error(err)
	}

	in("dpkg", "--remove", "castpoint")
	if _, err := os.Stat(filepath.Join(root, "var/lib/castpoint/castpoint.db")); err != nil {
		t.Errorf("removing takes the data: %v", err)
	}
	in("dpkg", "--purge", "castpoint")
	for _, left := range []string{"/var/lib/castpoint", "/etc/castpoint", "/usr/bin/castpoint"} {
		if _, err := os.Stat(filepath.Join(root, left)); err == nil {
			t.Errorf("%s is left after purging", left)
		}
	}
	in("userdel", "castpoint")
	t.Run("RPM", func(t *testing.T) { rpmPackage(t, root, serve, in) })
}

// everybodyReads looks whether what is for everybody can be read by nobody, who owns
// nothing. It fails the test by in.
func everybodyReads(in func(...string) string) {
	for _, part := range []string{
		"/usr/share/man/man1/castpoint-content-add.1.gz", "/usr/share/doc/castpoint/getting-started.md", "/usr/share/doc/castpoint/adr/README.md", "/usr/share/doc/castpoint/copyright",
		"/usr/share/bash-completion/completions/castpoint", "/usr/share/fish/vendor_completions.d/castpoint.fish", "/usr/lib/systemd/system/castpoint.service",
		"/usr/lib/sysctl.d/60-castpoint.conf",
	} {
		in("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "test", "-r", part)
	}
	for _, part := range []string{"/etc/castpoint/castpoint.yaml", "/var/lib/castpoint/"} {
		in("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "test", "!", "-r", part)
	}
}

// rpmPackage installs the RPM package into a root without a trace of castpoint: rpm
// itself compares what is there with what the package says of files, owners and modes.
func rpmPackage(t *testing.T, root string, serve func() *lab.Process, in func(...string) string) {
	found, err := filepath.Glob("../../bin/package/castpoint-*." + map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH] + ".rpm")
	if err != nil || len(found) != 1 {
		t.Fatalf("%d packages in bin/package, %v: run make packages", len(found), err)
	}
	rpm := func(args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), "rpm", append([]string{"--root", root, "--dbpath", "/var/lib/rpm"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("rpm %s: %v: %s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	rpm("--initdb")
	// What the package requires is in the root, but not in the database of rpm.
	install := []string{"--nodeps", found[0]}
	rpm(append([]string{"--install"}, install...)...)
	if out := rpm("--verify", "--nodeps", "castpoint"); out != "" {
		t.Errorf("installed otherwise than the package says:\n%s", out)
	}
	everybodyReads(in)
	if out := in("stat", "-c", "%U:%G %a", "/var/lib/castpoint", "/etc/castpoint/castpoint.yaml", "/usr/bin/castpoint"); out != "castpoint:castpoint 700\nroot:castpoint 640\nroot:root 755\n" {
		t.Errorf("owners and modes:\n%s", out)
	}
	for what, file := range map[string]string{
		"--configfiles": "/etc/castpoint/castpoint.yaml", "--docfiles": "/usr/share/man/man1/castpoint-content-add.1.gz", "--licensefiles": "/usr/share/doc/castpoint/copyright",
	} {
		if out := rpm("--query", what, "castpoint"); !strings.Contains(out, file+"\n") {
			t.Errorf("rpm --query %s does not have %s:\n%s", what, file, out)
		}
	}
	in("castpoint", "content", "add", "os-image", "/root/image.wim", "--name", "image")
	s := serve()
	if out := in("castpoint", "content", "list"); !strings.Contains(out, "image") {
		t.Errorf("the service does not have what root has added: %s", out)
	}
	if code, err := s.Stop(); err != nil || code != 0 {
		t.Errorf("stopped: exit code %d, %v: %s", code, err, s.Output.Tail(5))
	}

	if err := os.WriteFile(filepath.Join(root, "etc/castpoint/castpoint.yaml"), []byte("log-level: debug\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	rpm(append([]string{"--upgrade", "--replacepkgs"}, install...)...)
	if b, err := os.ReadFile(filepath.Join(root, "etc/castpoint/castpoint.yaml")); err != nil || string(b) != "log-level: debug\n" {
		t.Errorf("settings after an upgrade: %q, %v", b, err)
	}
	rpm("--erase", "castpoint")
	if _, err := os.Stat(filepath.Join(root, "usr/bin/castpoint")); err == nil {
		t.Error("the program is left after erasing")
	}
	if _, err := os.Stat(filepath.Join(root, "var/lib/castpoint/castpoint.db")); err != nil {
		t.Errorf("erasing takes the data: %v", err)
	}
}

// Debian's own checker has nothing to say of the package but that nobody maintains it, who
// has an address, and what packaging/lintian-overrides has a reason for.
func TestLintian(t *testing.T) {
	takesMinutes(t)
	cmd := exec.CommandContext(t.Context(), "lintian", "--allow-root", "--tag-display-limit", "0", "--suppress-tags", "bogus-mail-host,bogus-mail-host-in-debian-changelog", debianPackage(t))
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v:\n%s", err, out)
	}
}

// debianPackage is the one that make packages has built for this machine.
func debianPackage(t *testing.T) string {
	t.Helper()
	found, err := filepath.Glob("../../bin/package/castpoint_*_" + runtime.GOARCH + ".deb")
	if err != nil || len(found) != 1 {
		t.Fatalf("%d packages in bin/package, %v: run make packages", len(found), err)
	}
	return found[0]
}

// The unit's sandbox stays as narrow as the documentation says.
func TestUnitIsConfined(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", "security", "--offline=true", "--no-pager", "../../packaging/castpoint.service").CombinedOutput()
	m := regexp.MustCompile(`Overall exposure level for castpoint.service: (\d+\.\d+)`).FindSubmatch(out)
	if err != nil || m == nil {
		t.Fatalf("%v: %s", err, out)
	}
	if level, err := strconv.ParseFloat(string(m[1]), 64); err != nil || level >= 2.0 {
		t.Errorf("exposure %s, want less than 2.0:\n%s", m[1], out)
	}
}

// What every machine loads first is small: the agents of Windows PE have the limit, the
// others are built of the same.
func TestAgentsAreSmall(t *testing.T) {
	const limit = 12_000_000 // bytes
	for _, target := range []string{"windows-amd64.exe", "windows-arm64.exe", "linux-amd64", "linux-arm64"} {
		st, err := os.Stat(filepath.Join("../../bin", "castagent-"+target))
		if err != nil {
			t.Fatal(err)
		}
		if st.Size() >= limit {
			t.Errorf("%s has %d bytes, want less than %d: go tool nm -size says what is in it; does something new find methods by name (go build -ldflags=-dumpdep, ReflectMethod)?", st.Name(), st.Size(), limit)
		}
	}
}

// bootstrap makes a root file system out of the essential packages of this
// machine's distribution, and more, and removes it at the end.
func bootstrap(t *testing.T, packages ...string) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "root")
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`(?m)^VERSION_CODENAME=(\w+)$`).FindSubmatch(release)
	if name == nil {
		t.Fatalf("/etc/os-release names no release:\n%s", release)
	}
	// In memory: dpkg waits for the disk after each file.
	mount(t, root, "-t", "tmpfs", "-o", "mode=0755", "tmpfs")
	args := []string{"--variant=minbase"}
	if len(packages) > 0 {
		args = append(args, "--include="+strings.Join(packages, ","))
	}
	// It ends with sync, which waits for every disk of this machine, and not for this one.
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "sync"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "debootstrap", append(args, string(name[1]), root)...)
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("debootstrap: %v: %s", err, out[max(0, len(out)-2000):])
	}
	return root
}

// mountProc gives a root file system /proc until the end of the test.
func mountProc(t *testing.T, root string) {
	t.Helper()
	mount(t, filepath.Join(root, "proc"), "-t", "proc", "proc")
}

// mount mounts something until the end of the test.
func mount(t *testing.T, at string, args ...string) {
	t.Helper()
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "mount", append(args, at)...).CombinedOutput(); err != nil {
		t.Fatalf("mount %s: %v: %s", at, err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", at).CombinedOutput(); err != nil {
			t.Errorf("umount %s: %v: %s", at, err, out)
		}
	})
}

func copyTo(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
