package content

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"castpoint/content/wim"
)

// inspect checks a request and the files it names without copying anything, and
// returns the content to be made, without ID and files, and its sources.
func inspect(ctx context.Context, req AddRequest) (*Content, []source, error) {
	c := &Content{
		Kind:         req.Kind,
		Name:         strings.TrimSpace(req.Name),
		Version:      strings.TrimSpace(req.Version),
		Comment:      strings.TrimSpace(req.Comment),
		Arch:         req.Arch,
		Index:        req.Index,
		Distribution: req.Distribution,
	}
	if !knownKind(req.Kind) {
		return nil, nil, fmt.Errorf("%w kind %q: use one of %s", ErrInvalid, req.Kind, kindNames())
	}
	if req.Path == "" {
		return nil, nil, fmt.Errorf("%w request: no path", ErrInvalid)
	}
	if err := checkArch(c.Arch); err != nil { // before the files, which may take a while
		return nil, nil, err
	}
	if req.Initrd != "" && req.Kind != KindBootImage {
		return nil, nil, fmt.Errorf("%w request: only a boot image has an initramfs", ErrInvalid)
	}
	var sources []source
	var err error
	switch {
	case req.Kind.folder():
		sources, err = inspectFolder(ctx, req.Path, c)
	case req.Initrd != "":
		sources, err = inspectLinux(req.Path, req.Initrd, c)
	default:
		sources, err = inspectImage(req.Path, c)
	}
	if err != nil {
		return nil, nil, err
	}
	if c.Index != 0 && len(c.Images) == 0 {
		return nil, nil, fmt.Errorf("%w index %d: %s is not a WIM", ErrInvalid, c.Index, req.Path)
	}
	return c, sources, c.check()
}

// openSource opens a regular file.
func openSource(path string) (*os.File, os.FileInfo, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, nil, err
	}
	info, err := os.Stat(path) // before opening: opening a named pipe would wait
	if err != nil {
		return nil, nil, fmt.Errorf("%w file: %w", ErrInvalid, err)
	}
	switch {
	case info.IsDir():
		return nil, nil, fmt.Errorf("%w file %s: it is a folder", ErrInvalid, path)
	case !info.Mode().IsRegular():
		return nil, nil, fmt.Errorf("%w file %s: it is not a regular file", ErrInvalid, path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("%w file: %w", ErrInvalid, err)
	}
	if info, err = f.Stat(); err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// describeWIM opens and describes a WIM.
func describeWIM(path string) (*wim.Info, os.FileInfo, error) {
	f, info, err := openSource(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	w, err := wim.Describe(f, info.Size())
	if err != nil {
		return nil, nil, fmt.Errorf("%w file %s: %w", ErrInvalid, path, err)
	}
	return w, info, nil
}

// inspectImage checks the WIM of an OS image or boot image.
func inspectImage(path string, c *Content) ([]source, error) {
	w, info, err := describeWIM(path)
	if errors.Is(err, wim.ErrNotWIM) && c.Kind == KindBootImage {
		if _, _, kerr := describeKernelFile(path); kerr == nil {
			return nil, fmt.Errorf("%w request: %s is a Linux kernel: give its initramfs, too", ErrInvalid, path)
		}
	}
	if err != nil {
		return nil, err
	}
	switch {
	case w.Split():
		return nil, fmt.Errorf("%w file %s: it is part %d of %d of a split WIM: join the parts first (wimlib-imagex join whole.wim PART1 PART2 ...)",
			ErrInvalid, path, w.Part, w.Parts)
	case w.Unfinished:
		return nil, fmt.Errorf("%w file %s: a program is writing it, or crashed doing so; if none is: wimlib-imagex optimize %s",
			ErrInvalid, path, path)
	case len(w.Images) == 0:
		return nil, fmt.Errorf("%w file %s: the WIM has no image", ErrInvalid, path)
	case c.Kind == KindBootImage && (w.Pipable || w.Solid || w.Compression == wim.CompressionLZMS):
		return nil, fmt.Errorf("%w file %s: boot managers cannot read this kind of WIM (%s): convert it (wimlib-imagex export %s all boot.wim --compress=lzx --boot)",
			ErrInvalid, path, variant(w), path)
	}
	if c.Index > len(w.Images) || c.Index < 0 {
		return nil, fmt.Errorf("%w index %d: %s has images 1 to %d", ErrInvalid, c.Index, path, len(w.Images))
	}
	c.Images = w.Images
	if c.Index == 0 {
		switch {
		case len(w.Images) == 1:
			c.Index = 1
		case c.Kind == KindBootImage:
			c.Index = max(w.BootIndex, 1)
		}
	}
	if err := describeByImages(c, path); err != nil {
		return nil, err
	}
	return []source{{role: RoleImage, name: filepath.Base(path), path: path, info: info, wim: true}}, nil
}

// variant names what is unusual about a WIM.
func variant(w *wim.Info) string {
	switch {
	case w.Pipable:
		return "pipable"
	case w.Solid:
		return "solid " + string(w.Compression)
	}
	return string(w.Compression)
}

// describeByImages fills in name, version and architecture of c from the image
// that is meant, or where several may be meant from what they have in common.
func describeByImages(c *Content, path string) error {
	meant := c.Images
	if c.Index > 0 {
		meant = c.Images[c.Index-1 : c.Index]
	}
	name, version, arch := imageName(meant[0]), meant[0].Version, meant[0].Arch
	for _, img := range meant[1:] {
		name = commonWords(name, imageName(img))
		if version != img.Version {
			version = ""
		}
		if arch != img.Arch {
			arch = ""
		}
	}
	if c.Name == "" {
		c.Name = name
	}
	if c.Name == "" {
		c.Name = baseName(path)
	}
	if c.Version == "" {
		c.Version = printableText(version)
	}
	if checkArch(arch) != nil {
		return fmt.Errorf("%w file %s: the image is for %s, which castpoint does not deploy", ErrInvalid, path, arch)
	}
	return c.setArch(arch, path)
}

// setArch takes the architecture that a file is for; one that was asked for
// must agree.
func (c *Content) setArch(arch, path string) error {
	if arch != "" && c.Arch != "" && c.Arch != arch {
		return fmt.Errorf("%w architecture %s: %s is for %s", ErrInvalid, c.Arch, path, arch)
	}
	if arch != "" {
		c.Arch = arch
	}
	return nil
}

func imageName(img wim.Image) string {
	for _, s := range []string{img.Name, img.DisplayName, img.Edition} {
		if s = printableText(s); s != "" {
			return s
		}
	}
	return ""
}

// commonWords is the run of words that both begin with.
func commonWords(a, b string) string {
	wa, wb := strings.Fields(a), strings.Fields(b)
	n := 0
	for n < min(len(wa), len(wb)) && wa[n] == wb[n] {
		n++
	}
	return strings.Join(wa[:n], " ")
}

// baseName is a file's or folder's name without its extension.
func baseName(path string) string {
	base := filepath.Base(path)
	if s := printableText(strings.TrimSuffix(base, filepath.Ext(base))); s != "" && s != "." {
		return s
	}
	return printableText(base)
}
