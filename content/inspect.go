package content

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"castpoint/content/wim"
)

// Check says what is wrong with a request, whatever the files are.
func (r *AddRequest) Check() error {
	switch {
	case !knownKind(r.Kind):
		return fmt.Errorf("%w kind %q: use one of %s", ErrInvalid, r.Kind, kindNames())
	case r.Path == "":
		return fmt.Errorf("%w request: no path", ErrInvalid)
	case r.Initrd != "" && r.Kind != KindBootImage:
		return fmt.Errorf("%w request: only a boot image has an initramfs", ErrInvalid)
	case r.Index < 0:
		return fmt.Errorf("%w index %d", ErrInvalid, r.Index)
	}
	c := Content{
		Kind: r.Kind, Name: strings.TrimSpace(r.Name), Version: strings.TrimSpace(r.Version), Comment: strings.TrimSpace(r.Comment),
		Source: r.Source, Language: strings.TrimSpace(r.Language), Arch: r.Arch, Programs: r.Programs, Distribution: r.Distribution,
	}
	return c.checkSettings()
}

// Inspect does what Add does with files before it copies them, and gives what it finds.
// It needs no library.
func Inspect(ctx context.Context, req AddRequest) (*Content, error) {
	c, _, err := inspect(ctx, req)
	return c, err
}

// inspect asks for the trial of the library, if there is one, and inspects.
func (l *Library) inspect(ctx context.Context, req AddRequest) (*Content, []source, error) {
	if err := req.Check(); err != nil {
		return nil, nil, err
	}
	if l.trial != nil {
		if err := l.trial(ctx, req); err != nil {
			return nil, nil, err
		}
	}
	return inspect(ctx, req)
}

// inspect checks a request and the files it names without copying anything, and
// returns the content to be made, without ID and files, and its sources.
func inspect(ctx context.Context, req AddRequest) (*Content, []source, error) {
	c := &Content{
		Kind:         req.Kind,
		Name:         strings.TrimSpace(req.Name),
		Version:      strings.TrimSpace(req.Version),
		Comment:      strings.TrimSpace(req.Comment),
		Source:       req.Source,
		Language:     strings.TrimSpace(req.Language),
		Arch:         req.Arch,
		Programs:     withCodes(req.Programs),
		Index:        req.Index,
		Distribution: req.Distribution,
	}
	if err := req.Check(); err != nil { // before the files, which may take a while
		return nil, nil, err
	}
	if err := c.setSource(req); err != nil {
		return nil, nil, err
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
		if err == nil && req.Loaders != "" {
			sources, err = addLoaders(ctx, sources, req)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	if c.Index != 0 && len(c.Images) == 0 {
		return nil, nil, fmt.Errorf("%w index %d: %s is not a WIM", ErrInvalid, c.Index, req.Path)
	}
	return c, sources, c.check()
}

// setSource notes where the files come from, unless the path would garble a
// terminal: it is only for repairs and for people.
func (c *Content) setSource(req AddRequest) error {
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
		if checkText(abs, maxSource, false) == nil {
			*p.to = abs
		}
	}
	return nil
}

// openSource opens a regular file.
func openSource(path string) (*os.File, os.FileInfo, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, nil, err
	}
	info, err := os.Stat(path) // before opening: opening a named pipe would wait
	if err != nil {
		return nil, nil, fmt.Errorf("%w file: %w", ErrFile, err)
	}
	switch {
	case info.IsDir():
		return nil, nil, fmt.Errorf("%w file %s: it is a folder", ErrFile, path)
	case !info.Mode().IsRegular():
		return nil, nil, fmt.Errorf("%w file %s: it is not a regular file", ErrFile, path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("%w file: %w", ErrFile, err)
	}
	if info, err = f.Stat(); err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// inspectImage checks the WIM of an OS image or boot image, which may be inside
// an ISO image.
func inspectImage(path string, c *Content) ([]source, error) {
	s, more, err := imageSource(path, c.Kind)
	if err != nil {
		return nil, err
	}
	s.wim = true
	parts := []source{s}
	for i := range more {
		if more[i].role == RolePart {
			more[i].wim = true
			parts = append(parts, more[i])
		}
	}
	path = s.text()
	w, err := describeWIM(parts)
	var split *wim.MissingPartsError
	if errors.As(err, &split) && c.Kind == KindBootImage {
		return nil, fmt.Errorf("%w file %s: it is one of the %d parts of a split WIM, which boot managers cannot read: join them first (wimlib-imagex join whole.wim PART1 PART2 ...)", ErrFile, path, split.Total)
	}
	if errors.Is(err, wim.ErrNotWIM) && c.Kind == KindBootImage {
		if _, _, kerr := describeKernelFile(s.path); kerr == nil {
			return nil, fmt.Errorf("%w request: %s is a Linux kernel: give its initramfs, too", ErrInvalid, path)
		}
	}
	if err != nil {
		return nil, err
	}
	switch {
	case w.Unfinished:
		return nil, fmt.Errorf("%w file %s: a program is writing it, or crashed doing so; if none is: wimlib-imagex optimize %s", ErrFile, path, path)
	case len(w.Images) == 0:
		return nil, fmt.Errorf("%w file %s: the WIM has no image", ErrFile, path)
	case c.Kind == KindBootImage && (w.Pipable || w.Solid || w.Compression == wim.CompressionLZMS):
		return nil, fmt.Errorf("%w file %s: boot managers cannot read this kind of WIM (%s): convert it (wimlib-imagex export %s all boot.wim --compress=lzx --boot)", ErrFile, path, variant(w), path)
	}
	if c.Index > len(w.Images) || c.Index < 0 {
		return nil, fmt.Errorf("%w index %d: %s has %s", ErrInvalid, c.Index, path, imagesText(len(w.Images)))
	}
	c.Images = w.Images
	c.Unusual = unusual(w)
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
	return append([]source{s}, more...), nil
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
	if c.Language == "" {
		c.Language = languages(meant)
	}
	if checkArch(arch) != nil {
		return fmt.Errorf("%w file %s: the image is for %s, which castpoint does not deploy", ErrFile, path, arch)
	}
	return c.setArch(arch, path)
}

// languages lists the languages of images, each once, the default ones first.
func languages(images []wim.Image) string {
	var list []string
	take := func(tag string) {
		if tag = printableText(tag); tag != "" && !slices.Contains(list, tag) {
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
	for len([]rune(text)) > maxName { // an image with every language pack
		list = list[:len(list)-1]
		text = strings.Join(list, ", ")
	}
	return text
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
