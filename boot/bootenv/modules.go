package bootenv

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// wanted are the modules of the boot environment, below kernel/ of a modules
// folder, without ".ko": a name that ends in "/" is a folder with all below it.
// It is what a machine needs to be reached and written to: network cards,
// disks, the buses both hang on, keyboards, and file systems of an installed
// system.
var wanted = []string{
	// Network cards and what they hang on.
	"drivers/net/ethernet/", "drivers/net/phy/", "drivers/net/mdio/", "drivers/net/pcs/",
	"drivers/net/virtio_net", "drivers/net/vmxnet3/", "drivers/net/hyperv/", "drivers/net/xen-netfront",
	"drivers/net/mii", "drivers/net/usb/r8152", "drivers/net/usb/r8153_ecm", "drivers/net/usb/ax88179_178a",
	"drivers/net/usb/asix", "drivers/net/usb/aqc111", "drivers/net/usb/cdc_ether", "drivers/net/usb/cdc_ncm",
	"drivers/net/usb/smsc75xx", "drivers/net/usb/smsc95xx", "drivers/net/usb/lan78xx", "drivers/net/usb/dm9601",
	"drivers/net/usb/sr9700", "drivers/net/usb/mcs7830", "drivers/net/usb/pegasus", "drivers/net/usb/rtl8150",
	"net/packet/af_packet", "net/ipv6/ipv6",
	// Buses.
	"drivers/virtio/", "drivers/hv/hv_vmbus", "drivers/usb/host/", "drivers/usb/storage/usb-storage", "drivers/usb/storage/uas",
	"drivers/pci/controller/", "drivers/thunderbolt/",
	// Disks.
	"drivers/block/virtio_blk", "drivers/block/xen-blkfront", "drivers/nvme/host/", "drivers/ata/",
	"drivers/scsi/sd_mod", "drivers/scsi/virtio_scsi", "drivers/scsi/vmw_pvscsi", "drivers/scsi/hv_storvsc",
	"drivers/scsi/megaraid/", "drivers/scsi/mpt3sas/", "drivers/scsi/aacraid/", "drivers/scsi/hpsa",
	"drivers/scsi/smartpqi/", "drivers/scsi/isci/", "drivers/scsi/mpi3mr/", "drivers/message/fusion/",
	"drivers/mmc/",
	// Keyboards.
	"drivers/hid/hid", "drivers/hid/hid-generic", "drivers/hid/usbhid/usbhid", "drivers/hid/hid-hyperv",
	"drivers/input/serio/hyperv-keyboard", "drivers/input/keyboard/atkbd", "drivers/input/serio/i8042",
	// File systems, and the checksums that they and disks ask for by name.
	"fs/fat/", "fs/ext4/", "fs/ntfs3/", "fs/fuse/fuse", "fs/efivarfs/", "fs/nls/nls_cp437", "fs/nls/nls_iso8859-1",
	"fs/nls/nls_ascii", "fs/nls/nls_utf8", "drivers/block/loop",
	"crypto/crc32c_generic", "crypto/crc32_generic", "crypto/crct10dif_generic", "crypto/crct10dif_common",
	"crypto/crc64_rocksoft_generic", "arch/x86/crypto/crc32c-intel", "arch/x86/crypto/crct10dif-pclmul",
}

// unwanted are left out of the folders above: switch chips, FireWire-age and
// data-centre offload cards that no machine boots Windows from, and ATA cards
// older than SATA.
var unwanted = []string{
	"drivers/net/ethernet/mellanox/mlxsw/", "drivers/net/ethernet/netronome/", "drivers/net/ethernet/cavium/",
	"drivers/net/ethernet/chelsio/", "drivers/net/ethernet/brocade/", "drivers/net/ethernet/neterion/",
	"drivers/net/ethernet/sfc/siena/", "drivers/net/ethernet/sfc/falcon/", "drivers/net/ethernet/myricom/",
	"drivers/ata/pata_",
}

// moduleSet knows the modules of one kernel.
type moduleSet struct {
	dir   string              // lib/modules/VERSION
	deps  map[string][]string // file below dir -> files it needs, all levels, in modules.dep's order
	names map[string]string   // module name with underscores -> file
	alias []string            // lines of modules.alias
	soft  map[string][]string // module name -> names it wants loaded before
}

