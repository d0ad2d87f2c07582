package winpe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"time"

	"castpoint/boot/bcd"
	"castpoint/content/wim"
	"castpoint/content/wim/overlay"
)

// Limits of boot files. The largest is a font of four megabytes.
const (
	maxFile  = 32 << 20 // bytes of a boot file
	maxCache = 64 << 20 // bytes of boot files of one image that are kept unpacked
)

// ErrNoWindows says that an image has no Windows PE in it: neither a boot
// manager nor a kernel.
var ErrNoWindows = errors.New("no Windows PE")

// Options say where else boot files are.
type Options struct {
	// Extra are folders that have what the image lacks, and that go before the
	// image for files that both have: single boot files, folders x64 and arm64
	// with them, installation media, the folders of the Windows ADK. They are
	// looked into each time, see [FoldCase].
	Extra []fs.FS
	// Arch is the architecture when it is known; "" finds it out.
	Arch string
}

// Image is a WinPE boot image. Its methods may be called from several
// goroutines.
type Image struct {
	base  *overlay.Base
	arch  string
	extra []fs.FS

	mu     sync.Mutex
	cache  map[string][]byte
	cached int // bytes
}

// Open reads the tables of a WIM: index from 1, or 0 for the image that the
// file marks for booting, or the only one. r must give the file's size bytes as
// long as the Image or an overlay of it is used.
//
// Errors: those of overlay.NewBase; ErrNoWindows.
func Open(r io.ReaderAt, size int64, index int, o Options) (*Image, error) {
	base, err := overlay.NewBase(r, size, index)
	if err != nil {
		return nil, err
	}
	img := &Image{base: base, arch: o.Arch, extra: o.Extra, cache: make(map[string][]byte)}
	found, err := img.findArch()
	if err != nil {
		return nil, err
	}
	if img.arch == "" {
		img.arch = found
	}
	return img, nil
}

// findArch takes the architecture of the programs in the image, which is what
// counts, and that of the XML where no program is found.
func (img *Image) findArch() (string, error) {
	windows := false
	for _, p := range []string{
		`\Windows\System32\Boot\winload.efi`, `\Windows\System32\winload.efi`, `\Windows\System32\ntoskrnl.exe`,
		`\Windows\Boot\EFI\bootmgfw.efi`, `\Windows\Boot\EFI_EX\bootmgfw_EX.efi`,
		`\Windows\System32\Boot\winload.exe`, `\Windows\System32\winload.exe`,
	} {
		b, err := img.base.Tree().Open(p)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return "", fmt.Errorf("open %s: %w", p, err)
		}
		windows = true
		if arch, err := ReadArch(b, b.Size()); err == nil {
			return arch, nil
		}
	}
	if !windows {
		return "", fmt.Errorf("%w in image %d: it has neither a boot manager nor a loader nor a kernel of Windows", ErrNoWindows, img.Index())
	}
	return img.xml().Arch, nil
}

func (img *Image) xml() wim.Image {
	x, _ := img.base.Info().Image(img.Index())
	return x
}

// Arch is the architecture: amd64, arm64, 386, arm; "" when it is unknown.
func (img *Image) Arch() string { return img.arch }

// Index is the number of the image in the WIM, from 1.
func (img *Image) Index() int { return img.base.Tree().Index() }

// Version is the version of Windows that the WIM's XML data gives; "" when none.
func (img *Image) Version() string { return img.xml().Version }

// Tree is what is in the image.
func (img *Image) Tree() *wim.Tree { return img.base.Tree() }

// LoaderPath is the path in the WIM of the program that the boot manager starts
// on that firmware, for the boot configuration. It reports false when the image
// has none, and then names the usual place.
func (img *Image) LoaderPath(fw bcd.Firmware) (string, bool) {
	paths := loaderPaths(fw)
	for _, p := range paths {
		if e, err := img.base.Tree().Lookup(p); err == nil && !e.IsDir() {
			return p, true
		}
	}
	return paths[0], false
}

// File is a boot file that was found.
type File struct {
	Name string // as asked for
	Path string // where it is, with slashes, in the image or the extra folder
	Size int64  // bytes
	// Extra is true for a file of an extra folder, and Modified then its time.
	Extra    bool
	Modified time.Time

	folder int // index in Image.extra
}

