package inspect

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"castpoint/content"
	"castpoint/content/wim"
)

// Inspect does what Add does with files before it copies them, and gives what it finds.
// It needs no library.
func Inspect(ctx context.Context, req content.AddRequest) (*content.Content, error) {
	c, _, err := Sources(ctx, req)
	return c, err
}

// Sources checks a request and the files it names without copying anything, and
// returns the content to be made, without ID and files, and its sources.
func Sources(ctx context.Context, req content.AddRequest) (*content.Content, []Source, error) {
	c := &content.Content{
		Kind:         req.Kind,
		Name:         strings.TrimSpace(req.Name),
		Version:      strings.TrimSpace(req.Version),
		Comment:      strings.TrimSpace(req.Comment),
		Source:       req.Source,
		Language:     strings.TrimSpace(req.Language),
		Arch:         req.Arch,
		Programs:     content.WithCodes(req.Programs),
		Index:        req.Index,
		Distribution: req.Distribution,
	}
	if err := req.Check(); err != nil { // before the files, which may take a while
		return nil, nil, err
	}
	if err := setSource(c, req); err != nil {
		return nil, nil, err
	}
	var sources []Source
	var err error
	switch {
	case req.Kind.Folder():
		sources, err = Folder(ctx, req.Path, c)
	case req.Initrd != "":
		sources, err = inspectLinux(req.Path, req.Initrd, c)
	default:
		sources, err = inspectImage(req.Path, c)
		if err == nil && req.Loaders != "" {
			sources, err = addLoaders(ctx, sources, req)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	if c.Index != 0 && len(c.Images) == 0 {
		return nil, nil, fmt.Errorf("%w index %d: %s is not a WIM", content.ErrInvalid, c.Index, req.Path)
	}
	return c, sources, c.Check()
}

// setSource notes where the files come from, unless the path would garble a
// terminal: it is only for repairs and for people.
func setSource(c *content.Content, req content.AddRequest) error {
	if c.Source != "" {
		return nil
	}
	for _, p := range []struct {
		from string
		to   *string
	}{{req.Path, &c.Source}, {req.Initrd, &c.SourceInitrd}} {
		if p.from == "" {
			continue
		}
		abs, err := filepath.Abs(p.from)
		if err != nil {
			return err
		}
		if content.CheckText(abs, content.MaxSource, false) == nil {
			*p.to = abs
		}
	}
	return nil
}

// OpenFile opens a regular file.
func OpenFile(path string) (*os.File, os.FileInfo, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, nil, err
	}
	info, err := os.Stat(path) // before opening: opening a named pipe would wait
	if err != nil {
		return nil, nil, fmt.Errorf("%w file: %w", content.ErrFile, err)
	}
	switch {
	case info.IsDir():
		return nil, nil, fmt.Errorf("%w file %s: it is a folder", content.ErrFile, path)
	case !info.Mode().IsRegular():
		return nil, nil, fmt.Errorf("%w file %s: it is not a regular file", content.ErrFile, path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("%w file: %w", content.ErrFile, err)
	}
	if info, err = f.Stat(); err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// inspectImage checks the WIM of an OS image or boot image, which may be inside
// an ISO image.
func inspectImage(path string, c *content.Content) ([]Source, error) {
	s, more, err := ImageSource(path, c.Kind)
	if err != nil {
		return nil, err
	}
	s.WIM = true
	parts := []Source{s}
	for i := range more {
		if more[i].Role == content.RolePart {
			more[i].WIM = true
			parts = append(parts, more[i])
		}
	}
	path = s.Text()
	w, err := describeWIM(parts)
	var split *wim.MissingPartsError
	if errors.As(err, &split) && c.Kind == content.KindBootImage {
		return nil, fmt.Errorf("%w file %s: it is one of the %d parts of a split WIM, which boot managers cannot read: join them first (wimlib-imagex join whole.wim PART1 PART2 ...)", content.ErrFile, path, split.Total)
	}
	if errors.Is(err, wim.ErrNotWIM) && c.Kind == content.KindBootImage {
		if _, _, kerr := describeKernelFile(s.Path); kerr == nil {
			return nil, fmt.Errorf("%w request: %s is a Linux kernel: give its initramfs, too", content.ErrInvalid, path)
		}
	}
	if err != nil {
		return nil, err
	}
	switch {
	case w.Unfinished:
		return nil, fmt.Errorf("%w file %s: a program is writing it, or crashed doing so; if none is: wimlib-imagex optimize %s", content.ErrFile, path, path)
	case len(w.Images) == 0:
		return nil, fmt.Errorf("%w file %s: the WIM has no image", content.ErrFile, path)
	case c.Kind == content.KindBootImage && (w.Pipable || w.Solid || w.Compression == wim.CompressionLZMS):
		return nil, fmt.Errorf("%w file %s: boot managers cannot read this kind of WIM (%s): convert it (wimlib-imagex export %s all boot.wim --compress=lzx --boot)", content.ErrFile, path, variant(w), path)
	}
	if c.Index > len(w.Images) || c.Index < 0 {
		return nil, fmt.Errorf("%w index %d: %s has %s", content.ErrInvalid, c.Index, path, content.ImagesText(len(w.Images)))
	}
	c.Images = w.Images
	c.Unusual = unusual(w)
	if c.Index == 0 {
		switch {
		case len(w.Images) == 1:
			c.Index = 1
		case c.Kind == content.KindBootImage:
			c.Index = max(w.BootIndex, 1)
		}
	}
	if err := describeByImages(c, path); err != nil {
		return nil, err
	}
	return append([]Source{s}, more...), nil
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
func describeByImages(c *content.Content, path string) error {
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
		c.Version = content.Printable(version)
	}
	if c.Language == "" {
		c.Language = languages(meant)
	}
	if content.CheckArch(arch) != nil {
		return fmt.Errorf("%w file %s: the image is for %s, which castpoint does not deploy", content.ErrFile, path, arch)
	}
	return setArch(c, arch, path)
}

// languages lists the languages of images, each once, the default ones first.
func languages(images []wim.Image) string {
	var list []string
	take := func(tag string) {
		if tag = content.Printable(tag); tag != "" && !slices.Contains(list, tag) {
			list = append(list, tag)
		}
	}
	for _, img := range images {
		take(img.DefaultLanguage)
	}
	for _, img := range images {
		for _, tag := range img.Languages {
			take(tag)
		}
	}
	text := strings.Join(list, ", ")
	for len([]rune(text)) > content.MaxName { // an image with every language pack
		list = list[:len(list)-1]
		text = strings.Join(list, ", ")
	}
	return text
}

// setArch takes the architecture that a file is for; one that was asked for
// must agree.
func setArch(c *content.Content, arch, path string) error {
	if arch != "" && c.Arch != "" && c.Arch != arch {
		return fmt.Errorf("%w architecture %s: %s is for %s", content.ErrInvalid, c.Arch, path, arch)
	}
	if arch != "" {
		c.Arch = arch
	}
	return nil
}

func imageName(img wim.Image) string {
	for _, s := range []string{img.Name, img.DisplayName, img.Edition} {
		if s = content.Printable(s); s != "" {
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
	if s := content.Printable(strings.TrimSuffix(base, filepath.Ext(base))); s != "" && s != "." {
		return s
	}
	return content.Printable(base)
}