// readModules reads the lists that depmod wrote; when there are none (a package
// that was only unpacked) it runs depmod.
func readModules(ctx context.Context, dir string) (*moduleSet, error) {
	if _, err := os.Stat(filepath.Join(dir, "modules.dep")); errors.Is(err, fs.ErrNotExist) {
		if err := depmod(ctx, dir); err != nil {
			return nil, err
		}
	}
	m := &moduleSet{dir: dir, deps: map[string][]string{}, names: map[string]string{}, soft: map[string][]string{}}
	lines, err := readLines(filepath.Join(dir, "modules.dep"))
	if err != nil {
		return nil, fmt.Errorf("read the module list: %w", err)
	}
	for _, line := range lines {
		file, needs, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("%s: line %q has no colon", filepath.Join(dir, "modules.dep"), line)
		}
		for _, f := range append([]string{file}, strings.Fields(needs)...) {
			if !filepath.IsLocal(f) {
				return nil, fmt.Errorf("%s: %q lies outside the modules folder", filepath.Join(dir, "modules.dep"), f)
			}
		}
		m.deps[file] = strings.Fields(needs)
		m.names[moduleName(file)] = file
	}
	if m.alias, err = readLines(filepath.Join(dir, "modules.alias")); err != nil {
		return nil, fmt.Errorf("read the module aliases: %w", err)
	}
	soft, err := readLines(filepath.Join(dir, "modules.softdep"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the soft dependencies: %w", err)
	}
	for _, line := range soft { // softdep NAME pre: A B post: C
		words := strings.Fields(line)
		if len(words) < 3 || words[0] != "softdep" {
			continue
		}
		pre := false
		for _, w := range words[2:] {
			switch {
			case w == "pre:":
				pre = true
			case w == "post:":
				pre = false
			case pre:
				m.soft[underscores(words[1])] = append(m.soft[underscores(words[1])], underscores(w))
			}
		}
	}
	return m, nil
}

// depmod runs depmod for lib/modules/VERSION below some root.
func depmod(ctx context.Context, dir string) error {
	version := filepath.Base(dir)
	root := strings.TrimSuffix(filepath.Clean(dir), filepath.Join("lib", "modules", version))
	if root == filepath.Clean(dir) {
		return fmt.Errorf("modules folder %s has no modules.dep, and depmod can only make one for a folder .../lib/modules/VERSION", dir)
	}
	bin, err := findProgram("depmod", "kmod")
	if err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, bin, "-b", root, version).CombinedOutput(); err != nil {
		return fmt.Errorf("depmod -b %s %s: %w: %s", root, version, err, bytes.TrimSpace(out))
	}
	return nil
}

// choose returns the files of the wanted modules and extra (module names), and
// everything they need, sorted.
func (m *moduleSet) choose(extra []string) ([]string, error) {
	chosen := map[string]bool{}
	var add func(file string)
	add = func(file string) {
		if chosen[file] {
			return
		}
		chosen[file] = true
		for _, f := range m.deps[file] {
			add(f)
		}
		for _, name := range m.soft[moduleName(file)] {
			if f, ok := m.names[name]; ok {
				add(f)
			}
		}
	}
	for file := range m.deps {
		name := strings.TrimPrefix(stripKO(file), "kernel/")
		if matches(name, wanted) && !matches(name, unwanted) {
			add(file)
		}
	}
	for _, name := range extra {
		file, ok := m.names[underscores(name)]
		if !ok {
			return nil, fmt.Errorf("module %s is not among the modules of %s", name, m.dir)
		}
		add(file)
	}
	return slices.Sorted(maps.Keys(chosen)), nil
}

func matches(name string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		if strings.HasSuffix(p, "/") || strings.HasSuffix(p, "_") {
			return strings.HasPrefix(name, p)
		}
		return name == p
	})
}

// addTo puts the modules, unpacked, and their lists into the tree. It returns
// the firmware files the modules name, sorted.
func (m *moduleSet) addTo(ctx context.Context, t *tree, files []string) ([]string, error) {
	root := path.Join("lib/modules", filepath.Base(m.dir))
	in := map[string]bool{}
	firmware := map[string]bool{}
	var dep, alias strings.Builder
	for _, file := range files {
		in[moduleName(file)] = true
		plain := stripKO(file) + ".ko"
		data, err := readModule(ctx, filepath.Join(m.dir, file))
		if err != nil {
			return nil, err
		}
		info, err := modinfo(data, "firmware")
		if err != nil {
			return nil, fmt.Errorf("module %s: %w", filepath.Join(m.dir, file), err)
		}
		for _, f := range info {
			firmware[f] = true
		}
		t.text(path.Join(root, plain), 0o644, data)
		dep.WriteString(plain + ":")
		for _, f := range m.needs(file) {
			dep.WriteString(" " + stripKO(f) + ".ko")
		}
		dep.WriteString("\n")
	}
	for _, line := range m.alias {
		if words := strings.Fields(line); len(words) == 3 && words[0] == "alias" && in[underscores(words[2])] {
			alias.WriteString(line + "\n")
		}
	}
	t.text(path.Join(root, "modules.dep"), 0o644, []byte(dep.String()))
	t.text(path.Join(root, "modules.alias"), 0o644, []byte(alias.String()))
	t.text(path.Join(root, "modules.symbols"), 0o644, nil)
	if builtin, err := os.ReadFile(filepath.Join(m.dir, "modules.builtin")); err == nil {
		t.text(path.Join(root, "modules.builtin"), 0o644, builtin)
	}
	return slices.Sorted(maps.Keys(firmware)), nil
}

