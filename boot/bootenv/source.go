package bootenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

// Source is a kernel with its modules, a static busybox and the programs for task
// sequences: the parts of a boot environment that a Linux distribution makes.
type Source struct {
	Root       string // what the others are below
	Kernel     string // path of vmlinuz
	ModulesDir string // path of lib/modules/VERSION
	Busybox    string // path
}

// FromHost takes the newest kernel installed on this machine that has its
// modules beside it, its busybox and, with deploy, the programs for task sequences.
func FromHost(arch string, deploy bool) (Source, error) {
	if arch != runtime.GOARCH {
		return Source{}, fmt.Errorf("this machine is %s, so its kernel does not boot %s machines: take one from a Debian package", runtime.GOARCH, arch)
	}
	s, err := fromRoot("/")
	if err != nil {
		return Source{}, fmt.Errorf("take the kernel of this machine: %w; install linux-image-%s and busybox-static", err, arch)
	}
	if deploy {
		err = checkDeploy("/", arch)
	}
	return s, err
}

// fromRoot finds kernel, modules and busybox below a root file system.
func fromRoot(root string) (Source, error) {
	kernels, err := filepath.Glob(filepath.Join(root, "boot", "vmlinuz-*"))
	if err != nil {
		return Source{}, err
	}
	slices.SortFunc(kernels, func(a, b string) int { return compareVersions(b, a) })
	s := Source{Root: root}
	for _, k := range kernels {
		version := strings.TrimPrefix(filepath.Base(k), "vmlinuz-")
		for _, lib := range []string{"lib/modules", "usr/lib/modules"} {
			dir := filepath.Join(root, lib, version)
			if st, err := os.Stat(dir); err == nil && st.IsDir() && s.Kernel == "" {
				s.Kernel, s.ModulesDir = k, dir
			}
		}
	}
	if s.Kernel == "" {
		return Source{}, fmt.Errorf("no %s with a folder of the same version in %s",
			filepath.Join(root, "boot", "vmlinuz-*"), filepath.Join(root, "lib/modules"))
	}
	for _, b := range []string{"bin/busybox", "usr/bin/busybox"} {
		if p := filepath.Join(root, b); isFile(p) {
			s.Busybox = p
			return s, nil
		}
	}
	return Source{}, fmt.Errorf("no busybox in %s", filepath.Join(root, "bin"))
}

// compareVersions orders names by their numbers: 6.1.0-9 before 6.1.0-56.
func compareVersions(a, b string) int {
	for a != "" && b != "" {
		na, ra := leadingDigits(a)
		nb, rb := leadingDigits(b)
		if na != "" && nb != "" {
			na, nb = strings.TrimLeft(na, "0"), strings.TrimLeft(nb, "0")
			if len(na) != len(nb) {
				return len(na) - len(nb)
			}
			if c := strings.Compare(na, nb); c != 0 {
				return c
			}
			a, b = ra, rb
			continue
		}
		if a[0] != b[0] {
			return int(a[0]) - int(b[0])
		}
		a, b = a[1:], b[1:]
	}
	return len(a) - len(b)
}

func leadingDigits(s string) (digits, rest string) {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return s[:n], s[n:]
}

// FromDebian fetches the newest kernel and busybox for an architecture (amd64
// or arm64), with deploy the programs for task sequences too, from the Debian mirrors this machine's apt is set up for, and
// unpacks them below cacheDir. It installs nothing, needs no root, and keeps
// apt's lists in cacheDir, so the machine's own architecture and package state
// do not matter. Packages that are there already are not fetched again; when
// the mirror cannot be reached, what is there is taken.
func FromDebian(ctx context.Context, cacheDir, arch string, deploy bool) (Source, error) {
	if _, ok := machines[arch]; !ok {
		return Source{}, fmt.Errorf("architecture %q: want amd64 or arm64", arch)
	}
	abs, err := filepath.Abs(cacheDir)
	if err != nil {
		return Source{}, err
	}
	d := debian{dir: filepath.Join(abs, arch), arch: arch, deploy: deploy}
	for _, tool := range []struct{ name, pkg string }{{"apt-get", "apt"}, {"apt-cache", "apt"}, {"dpkg-deb", "dpkg"}, {"depmod", "kmod"}} {
		if _, err := findProgram(tool.name, tool.pkg); err != nil {
			return Source{}, fmt.Errorf("take a kernel from Debian: %w", err)
		}
	}
	root, err := d.fetch(ctx)
	if err != nil {
		if old := d.newest(); old != "" && ctx.Err() == nil && d.whole(old) == nil {
			return fromRoot(old)
		}
		return Source{}, fmt.Errorf("take a kernel from Debian: %w", err)
	}
	return fromRoot(root)
}

