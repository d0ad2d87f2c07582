package bootenv

import (
	"bytes"
	"compress/gzip"
	"context"
	"embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
	"go.uber.org/zap"
)

//go:embed rootfs
var rootfs embed.FS

// Compression of the initramfs.
type Compression string

// Compressions that every Debian and Ubuntu kernel since 2021 unpacks.
const (
	Zstd Compression = "zstd"
	Gzip Compression = "gzip"
)

// Options say what [Build] makes a boot environment from.
type Options struct {
	Arch       string // amd64 or arm64; "" means amd64
	Kernel     string // path of vmlinuz
	ModulesDir string // path of lib/modules/VERSION, the same kernel's
	Busybox    string // path of a static busybox
	Agent      string // path of castagent, static, for Linux and Arch
	// Tools are programs of this machine, by path or by name, that the agent
	// runs; their shared libraries come along. Names are looked up in PATH.
	Tools []string
	// DeployRoot is a root file system that has the programs which task sequences
	// need (sfdisk, ntfs-3g, wimlib-imagex and others); "" leaves them out.
	DeployRoot string
	// Modules are names of kernel modules to add to the usual ones.
	Modules []string
	// FirmwareDir holds firmware files that network cards load, as in
	// /lib/firmware; "" means none are added.
	FirmwareDir string
	// Files are added as they are: path in the boot environment -> path here.
	Files map[string]string
	// Out is the folder that gets the files vmlinuz and initrd; it is made.
	Out         string
	Compression Compression // "" means Zstd
	Log         *zap.Logger
}

// Result says what was built.
type Result struct {
	Kernel     string // path of the kernel
	Initrd     string // path of the initramfs
	Version    string // of the kernel, as uname -r prints it
	KernelSize int64  // bytes
	InitrdSize int64  // bytes, compressed
	Unpacked   int64  // bytes of memory the initramfs takes on the machine
	Modules    int
	// MissingFirmware are firmware files that a module may ask for and that
	// were not found; most cards work without.
	MissingFirmware []string
}

// Build makes a boot environment. The same input gives the same bytes. It
// changes nothing but Out, and replaces files there only when both are whole;
// only where ModulesDir has no modules.dep, depmod writes its lists there.
//
// An error names the file or the package that is missing.
func Build(ctx context.Context, o Options) (*Result, error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Arch == "" {
		o.Arch = "amd64"
	}
	if o.Compression == "" {
		o.Compression = Zstd
	}
	version, err := o.check()
	if err != nil {
		return nil, fmt.Errorf("build boot environment: %w", err)
	}
	res := &Result{
		Kernel:  filepath.Join(o.Out, "vmlinuz"),
		Initrd:  filepath.Join(o.Out, "initrd"),
		Version: version,
	}
	t, err := o.tree(ctx, res)
	if err != nil {
		return nil, fmt.Errorf("build boot environment: %w", err)
	}
	if err := o.write(ctx, t, res); err != nil {
		return nil, fmt.Errorf("build boot environment: %w", err)
	}
	o.Log.Info("built boot environment", zap.String("kernel", version), zap.Int("modules", res.Modules),
		zap.Int64("kernel_bytes", res.KernelSize), zap.Int64("initrd_bytes", res.InitrdSize),
		zap.Int64("unpacked_bytes", res.Unpacked))
	return res, nil
}

// check finds out whether the parts belong together, before any work is done,
// and returns the kernel's version.
func (o *Options) check() (string, error) {
	machine, ok := machines[o.Arch]
	if !ok {
		return "", fmt.Errorf("architecture %q: want amd64 or arm64", o.Arch)
	}
	if o.Compression != Zstd && o.Compression != Gzip {
		return "", fmt.Errorf("compression %q: want zstd or gzip", o.Compression)
	}
	for name, v := range map[string]string{
		"kernel": o.Kernel, "modules folder": o.ModulesDir, "busybox": o.Busybox, "agent": o.Agent, "output folder": o.Out,
	} {
		if v == "" {
			return "", fmt.Errorf("no %s given", name)
		}
	}
	for what, path := range map[string]string{"busybox": o.Busybox, "agent": o.Agent} {
		p, err := readProgram(path)
		if err != nil {
			return "", fmt.Errorf("%s: %w", what, err)
		}
		if p.machine != machine {
			return "", fmt.Errorf("%s %s is for %s, the boot environment for %s", what, path, p.machine, o.Arch)
		}
		if p.interp != "" {
			advice := "build it with CGO_ENABLED=0"
			if what == "busybox" {
				advice = "install the busybox-static package"
			}
			return "", fmt.Errorf("%s %s is not static: %s", what, path, advice)
		}
	}
	version := filepath.Base(filepath.Clean(o.ModulesDir))
	kernel, err := kernelVersion(o.Kernel)
	if err != nil {
		return "", err
	}
	if kernel != "" && kernel != version {
		return "", fmt.Errorf("kernel %s is version %s, but the modules in %s are of another", o.Kernel, kernel, o.ModulesDir)
	}
	return version, nil
}

