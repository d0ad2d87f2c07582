package bootenv

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// elfFile makes the smallest ELF file that says what a test needs: a machine,
// perhaps a dynamic linker, perhaps a .modinfo section.
func elfFile(machine elf.Machine, interp string, modinfo ...string) []byte {
	info := []byte(strings.Join(modinfo, "\x00") + "\x00")
	names := []byte("\x00.modinfo\x00.shstrtab\x00")
	interpData := []byte(interp + "\x00")
	const ehsize, phsize, shsize = 64, 56, 64
	phnum := 0
	if interp != "" {
		phnum = 1
	}
	at := func(n int) uint64 { return uint64(ehsize + phnum*phsize + n) }
	infoAt, namesAt := at(len(interpData)), at(len(interpData)+len(info))
	shAt := namesAt + uint64(len(names))

	var b bytes.Buffer
	put := func(v any) {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			panic(err)
		}
	}
	h := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(machine), Version: 1, Phoff: ehsize, Shoff: shAt,
		Ehsize: ehsize, Phentsize: phsize, Phnum: uint16(phnum), Shentsize: shsize, Shnum: 3, Shstrndx: 2,
	}
	copy(h.Ident[:], "\x7fELF\x02\x01\x01")
	put(h)
	if interp != "" {
		put(elf.Prog64{Type: uint32(elf.PT_INTERP), Off: at(0), Filesz: uint64(len(interpData)), Memsz: uint64(len(interpData))})
	}
	b.Write(interpData)
	b.Write(info)
	b.Write(names)
	put(elf.Section64{})
	put(elf.Section64{Name: 1, Type: uint32(elf.SHT_PROGBITS), Off: infoAt, Size: uint64(len(info))})
	put(elf.Section64{Name: 10, Type: uint32(elf.SHT_STRTAB), Off: namesAt, Size: uint64(len(names))})
	return b.Bytes()
}

// bzImage makes the head of an x86 kernel with that version.
func bzImage(version string) []byte {
	b := make([]byte, 0x1000)
	copy(b[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(b[0x20e:], 0x800)
	copy(b[0xa00:], version+" (someone@somewhere) #1 SMP\x00")
	return b
}

func write(t *testing.T, path string, data []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

const testVersion = "6.1.0-9-test"

// parts makes a kernel, modules, a busybox and an agent that are just real
// enough to be built from.
func parts(t *testing.T) Options {
	t.Helper()
	root := t.TempDir()
	mods := filepath.Join(root, "lib/modules", testVersion)
	module := func(name string, info ...string) {
		write(t, filepath.Join(mods, name), elfFile(elf.EM_X86_64, "", info...))
	}
	module("kernel/drivers/net/virtio_net.ko")
	module("kernel/drivers/net/net_failover.ko")
	module("kernel/net/core/failover.ko")
	module("kernel/drivers/net/ethernet/realtek/r8169.ko", "alias=pci:v000010ECd00008168*", "firmware=rtl_nic/rtl8168d-1.fw")
	module("kernel/drivers/net/phy/realtek.ko")
	module("kernel/drivers/net/phy/libphy.ko")
	module("kernel/drivers/net/ethernet/chelsio/cxgb4.ko", "firmware=cxgb4/t4fw.bin")
	module("kernel/sound/core/snd.ko")
	write(t, filepath.Join(mods, "modules.dep"), []byte(`kernel/drivers/net/virtio_net.ko: kernel/drivers/net/net_failover.ko kernel/net/core/failover.ko
kernel/drivers/net/net_failover.ko: kernel/net/core/failover.ko
kernel/net/core/failover.ko:
kernel/drivers/net/ethernet/realtek/r8169.ko: kernel/drivers/net/phy/libphy.ko
kernel/drivers/net/phy/realtek.ko: kernel/drivers/net/phy/libphy.ko
kernel/drivers/net/phy/libphy.ko:
kernel/drivers/net/ethernet/chelsio/cxgb4.ko:
kernel/sound/core/snd.ko:
`))
	write(t, filepath.Join(mods, "modules.alias"), []byte(`# Aliases
alias virtio:d00000001v* virtio_net
alias pci:v000010ECd00008168sv*sd*bc*sc*i* r8169
alias pci:v00001425d* cxgb4
alias char-major-116-* snd
`))
	write(t, filepath.Join(mods, "modules.softdep"), []byte("# Soft dependencies\nsoftdep r8169 pre: realtek crypto-crc32c\n"))
	return Options{
		Kernel:     write(t, filepath.Join(root, "boot/vmlinuz-"+testVersion), bzImage(testVersion)),
		ModulesDir: mods,
		Busybox:    write(t, filepath.Join(root, "bin/busybox"), elfFile(elf.EM_X86_64, "")),
		Agent:      write(t, filepath.Join(root, "castagent"), elfFile(elf.EM_X86_64, "")),
		Out:        filepath.Join(root, "out"),
	}
}

// run runs a foreign program and returns what it wrote.
func run(t *testing.T, stdin []byte, pkg, name string, args ...string) string {
	t.Helper()
	bin, err := findProgram(name, pkg)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), bin, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("%s %v: %v: %s", name, args, err, exit.Stderr)
		}
		t.Fatalf("%s %v: %v", name, args, err)
	}
	return string(out)
}