// Find finds a boot file by the name that firmware or boot manager ask by:
// slashes or backslashes, any letter case, in the root or in the folders that
// these programs know (EFI/Microsoft/Boot, Boot, Boot/Fonts, x64 and so on).
// Errors: fs.ErrNotExist.
func (img *Image) Find(name string) (File, error) {
	clean := strings.Trim(strings.ReplaceAll(name, `\`, "/"), "/")
	notFound := fmt.Errorf("boot file %q: %w", name, fs.ErrNotExist)
	if !fs.ValidPath(clean) {
		return File{}, notFound
	}
	inImage, inExtra := places(clean, img.arch)
	for i, folder := range img.extra {
		for _, p := range inExtra {
			st, err := fs.Stat(folder, p)
			if err != nil || !st.Mode().IsRegular() {
				continue
			}
			f := File{Name: clean, Path: p, Size: st.Size(), Extra: true, Modified: st.ModTime(), folder: i}
			if img.fits(f) {
				return f, nil
			}
		}
	}
	for _, p := range inImage {
		b, err := img.base.Tree().Open(p)
		if err != nil {
			continue
		}
		return File{Name: clean, Path: p, Size: b.Size(), Modified: img.xml().Modified}, nil
	}
	return File{}, notFound
}

// fits keeps programs of other architectures away: an extra folder may have
// those of several under one name.
func (img *Image) fits(f File) bool {
	if !strings.HasSuffix(strings.ToLower(f.Name), ".efi") || img.arch == "" {
		return true
	}
	data, err := img.Read(f)
	if err != nil {
		return true // reading it later says why not
	}
	arch, err := ReadArch(bytes.NewReader(data), int64(len(data)))
	return err == nil && arch == img.arch
}

// Read returns the bytes of a boot file, whole and checked against the WIM's
// hash. They must not be changed. Errors: fs.ErrInvalid for a file of more than
// 32 MiB; those of reading.
func (img *Image) Read(f File) ([]byte, error) {
	key := f.Path
	if f.Extra {
		key = fmt.Sprintf("%d %s %d %d", f.folder, f.Path, f.Size, f.Modified.UnixNano())
	}
	img.mu.Lock()
	data, ok := img.cache[key]
	img.mu.Unlock()
	if ok {
		return data, nil
	}
	var err error
	if f.Extra {
		data, err = readExtra(img.extra[f.folder], f)
	} else {
		data, err = img.base.Tree().ReadFile(f.Path, maxFile)
	}
	if err != nil {
		return nil, fmt.Errorf("read boot file %s: %w", f.Name, err)
	}
	img.mu.Lock()
	defer img.mu.Unlock()
	if _, ok := img.cache[key]; !ok && img.cached+len(data) <= maxCache {
		img.cache[key] = data
		img.cached += len(data)
	}
	return data, nil
}

func readExtra(folder fs.FS, f File) ([]byte, error) {
	if f.Size > maxFile {
		return nil, fmt.Errorf("%s has %d bytes, more than %d: %w", f.Path, f.Size, maxFile, fs.ErrInvalid)
	}
	file, err := folder.Open(f.Path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) != f.Size {
		return nil, fmt.Errorf("%s has %d bytes, not %d: it is being written", f.Path, len(data), f.Size)
	}
	return data, nil
}

// Files are the boot files that castpoint knows by name and that are there.
func (img *Image) Files() []File {
	var list []File
	for _, f := range bootFiles() {
		if found, err := img.Find(f.name); err == nil {
			list = append(list, found)
		}
	}
	return list
}

// Missing is a boot file that is not there.
type Missing struct {
	Name    string   `json:"name"`
	Places  []string `json:"places"`         // where in the image it was looked for
	Without string   `json:"without"`        // what does not work without it
	UEFI    bool     `json:"uefi,omitempty"` // no UEFI machine boots without it
	BIOS    bool     `json:"bios,omitempty"` // no BIOS machine boots without it
}

func (m Missing) String() string {
	return fmt.Sprintf("%s is missing (%s): %s", m.Name, strings.Join(m.Places, ", "), m.Without)
}

// Missing names every boot file that is neither in the image nor in an extra
// folder, those without which nothing boots first.
func (img *Image) Missing() []Missing {
	var needed, useful []Missing
	for _, fw := range []bcd.Firmware{bcd.UEFI, bcd.BIOS} {
		if fw == bcd.BIOS && !img.x86() {
			continue
		}
		if p, ok := img.LoaderPath(fw); !ok {
			m := Missing{
				Name: p[strings.LastIndexByte(p, '\\')+1:], Places: loaderPaths(fw), UEFI: fw == bcd.UEFI, BIOS: fw == bcd.BIOS,
				Without: "the boot manager finds nothing to start in the WIM on this firmware",
			}
			needed = append(needed, m)
		}
	}
	_, noEX := img.Find(BootManagerEX)
	for _, f := range bootFiles() {
		if _, err := img.Find(f.name); err == nil {
			continue
		}
		m := Missing{Name: f.name, Places: f.image, Without: f.without, UEFI: f.uefi, BIOS: f.bios}
		if f.name == BootManager && noEX == nil {
			m.UEFI = false // the other one boots
		}
		isBIOS := len(f.image) > 0 && strings.HasPrefix(f.image[0], "Windows/Boot/PXE/")
		switch {
		case isBIOS && !img.x86():
		case m.UEFI || m.BIOS:
			needed = append(needed, m)
		default:
			useful = append(useful, m)
		}
	}
	return append(needed, useful...)
}

// Obstacles are those of Missing without which no machine with that firmware
// boots this image by Microsoft's chain.
func (img *Image) Obstacles(fw bcd.Firmware) []Missing {
	var list []Missing
	for _, m := range img.Missing() {
		if fw == bcd.UEFI && m.UEFI || fw == bcd.BIOS && m.BIOS {
			list = append(list, m)
		}
	}
	return list
}

func (img *Image) x86() bool { return img.arch != "arm64" && img.arch != "arm" }

// Signers reads who signed a loader, see [ReadSigners].
func (img *Image) Signers(f File) ([]Signer, error) {
	data, err := img.Read(f)
	if err != nil {
		return nil, err
	}
	return ReadSigners(bytes.NewReader(data), int64(len(data)))
}