// kernelVersion checks that iPXE can start a kernel file and returns its
// version, "" when the format does not say it.
func kernelVersion(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	head := make([]byte, 64<<10)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", fmt.Errorf("read kernel %s: %w", path, err)
	}
	head = head[:n]
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return "", fmt.Errorf("kernel %s is packed with gzip, which boot loaders do not start: unpack it with gunzip", path)
	case len(head) > 0x210 && bytes.Equal(head[0x202:0x206], []byte("HdrS")):
		// Linux x86 boot protocol: offset 0x20e holds where the version string
		// is, counted from 0x200; it ends at a space.
		at := int(binary.LittleEndian.Uint16(head[0x20e:])) + 0x200
		if at >= len(head) {
			return "", nil
		}
		text, _, _ := bytes.Cut(head[at:min(at+256, len(head))], []byte{0})
		version, _, _ := strings.Cut(string(text), " ")
		return version, nil
	case bytes.HasPrefix(head, []byte("MZ")): // an EFI program, which arm64 kernels are
		return "", nil
	}
	return "", fmt.Errorf("kernel %s is neither a bzImage nor an EFI program", path)
}

// tree puts the root file system together.
func (o *Options) tree(ctx context.Context, res *Result) (*tree, error) {
	t := newTree()
	for _, dir := range []string{"dev", "etc", "mnt", "proc", "root", "run", "sys", "tmp", "usr/bin", "usr/sbin", "sbin"} {
		t.dir(dir)
	}
	for name, to := range map[string]string{"init": "init", "udhcpc.script": "etc/udhcpc.script"} {
		data, err := rootfs.ReadFile("rootfs/" + name)
		if err != nil {
			return nil, fmt.Errorf("read embedded %s: %w", name, err)
		}
		t.text(to, 0o755, data)
	}
	t.file("bin/busybox", 0o755, o.Busybox)
	t.symlink("bin/sh", "busybox")
	// The kernel itself runs this path when it wants a module by name.
	t.symlink("sbin/modprobe", "../bin/busybox")
	t.file("bin/castagent", 0o755, o.Agent)

	mods, err := readModules(ctx, o.ModulesDir)
	if err != nil {
		return nil, err
	}
	files, err := mods.choose(o.Modules)
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no module of use found in %s", o.ModulesDir)
	}
	res.Modules = len(files)
	firmware, err := mods.addTo(ctx, t, files)
	if err != nil {
		return nil, err
	}
	for _, name := range firmware {
		path := filepath.Join(o.FirmwareDir, name)
		if o.FirmwareDir == "" || !filepath.IsLocal(name) || !isFile(path) {
			res.MissingFirmware = append(res.MissingFirmware, name)
			continue
		}
		t.file(filepath.Join("lib/firmware", name), 0o644, path)
	}

	dirs := libraryDirs()
	for _, tool := range o.Tools {
		path, err := exec.LookPath(tool)
		if err != nil {
			return nil, fmt.Errorf("tool %s: not found: install the package that has it", tool)
		}
		if path, err = filepath.Abs(path); err != nil {
			return nil, fmt.Errorf("tool %s: %w", tool, err)
		}
		if err := addTool(t, "/", path, machines[o.Arch], dirs); err != nil {
			return nil, err
		}
	}
	if o.DeployRoot != "" {
		if err := o.addDeploy(ctx, t); err != nil {
			return nil, err
		}
	}
	for to, from := range o.Files {
		t.file(to, 0o644, from)
	}
	return t, nil
}

// write writes both files beside their places and then moves them there.
func (o *Options) write(ctx context.Context, t *tree, res *Result) (err error) {
	if err := os.MkdirAll(o.Out, 0o755); err != nil {
		return err
	}
	kernel, err := writeFile(o.Out, func(w io.Writer) error {
		in, err := os.Open(o.Kernel)
		if err != nil {
			return err
		}
		defer in.Close()
		res.KernelSize, err = io.Copy(w, in)
		return err
	})
	if err != nil {
		return fmt.Errorf("copy kernel %s: %w", o.Kernel, err)
	}
	defer func() { err = errors.Join(err, removeIfThere(kernel)) }()
	initrd, err := writeFile(o.Out, func(w io.Writer) error {
		packed := &counter{w: w}
		pack, err := o.compressor(packed)
		if err != nil {
			return err
		}
		plain := &counter{w: pack, ctx: ctx}
		if err := t.write(plain); err != nil {
			return err
		}
		if err := pack.Close(); err != nil {
			return err
		}
		res.InitrdSize, res.Unpacked = packed.n, plain.n
		return nil
	})
	if err != nil {
		return fmt.Errorf("write the initramfs: %w", err)
	}
	defer func() { err = errors.Join(err, removeIfThere(initrd)) }()
	if err := os.Rename(kernel, res.Kernel); err != nil {
		return err
	}
	return os.Rename(initrd, res.Initrd)
}

// compressor is set to one thread: with more, the bytes could depend on timing.
func (o *Options) compressor(w io.Writer) (io.WriteCloser, error) {
	if o.Compression == Gzip {
		return gzip.NewWriterLevel(w, gzip.BestCompression)
	}
	// The kernel reserves the window in memory while it unpacks: 8 MB.
	return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedBestCompression),
		zstd.WithWindowSize(8<<20))
}

// writeFile makes a new file in dir, readable by all, safe on disk, and
// returns its name; on error it leaves nothing behind.
func writeFile(dir string, fill func(io.Writer) error) (name string, err error) {
	f, err := os.CreateTemp(dir, ".bootenv-*")
	if err != nil {
		return "", err
	}
	err = errors.Join(fill(f), f.Chmod(0o644), f.Sync())
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

func removeIfThere(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func isFile(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular()
}

// counter counts bytes on their way and stops when its context ends.
type counter struct {
	w   io.Writer
	ctx context.Context // nil when nothing stops it
	n   int64
}

func (c *counter) Write(b []byte) (int, error) {
	if c.ctx != nil && c.ctx.Err() != nil {
		return 0, c.ctx.Err()
	}
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}