// unpack lets foreign programs unpack an initramfs into a folder.
func unpack(t *testing.T, initrd string, c Compression) string {
	t.Helper()
	var plain string
	switch c {
	case Gzip:
		plain = run(t, nil, "gzip", "gzip", "-dc", initrd)
	default:
		run(t, nil, "zstd", "zstd", "-q", "-t", initrd)
		plain = run(t, nil, "zstd", "zstd", "-q", "-dc", initrd)
	}
	dir := t.TempDir()
	run(t, []byte(plain), "cpio", "cpio", "-i", "-d", "--quiet", "--no-absolute-filenames", "-D", dir)
	return dir
}

func TestBuild(t *testing.T) {
	for _, c := range []Compression{Zstd, Gzip} {
		t.Run(string(c), func(t *testing.T) {
			o := parts(t)
			o.Compression = c
			o.Files = map[string]string{"/etc/extra": write(t, filepath.Join(t.TempDir(), "x"), []byte("extra"))}
			res, err := Build(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			dir := unpack(t, res.Initrd, c)
			mods := "lib/modules/" + testVersion + "/"
			for name, want := range map[string]string{
				mods + "modules.dep": `kernel/drivers/net/ethernet/realtek/r8169.ko: kernel/drivers/net/phy/realtek.ko kernel/drivers/net/phy/libphy.ko
kernel/drivers/net/net_failover.ko: kernel/net/core/failover.ko
kernel/drivers/net/phy/libphy.ko:
kernel/drivers/net/phy/realtek.ko: kernel/drivers/net/phy/libphy.ko
kernel/drivers/net/virtio_net.ko: kernel/drivers/net/net_failover.ko kernel/net/core/failover.ko
kernel/net/core/failover.ko:
`,
				mods + "modules.alias": `alias virtio:d00000001v* virtio_net
alias pci:v000010ECd00008168sv*sd*bc*sc*i* r8169
`,
				mods + "kernel/drivers/net/virtio_net.ko": string(elfFile(elf.EM_X86_64, "")),
				"etc/extra":     "extra",
				"bin/castagent": string(elfFile(elf.EM_X86_64, "")),
			} {
				got, err := os.ReadFile(filepath.Join(dir, name))
				if err != nil {
					t.Error(err)
				} else if d := cmp.Diff(want, string(got)); d != "" {
					t.Errorf("%s (-want +got):\n%s", name, d)
				}
			}
			for _, name := range []string{
				mods + "kernel/sound/core/snd.ko", mods + "kernel/drivers/net/ethernet/chelsio/cxgb4.ko",
			} {
				if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
					t.Errorf("%s is in the image", name)
				}
			}
			for _, name := range []string{"init", "bin/busybox", "bin/castagent", "etc/udhcpc.script"} {
				if st, err := os.Stat(filepath.Join(dir, name)); err != nil || st.Mode().Perm() != 0o755 {
					t.Errorf("%s: %v %v, want mode 0755", name, st, err)
				}
			}
			for name, want := range map[string]string{"bin/sh": "busybox", "sbin/modprobe": "../bin/busybox"} {
				if got, err := os.Readlink(filepath.Join(dir, name)); got != want {
					t.Errorf("%s -> %q %v, want %q", name, got, err, want)
				}
			}
			if res.Modules != 6 || res.Version != testVersion || !slices.Equal(res.MissingFirmware, []string{"rtl_nic/rtl8168d-1.fw"}) {
				t.Errorf("result %+v", res)
			}
			for path, size := range map[string]int64{res.Kernel: res.KernelSize, res.Initrd: res.InitrdSize} {
				if st, err := os.Stat(path); err != nil || st.Size() != size || st.Mode().Perm() != 0o644 {
					t.Errorf("%s: %v %v, want %d bytes", path, st, err, size)
				}
			}
			left, err := filepath.Glob(filepath.Join(o.Out, ".*"))
			if err != nil || len(left) != 0 {
				t.Errorf("left behind: %v %v", left, err)
			}
		})
	}
}

