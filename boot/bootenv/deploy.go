package bootenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// deployTool is a program that task sequences run, and the Debian package that has
// it.
type deployTool struct{ name, pkg string }

// deployTools are what the agent needs to divide and format disks, to apply images
// and to make the result boot.
var deployTools = []deployTool{
	{"sfdisk", "fdisk"},
	{"mkfs.vfat", "dosfstools"},
	{"mkfs.ext4", "e2fsprogs"},
	{"mkntfs", "ntfs-3g"},
	{"ntfs-3g", "ntfs-3g"},
	{"ntfsresize", "ntfs-3g"},
	{"ntfsfix", "ntfs-3g"},
	{"wimlib-imagex", "wimtools"},
	{"efibootmgr", "efibootmgr"},
	{"hdparm", "hdparm"},        // SATA disks that erase themselves
	{"hivexsh", "libhivex-bin"}, // the registry of a Windows that was applied
}

// What starts bootmgr on BIOS machines is made of GRUB, for amd64 only.
const (
	grubMaker   = "grub-mkimage"
	grubMakerIn = "grub-common"
	grubFolder  = "usr/lib/grub/i386-pc"
	grubIn      = "grub-pc-bin"
	grubTo      = "usr/lib/castpoint/grub"
)

// deployPackages are the Debian packages for an architecture, each once.
func deployPackages(arch string) (list []string) {
	seen := make(map[string]bool)
	all := deployTools
	if arch == "amd64" {
		all = append(all[:len(all):len(all)], deployTool{"", grubIn}, deployTool{"", grubMakerIn})
	}
	for _, t := range all {
		if !seen[t.pkg] {
			seen[t.pkg] = true
			list = append(list, t.pkg)
		}
	}
	return list
}

// checkDeploy says which packages are missing below a root file system.
func checkDeploy(root, arch string) error {
	var missing []string
	seen := make(map[string]bool)
	add := func(pkg string) {
		if !seen[pkg] {
			seen[pkg] = true
			missing = append(missing, pkg)
		}
	}
	for _, t := range deployTools {
		if findTool(root, t.name) == "" {
			add(t.pkg)
		}
	}
	if arch == "amd64" {
		if findTool(root, grubMaker) == "" {
			add(grubMakerIn)
		}
		if !isFile(filepath.Join(root, grubFolder, "ntldr.mod")) {
			add(grubIn)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("programs that task sequences need are not in %s: install %s", root, strings.Join(missing, " "))
	}
	return nil
}

// findTool is the path of a program below a root, as programs there see it; "" when
// there is none.
func findTool(root, name string) string {
	for _, dir := range []string{"/usr/sbin", "/usr/bin", "/sbin", "/bin"} {
		path := filepath.Join(dir, name)
		if real, err := inRoot(root, path); err == nil && isFile(real) {
			return path
		}
	}
	return ""
}

// maxLinks bounds chains of symbolic links.
const maxLinks = 16

// inRoot is the file that a path names below a root: absolute links in an unpacked
// package lead out of it, if the root is not put before them.
func inRoot(root, path string) (string, error) {
	if filepath.Clean(root) == "/" {
		return filepath.EvalSymlinks(path)
	}
	at := "/"
	parts := strings.Split(strings.Trim(filepath.Clean(path), "/"), "/")
	for links := 0; len(parts) > 0; {
		next := filepath.Join(at, parts[0])
		parts = parts[1:]
		target, err := os.Readlink(filepath.Join(root, next))
		if err != nil {
			if _, statErr := os.Lstat(filepath.Join(root, next)); statErr != nil {
				return "", statErr
			}
			at = next
			continue
		}
		if links++; links > maxLinks {
			return "", fmt.Errorf("%s: too many symbolic links", path)
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(at, target)
		}
		parts = append(strings.Split(strings.Trim(filepath.Clean(target), "/"), "/"), parts...)
		at = "/"
	}
	return filepath.Join(root, at), nil
}

// addDeploy puts the programs for task sequences into the tree.
func (o *Options) addDeploy(ctx context.Context, t *tree) error {
	root := o.DeployRoot
	if err := checkDeploy(root, o.Arch); err != nil {
		return err
	}
	dirs := libraryDirs()
	if filepath.Clean(root) != "/" {
		dirs = nil
		for _, dir := range []string{"lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu", "usr/lib/aarch64-linux-gnu", "lib", "usr/lib"} {
			dirs = append(dirs, filepath.Join(root, dir))
		}
	}
	for _, tool := range deployTools {
		if err := addTool(t, root, findTool(root, tool.name), machines[o.Arch], dirs); err != nil {
			return err
		}
	}
	if conf := filepath.Join(root, "etc/mke2fs.conf"); isFile(conf) {
		t.file("etc/mke2fs.conf", 0o644, conf)
	}
	if o.Arch != "amd64" {
		return nil
	}
	core, err := grubCore(ctx, root, dirs)
	if err != nil {
		return err
	}
	t.text(grubTo+"/core.img", 0o644, core)
	t.file(grubTo+"/boot.img", 0o644, filepath.Join(root, grubFolder, "boot.img"))
	return nil
}

// grubScript has GRUB look for bootmgr on the disks, the one that the BIOS booted
// from first, and start it.
const grubScript = "search.file /bootmgr root\nntldr /bootmgr\nboot\n"

// grubModules are what the script needs.
var grubModules = []string{"biosdisk", "part_msdos", "part_gpt", "ntfs", "fat", "exfat", "search_fs_file", "ntldr", "boot"}

// grubCore makes the core image. A program of an unpacked package runs with the
// libraries that came with it.
func grubCore(ctx context.Context, root string, dirs []string) (core []byte, err error) {
	dir, err := os.MkdirTemp("", "castpoint-grub-*")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	script, out := filepath.Join(dir, "script"), filepath.Join(dir, "core.img")
	if err := os.WriteFile(script, []byte(grubScript), 0o600); err != nil {
		return nil, err
	}
	program, err := inRoot(root, findTool(root, grubMaker))
	if err != nil {
		return nil, err
	}
	args := append([]string{program, "--format=i386-pc", "--directory=" + filepath.Join(root, grubFolder), "--prefix=/castpoint",
		"--config=" + script, "--output=" + out}, grubModules...)
	if filepath.Clean(root) != "/" {
		p, err := readProgram(program)
		if err != nil {
			return nil, err
		}
		linker, err := inRoot(root, p.interp)
		if err != nil {
			return nil, fmt.Errorf("%s: its dynamic linker: %w", grubMaker, err)
		}
		args = append([]string{linker, "--library-path", strings.Join(dirs, ":")}, args...)
	}
	said, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("make the boot loader for BIOS machines: %s: %w: %s", grubMaker, err, bytes.TrimSpace(said))
	}
	core, err = os.ReadFile(out)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("make the boot loader for BIOS machines: %s wrote nothing: %s", grubMaker, bytes.TrimSpace(said))
	}
	return core, err
}
