package bootenv

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestCompareVersions(t *testing.T) {
	sorted := []string{"5.10.0-30", "6.1.0-9", "6.1.0-56", "6.1.0-56-amd64", "6.12.0-1", "10.0"}
	shuffled := []string{"6.1.0-56", "10.0", "6.12.0-1", "6.1.0-9", "6.1.0-56-amd64", "5.10.0-30"}
	slices.SortFunc(shuffled, compareVersions)
	if !slices.Equal(shuffled, sorted) {
		t.Errorf("sorted %v, want %v", shuffled, sorted)
	}
	if c := compareVersions("6.01", "6.1"); c != 0 {
		t.Errorf("6.01 against 6.1: %d", c)
	}
}

func TestFromRoot(t *testing.T) {
	root := t.TempDir()
	if _, err := fromRoot(root); err == nil || !strings.Contains(err.Error(), "vmlinuz-*") {
		t.Errorf("empty root: %v", err)
	}
	write(t, filepath.Join(root, "boot/vmlinuz-6.1.0-9-amd64"), nil)
	write(t, filepath.Join(root, "boot/vmlinuz-6.1.0-56-amd64"), nil)
	write(t, filepath.Join(root, "boot/vmlinuz-6.9.0-1-amd64"), nil) // its modules are not there
	write(t, filepath.Join(root, "usr/lib/modules/6.1.0-9-amd64/modules.dep"), nil)
	write(t, filepath.Join(root, "usr/lib/modules/6.1.0-56-amd64/modules.dep"), nil)
	if _, err := fromRoot(root); err == nil || !strings.Contains(err.Error(), "no busybox") {
		t.Errorf("without busybox: %v", err)
	}
	write(t, filepath.Join(root, "usr/bin/busybox"), nil)
	got, err := fromRoot(root)
	want := Source{
		Root:       root,
		Kernel:     filepath.Join(root, "boot/vmlinuz-6.1.0-56-amd64"),
		ModulesDir: filepath.Join(root, "usr/lib/modules/6.1.0-56-amd64"),
		Busybox:    filepath.Join(root, "usr/bin/busybox"),
	}
	if err != nil || got != want {
		t.Errorf("got %+v %v, want %+v", got, err, want)
	}
}

func TestFromHostRefusesOtherArch(t *testing.T) {
	other := "arm64"
	if runtime.GOARCH == other {
		other = "amd64"
	}
	if _, err := FromHost(other, false); err == nil {
		t.Error("a kernel for another processor was found on this machine")
	}
}

// fakeApt puts stand-ins for apt and dpkg on the PATH. They write every call
// to the returned file.
func fakeApt(t *testing.T) (calls string) {
	t.Helper()
	dir := t.TempDir()
	calls = filepath.Join(dir, "calls")
	script := func(name, body string) {
		write(t, filepath.Join(dir, name), []byte("#!/bin/sh\necho "+name+" \"$@\" >>"+calls+"\n"+body))
	}
	script("apt-get", `
[ -e `+dir+`/offline ] && { echo "E: no route to the mirror" >&2; exit 100; }
for a; do last=$a; done
case "$*" in *" download "*) echo x >linux-image-6.1.0-56-arm64_6.1_arm64.deb; echo x >busybox-static_1.35_arm64.deb ;; esac
`)
	script("apt-cache", `
cat <<'TXT'
Package: linux-image-arm64
Depends: linux-image-6.1.0-56-arm64 (= 6.1.192-2)
Description: Linux for 64-bit ARMv8 machines
TXT
`)
	script("dpkg-deb", `
case $2 in
*linux-image*) mkdir -p $3/boot $3/lib/modules/6.1.0-56-arm64; echo k >$3/boot/vmlinuz-6.1.0-56-arm64 ;;
*busybox*) mkdir -p $3/bin; echo b >$3/bin/busybox ;;
esac
`)
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return calls
}

func TestFromDebian(t *testing.T) {
	calls := fakeApt(t)
	cache := t.TempDir()
	offline := filepath.Join(filepath.Dir(calls), "offline")

	write(t, offline, nil)
	if _, err := FromDebian(t.Context(), cache, "arm64", false); err == nil || !strings.Contains(err.Error(), "no route to the mirror") {
		t.Errorf("without network: %v", err)
	}
	if err := os.Remove(offline); err != nil {
		t.Fatal(err)
	}
	s, err := FromDebian(t.Context(), cache, "arm64", false)
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(cache, "arm64/root-linux-image-6.1.0-56-arm64")
	if want := filepath.Join(root, "boot/vmlinuz-6.1.0-56-arm64"); s.Kernel != want {
		t.Errorf("kernel %s, want %s", s.Kernel, want)
	}
	log, err := os.ReadFile(calls)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"APT::Architecture=arm64", "Dir::State=" + filepath.Join(cache, "arm64/state"),
		"download linux-image-6.1.0-56-arm64 busybox-static"} {
		if !strings.Contains(string(log), want) {
			t.Errorf("calls lack %q:\n%s", want, log)
		}
	}
	// A second call finds it unpacked; so does one without network.
	for _, net := range []string{"on", "off"} {
		if net == "off" {
			write(t, offline, nil)
		}
		if err := os.WriteFile(calls, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		again, err := FromDebian(t.Context(), cache, "arm64", false)
		if err != nil || again != s {
			t.Errorf("network %s: %+v %v", net, again, err)
		}
		if log, err := os.ReadFile(calls); err != nil || strings.Contains(string(log), "download") {
			t.Errorf("network %s: downloaded again: %s %v", net, log, err)
		}
	}
	if _, err := FromDebian(t.Context(), cache, "mips", false); err == nil {
		t.Error("architecture mips accepted")
	}
}
