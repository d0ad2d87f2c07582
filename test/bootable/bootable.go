// Package bootable has what machines boot in tests: loader folders, libraries of
// boot images, Windows PE made with wimlib, and the machines that ask for it.
package bootable

import (
	"crypto/sha256"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"castpoint/boot"
	"castpoint/content"
)

// Library keeps its objects as files of a test's folder.
type Library struct {
	Dir      string // of the objects, by digest; Add makes it
	Contents []*content.Content
	Err      error // of List
}

// List implements source.Library.
func (l *Library) List() ([]*content.Content, error) { return l.Contents, l.Err }

// OpenObject implements source.Library.
func (l *Library) OpenObject(d content.Digest) (*os.File, error) {
	return os.Open(filepath.Join(l.Dir, d.String()))
}

// Add stores a content whose objects hold data, by role.
func (l *Library) Add(t testing.TB, c content.Content, data map[content.Role]string) *content.Content {
	t.Helper()
	if l.Dir == "" {
		l.Dir = t.TempDir()
	}
	if c.Kind == "" {
		c.Kind = content.KindBootImage
	}
	for _, role := range []content.Role{content.RoleKernel, content.RoleInitrd, content.RoleImage} {
		text, ok := data[role]
		if !ok {
			continue
		}
		d := content.Digest(sha256.Sum256([]byte(text)))
		if err := os.WriteFile(filepath.Join(l.Dir, d.String()), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		c.Files = append(c.Files, content.File{Role: role, Name: string(role) + "-6.1.bin", Size: int64(len(text)), Digest: d})
	}
	l.Contents = append(l.Contents, &c)
	return &c
}

// Linux is what the files of a Linux boot image hold.
var Linux = map[content.Role]string{content.RoleKernel: "the kernel", content.RoleInitrd: "the initramfs"}

// The machine that asks, and the address of the server on its network.
var (
	MAC    = net.HardwareAddr{0x52, 0x54, 0x00, 0xab, 0xcd, 0xef}
	Server = netip.MustParseAddr("192.0.2.10")
)

// UUID is that of the machine.
const UUID = "4c4c4544-0034-4410-8052-b4c04f4d3132"

// LoaderDir makes a loader folder with these files; a file's content is its
// own name.
func LoaderDir(t testing.TB, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, n := range names {
		p := filepath.Join(dir, filepath.FromSlash(n))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(n), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Client is a PXE client of that architecture.
func Client(a boot.Arch) boot.Client {
	return boot.Client{MAC: MAC, PXE: true, Arch: a, HasArch: true, Server: Server, Interface: "eth0"}
}

// WinPE makes the WIM of a boot image with wimlib. Without names it has all
// files that both kinds of firmware need; programs are their names.
func WinPE(t testing.TB, without ...string) string {
	t.Helper()
	tool, err := exec.LookPath("wimlib-imagex")
	if err != nil {
		t.Fatal("install wimtools: ", err)
	}
	dir := t.TempDir()
	tree, out := filepath.Join(dir, "tree"), filepath.Join(dir, "boot.wim")
	for _, name := range []string{
		"Windows/System32/Boot/winload.efi", "Windows/System32/Boot/winload.exe",
		"Windows/Boot/EFI/bootmgfw.efi", "Windows/Boot/EFI_EX/bootmgfw_EX.efi", "Windows/Boot/EFI/en-US/bootmgfw.efi.mui",
		"Windows/Boot/EFI/boot.stl", "Windows/Boot/DVD/EFI/boot.sdi",
		"Windows/Boot/Fonts/wgl4_boot.ttf", "Windows/Boot/Fonts_EX/wgl4_boot_EX.ttf",
		"Windows/Boot/PXE/pxeboot.n12", "Windows/Boot/PXE/bootmgr.exe",
	} {
		base := filepath.Base(name)
		if strings.Contains(" "+strings.Join(without, " ")+" ", " "+base+" ") {
			continue
		}
		p := filepath.Join(tree, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(base), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	said, err := exec.CommandContext(t.Context(), tool, "capture", tree, out, "WinPE", "--compress=LZX", "--boot", "--no-acls").CombinedOutput()
	if err != nil {
		t.Fatalf("wimlib-imagex: %v: %s", err, said)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// ClientWithUUID is the PXE client of that architecture with its UUID.
func ClientWithUUID(arch boot.Arch) boot.Client {
	return boot.Client{MAC: MAC, UUID: UUID, PXE: true, Arch: arch, HasArch: true, Server: Server}
}

// Signed are the loader files of shim and GRUB as Debian packs them.
var Signed = []string{"shimx64.efi.signed", "grubnetx64.efi.signed", "mmx64.efi.signed"}

// Settings are what rules make of the base.
func Settings(t testing.TB, base boot.Settings, rules ...boot.Rule) *boot.Resolver {
	t.Helper()
	r, err := boot.NewResolver(boot.ResolverConfig{Base: base, Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Change is the change that the words say.
func Change(t testing.TB, words ...string) boot.Change {
	t.Helper()
	c, err := boot.ParseChange(words)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