// debian is apt with a state of its own: lists, downloads and unpacked packages
// in one folder.
type debian struct {
	dir    string
	arch   string
	deploy bool
}

var kernelPackage = regexp.MustCompile(`(?m)^Depends:.*\b(linux-image-[0-9][0-9a-z.+-]*)`)

// fetch returns the root of the unpacked packages.
func (d debian) fetch(ctx context.Context) (string, error) {
	for _, sub := range []string{"state/lists/partial", "cache/archives/partial", "debs"} {
		if err := os.MkdirAll(filepath.Join(d.dir, sub), 0o755); err != nil {
			return "", err
		}
	}
	if err := os.WriteFile(filepath.Join(d.dir, "state/status"), nil, 0o644); err != nil {
		return "", err
	}
	// Sources that do not answer are only warned of otherwise, and their packages are not
	// there.
	if _, err := d.apt(ctx, "apt-get", "-o", "APT::Update::Error-Mode=any", "update"); err != nil {
		return "", err
	}
	meta := "linux-image-" + d.arch
	text, err := d.apt(ctx, "apt-cache", "--no-all-versions", "show", meta)
	if err != nil {
		return "", err
	}
	m := kernelPackage.FindSubmatch(text)
	if m == nil {
		return "", fmt.Errorf("package %s does not name a kernel: is this machine's apt set up for Debian?", meta)
	}
	kernel := string(m[1])
	root := filepath.Join(d.dir, "root-"+kernel)
	if d.whole(root) == nil {
		return root, nil
	}
	packages := []string{kernel, "busybox-static"}
	if d.deploy {
		more, err := d.closure(ctx, deployPackages(d.arch))
		if err != nil {
			return "", err
		}
		packages = append(packages, more...)
	}
	if _, err := d.apt(ctx, "apt-get", append([]string{"download"}, packages...)...); err != nil {
		return "", err
	}
	tmp := root + ".new"
	if err := os.RemoveAll(tmp); err != nil {
		return "", err
	}
	for _, pkg := range packages {
		debs, err := filepath.Glob(filepath.Join(d.dir, "debs", pkg+"_*.deb"))
		if err != nil || len(debs) == 0 {
			return "", fmt.Errorf("apt-get downloaded no %s_*.deb: %w", pkg, errors.Join(err, os.ErrNotExist))
		}
		slices.SortFunc(debs, compareVersions)
		if _, err := d.run(ctx, "dpkg-deb", "-x", debs[len(debs)-1], tmp); err != nil {
			return "", err
		}
	}
	if err := os.RemoveAll(root); err != nil {
		return "", err
	}
	if err := os.Rename(tmp, root); err != nil {
		return "", err
	}
	// What is unpacked is enough; the rest is several times its size.
	return root, errors.Join(os.RemoveAll(filepath.Join(d.dir, "debs")), os.RemoveAll(filepath.Join(d.dir, "cache")))
}

// whole says what a root lacks.
func (d debian) whole(root string) error {
	if _, err := fromRoot(root); err != nil {
		return err
	}
	if d.deploy {
		return checkDeploy(root, d.arch)
	}
	return nil
}

// closure is packages with all that they need, as apt would install them on a
// machine that has nothing.
func (d debian) closure(ctx context.Context, packages []string) ([]string, error) {
	text, err := d.apt(ctx, "apt-get", append([]string{"install", "-s", "--no-install-recommends"}, packages...)...)
	if err != nil {
		return nil, err
	}
	var all []string
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) > 1 && words[0] == "Inst" {
			name, _, _ := strings.Cut(words[1], ":")
			all = append(all, name)
		}
	}
	return all, nil
}

// newest is the root that was unpacked last; "" when there is none.
func (d debian) newest() string {
	roots, err := filepath.Glob(filepath.Join(d.dir, "root-*[^w]")) // not a half-done *.new
	if err != nil || len(roots) == 0 {
		return ""
	}
	return slices.MaxFunc(roots, compareVersions)
}

// apt runs one of apt's programs on the private state.
func (d debian) apt(ctx context.Context, name string, args ...string) ([]byte, error) {
	return d.run(ctx, name, append([]string{
		"-q",
		"-o", "Dir::State=" + filepath.Join(d.dir, "state"),
		"-o", "Dir::State::status=" + filepath.Join(d.dir, "state/status"),
		"-o", "Dir::Cache=" + filepath.Join(d.dir, "cache"),
		"-o", "APT::Architecture=" + d.arch,
		"-o", "APT::Architectures=" + d.arch,
		"-o", "APT::Sandbox::User=", // the cache need not be open to user _apt
		"-o", "Acquire::Languages=none",
	}, args...)...)
}

func (d debian) run(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = filepath.Join(d.dir, "debs")
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", name, args[len(args)-1], err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}