// needs lists what has to be loaded before a module, last first as modules.dep
// has it. Soft dependencies that name a module become hard ones, because
// busybox modprobe does not know soft ones: without realtek.ko, r8169 takes
// the generic PHY driver and some cards get no link.
func (m *moduleSet) needs(file string) []string {
	needs := slices.Clone(m.deps[file])
	for _, name := range m.soft[moduleName(file)] {
		f, ok := m.names[name]
		if !ok {
			continue // an alias, or built into the kernel
		}
		for _, n := range append([]string{f}, m.deps[f]...) {
			// Loaded from the right, so what is needed by more moves right.
			needs = append(slices.DeleteFunc(needs, func(s string) bool { return s == n }), n)
		}
	}
	return needs
}

// readModule reads a module, unpacked.
func readModule(ctx context.Context, file string) ([]byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read module: %w", err)
	}
	const largest = 64 << 20 // no module comes near
	switch path.Ext(file) {
	case ".ko":
		return data, nil
	case ".gz":
		r, err := gzip.NewReader(bytes.NewReader(data))
		if err == nil {
			data, err = io.ReadAll(io.LimitReader(r, largest))
		}
		if err != nil {
			return nil, fmt.Errorf("unpack module %s: %w", file, err)
		}
	case ".zst":
		r, err := zstd.NewReader(bytes.NewReader(data), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, fmt.Errorf("unpack module %s: %w", file, err)
		}
		defer r.Close()
		if data, err = io.ReadAll(io.LimitReader(r, largest)); err != nil {
			return nil, fmt.Errorf("unpack module %s: %w", file, err)
		}
	case ".xz":
		bin, err := findProgram("xz", "xz-utils")
		if err != nil {
			return nil, fmt.Errorf("unpack module %s: %w", file, err)
		}
		cmd := exec.CommandContext(ctx, bin, "-dc")
		cmd.Stdin = bytes.NewReader(data)
		if data, err = cmd.Output(); err != nil {
			return nil, fmt.Errorf("unpack module %s: xz: %w", file, err)
		}
	default:
		return nil, fmt.Errorf("module %s: ending is not one of .ko, .ko.gz, .ko.xz, .ko.zst", file)
	}
	return data, nil
}

// modinfo returns the values of a key in a module's .modinfo section, which
// holds "key=value" strings, each ended by NUL.
func modinfo(module []byte, key string) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(module))
	if err != nil {
		return nil, fmt.Errorf("not a kernel module: %w", err)
	}
	s := f.Section(".modinfo")
	if s == nil {
		return nil, nil
	}
	data, err := s.Data()
	if err != nil {
		return nil, fmt.Errorf("read .modinfo: %w", err)
	}
	var values []string
	for field := range bytes.SplitSeq(data, []byte{0}) {
		if v, ok := bytes.CutPrefix(field, []byte(key+"=")); ok {
			values = append(values, string(v))
		}
	}
	return values, nil
}

// moduleName is the name the kernel knows a module file by.
func moduleName(file string) string { return underscores(path.Base(stripKO(file))) }

func underscores(s string) string { return strings.ReplaceAll(s, "-", "_") }

// stripKO drops .ko and the ending of a packed module.
func stripKO(file string) string {
	if i := strings.LastIndex(file, ".ko"); i >= 0 {
		return file[:i]
	}
	return file
}

// readLines reads a file's lines that are neither empty nor comments.
func readLines(name string) ([]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var lines []string
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		if line := strings.TrimSpace(s.Text()); line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	return lines, s.Err()
}

// findProgram finds a program, in the folders of administrators too, which are
// not on everybody's PATH.
func findProgram(name, pkg string) (string, error) {
	if p, err := exec.LookPath(name); err == nil {
		return p, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if p, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("program %s not found: install %s", name, pkg)
}