func TestBuildIsDeterministic(t *testing.T) {
	o := parts(t)
	o.FirmwareDir = t.TempDir()
	write(t, filepath.Join(o.FirmwareDir, "rtl_nic/rtl8168d-1.fw"), []byte("firmware"))
	o.Modules = []string{"snd"}
	var first []byte
	for i := range 3 {
		res, err := Build(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(res.Initrd)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = data
			if len(res.MissingFirmware) != 0 || res.Modules != 7 {
				t.Errorf("result %+v", res)
			}
		} else if !bytes.Equal(first, data) {
			t.Fatal("two runs made different bytes")
		}
	}
}

func TestBuildRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(t *testing.T, o *Options)
		want   string
	}{
		{"architecture", func(_ *testing.T, o *Options) { o.Arch = "mips" }, `architecture "mips"`},
		{"compression", func(_ *testing.T, o *Options) { o.Compression = "xz" }, `compression "xz"`},
		{"no agent", func(_ *testing.T, o *Options) { o.Agent = "" }, "no agent given"},
		{"agent missing", func(_ *testing.T, o *Options) { o.Agent += "x" }, "castagentx: no such file"},
		{"agent of another architecture", func(t *testing.T, o *Options) {
			write(t, o.Agent, elfFile(elf.EM_AARCH64, ""))
		}, "is for EM_AARCH64, the boot environment for amd64"},
		{"agent not static", func(t *testing.T, o *Options) {
			write(t, o.Agent, elfFile(elf.EM_X86_64, "/lib64/ld.so"))
		}, "not static: build it with CGO_ENABLED=0"},
		{"busybox not static", func(t *testing.T, o *Options) {
			write(t, o.Busybox, elfFile(elf.EM_X86_64, "/lib64/ld.so"))
		}, "install the busybox-static package"},
		{"agent is a script", func(t *testing.T, o *Options) { write(t, o.Agent, []byte("#!/bin/sh\n")) }, "not a Linux program"},
		{"kernel of another version", func(t *testing.T, o *Options) { write(t, o.Kernel, bzImage("6.2.0")) }, "is version 6.2.0, but"},
		{"kernel packed", func(t *testing.T, o *Options) { write(t, o.Kernel, []byte("\x1f\x8b and more")) }, "unpack it with gunzip"},
		{"kernel is something else", func(t *testing.T, o *Options) { write(t, o.Kernel, []byte("MSWIM")) }, "neither a bzImage nor an EFI program"},
		{"kernel missing", func(_ *testing.T, o *Options) { o.Kernel += "x" }, "no such file"},
		{"module missing", func(t *testing.T, o *Options) {
			if err := os.Remove(filepath.Join(o.ModulesDir, "kernel/net/core/failover.ko")); err != nil {
				t.Fatal(err)
			}
		}, "failover.ko: no such file"},
		{"module is no module", func(t *testing.T, o *Options) {
			write(t, filepath.Join(o.ModulesDir, "kernel/net/core/failover.ko"), []byte("x"))
		}, "not a kernel module"},
		{"unknown module", func(_ *testing.T, o *Options) { o.Modules = []string{"nope"} }, "module nope is not among"},
		{"module list leads out", func(t *testing.T, o *Options) {
			write(t, filepath.Join(o.ModulesDir, "modules.dep"), []byte("kernel/drivers/net/virtio_net.ko: ../../../etc/passwd\n"))
		}, "outside the modules folder"},
		{"unknown tool", func(_ *testing.T, o *Options) { o.Tools = []string{"castpoint-no-such-tool"} }, "not found: install the package"},
		{"tool is a script", func(t *testing.T, o *Options) {
			o.Tools = []string{write(t, filepath.Join(t.TempDir(), "tool"), []byte("#!/bin/sh\n"))}
		}, "not a Linux program"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := parts(t)
			tt.change(t, &o)
			_, err := Build(t.Context(), o)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
			if left, _ := filepath.Glob(filepath.Join(o.Out, "*")); len(left) != 0 {
				t.Errorf("left behind %v", left)
			}
		})
	}
}

func TestBuildStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := parts(t)
	if _, err := Build(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	left, err := os.ReadDir(o.Out)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind %v %v", left, err)
	}
}

// Modules come packed on other distributions; the image has them plain, since
// busybox's insmod knows no packing.
func TestPackedModules(t *testing.T) {
	plain := elfFile(elf.EM_X86_64, "")
	dir := t.TempDir()
	for ending, data := range map[string]string{
		".ko":     string(plain),
		".ko.gz":  run(t, plain, "gzip", "gzip", "-c"),
		".ko.xz":  run(t, plain, "xz-utils", "xz", "-c"),
		".ko.zst": run(t, plain, "zstd", "zstd", "-q", "-c"),
	} {
		got, err := readModule(t.Context(), write(t, filepath.Join(dir, "m"+ending), []byte(data)))
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s: %d bytes, %v", ending, len(got), err)
		}
	}
	for _, ending := range []string{".ko.gz", ".ko.xz", ".ko.zst", ".ko.lz4"} {
		if _, err := readModule(t.Context(), write(t, filepath.Join(dir, "bad"+ending), []byte("rubbish"))); err == nil {
			t.Errorf("%s: rubbish accepted", ending)
		}
	}
	if got := moduleName("kernel/drivers/hid/hid-generic.ko.xz"); got != "hid_generic" {
		t.Errorf("module name %q", got)
	}
}

// The tool must run with nothing but the libraries that were found: the
// dynamic linker of the image is told to look nowhere else.
func TestToolRunsWithItsLibraries(t *testing.T) {
	o := parts(t)
	cpio, err := findProgram("cpio", "cpio")
	if err != nil {
		t.Fatal(err)
	}
	p, err := readProgram(cpio)
	if err != nil {
		t.Fatal(err)
	}
	for arch, m := range machines {
		if p.machine == m {
			o.Arch = arch
		}
	}
	if o.Arch == "arm64" {
		o.Busybox = write(t, o.Busybox, elfFile(elf.EM_AARCH64, ""))
		o.Agent = write(t, o.Agent, elfFile(elf.EM_AARCH64, ""))
	}
	o.Tools = []string{cpio}
	res, err := Build(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	dir := unpack(t, res.Initrd, Zstd)
	libc, err := filepath.Glob(filepath.Join(dir, "lib*", "*", "libc.so.6"))
	if err != nil || len(libc) != 1 {
		t.Fatalf("libc: %v %v", libc, err)
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(dir, p.interp), "--inhibit-cache",
		"--library-path", filepath.Dir(libc[0]), filepath.Join(dir, cpio), "--version").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "cpio") {
		t.Errorf("%s: %v", out, err)
	}
}

func TestScriptsAreShell(t *testing.T) {
	for _, name := range []string{"init", "udhcpc.script"} {
		run(t, nil, "dash", "sh", "-n", filepath.Join("rootfs", name))
		run(t, nil, "busybox-static", "busybox", "sh", "-n", filepath.Join("rootfs", name))
	}
}

func FuzzKernelVersion(f *testing.F) {
	f.Add(bzImage("6.1.0"))
	f.Add([]byte("MZ"))
	f.Add([]byte("\x1f\x8b"))
	f.Add(append(make([]byte, 0x202), "HdrS\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"...))
	f.Fuzz(func(t *testing.T, data []byte) {
		version, err := kernelVersion(write(t, filepath.Join(t.TempDir(), "k"), data))
		if err != nil && version != "" {
			t.Errorf("version %q with error %v", version, err)
		}
		if len(version) > 256 || strings.Contains(version, " ") {
			t.Errorf("version %q", version)
		}
	})
}

func FuzzModinfo(f *testing.F) {
	f.Add(elfFile(elf.EM_X86_64, "", "firmware=a", "firmware=b", "alias=c"))
	f.Add([]byte("\x7fELF"))
	f.Fuzz(func(t *testing.T, data []byte) {
		values, err := modinfo(data, "firmware")
		if err != nil && values != nil {
			t.Errorf("values %q with error %v", values, err)
		}
	})
}
