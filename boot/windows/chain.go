package windows

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"castpoint/boot"
	"castpoint/boot/bcd"
	"castpoint/boot/source"
	"castpoint/boot/winpe"
	"castpoint/content"
)

// dir is the folder of what each machine gets on Microsoft's chain:
// winpe/MACHINE/DEVICE/FILE.
const dir = "winpe"

// WIMName is the file in a machine's folder that has the system.
const WIMName = "boot.wim"

// Bounds of what is remembered.
const (
	maxVisitors     = 8192             // machines whose address or UUID is remembered
	maxWindowsBoots = 1024             // machines whose WIM is kept ready
	maxIdleImages   = 4                // boot images that are kept open while no machine boots
	ticketReuse     = time.Hour        // a boot that takes longer gets a new ticket
	imageRetry      = 10 * time.Second // before a boot image that cannot be opened is tried again
	obstacleLife    = 5 * time.Second  // then the folders are looked into anew
)

// Chain boots Windows PE on Microsoft's own signed chain: the boot files come
// out of the boot image, the boot configuration is made for the machine, and the
// WIM has the agent added. It is shared by [policy.Planner], which sends machines this
// way, and [bootfile.Space], which serves what they ask for. Safe for concurrent use.
//
// A machine is known by the path of what it asks for, winpe/MACHINE/DEVICE/...,
// which starts in DHCP's file name and option 252. What the boot manager asks for
// by well-known names (fonts, policies, \Boot\BCD) is answered by the address
// that asked for such a path last.
type Chain struct {
	cfg      Config
	firmware map[boot.Arch]boot.Firmware
	log      *zap.Logger
	now      func() time.Time

	mu       sync.Mutex
	images   map[imageKey]*image
	boots    map[string]*machineBoot // by device folder
	visitors visitors
	agents   map[string]*winpe.Agent // by architecture
}

type imageKey struct {
	digest content.Digest
	index  int
	// The boot files beside the image may be others in another content or
	// revision.
	id       string
	revision int
}

// image is a boot image that is open, or cannot be opened.
type image struct {
	img  *winpe.Image
	file *os.File
	err  error
	uses int       // files that are being served
	last time.Time // of use

	missing [2]obstacles // by bcd.Firmware
}

// obstacles are what stands in the way of a boot, as it was found at a time:
// looking takes many lookups in folders, and DHCP asks for each packet.
type obstacles struct {
	found time.Time
	list  []winpe.Missing
}

// missing is img.Obstacles, at most obstacleLife old.
func (w *Chain) missing(img *winpe.Image, fw bcd.Firmware) []winpe.Missing {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, i := range w.images {
		if i.img != img {
			continue
		}
		o := &i.missing[fw]
		if now := w.now(); now.Sub(o.found) > obstacleLife {
			*o = obstacles{now, img.Obstacles(fw)}
		}
		return o.list
	}
	return img.Obstacles(fw)
}

func (w *Chain) init() {
	w.now = time.Now
	w.images = make(map[imageKey]*image)
	w.boots = make(map[string]*machineBoot)
	w.agents = make(map[string]*winpe.Agent)
}

// Report says what machines can boot a boot image that is a WIM.
func (w *Chain) Report(ct *content.Content) (*winpe.Report, error) {
	img, release, err := w.image(ct)
	if err != nil {
		return nil, err
	}
	defer release()
	return img.Report(), nil
}

// Close closes the boot images that no machine is reading; those that are read
// are closed behind the last one.
func (w *Chain) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.boots = make(map[string]*machineBoot)
	var errs []error
	for key, i := range w.images {
		delete(w.images, key)
		if i.uses == 0 {
			errs = append(errs, i.close())
		}
	}
	return errors.Join(errs...)
}

func (i *image) close() error {
	if i.file == nil {
		return nil
	}
	return i.file.Close()
}

// image opens a boot image. release is called when it is not read any more.
func (w *Chain) image(ct *content.Content) (_ *winpe.Image, release func(), _ error) {
	obj, _ := ct.File(content.RoleImage)
	key := imageKey{obj.Digest, ct.Index, ct.ID, ct.Revision}
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	i := w.images[key]
	if i == nil || i.err != nil && now.Sub(i.last) > imageRetry {
		i = &image{}
		i.img, i.file, i.err = w.openImage(ct, obj)
		if i.err != nil {
			w.log.Error("boot image cannot be used", zap.String("content", ct.ID), zap.Error(i.err))
			i.last = now
		}
		w.images[key] = i
	}
	if i.err != nil {
		return nil, nil, i.err
	}
	i.uses++
	i.last = now
	return i.img, sync.OnceFunc(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		i.uses--
		if i.uses == 0 && w.images[key] != i {
			w.closed(i)
		}
		w.dropImages()
	}), nil
}

// openImage reads the tables of a boot image, which takes some time: a tenth of
// a second for a usual one. w.mu is held, so all wait for one.
func (w *Chain) openImage(ct *content.Content, obj content.File) (*winpe.Image, *os.File, error) {
	file, err := w.cfg.Library.OpenObject(obj.Digest)
	if err != nil {
		return nil, nil, fmt.Errorf("open boot image %s: %w", ct.ID, err)
	}
	o := winpe.Options{Arch: ct.Arch, Extra: []fs.FS{loaderFS{w.cfg.Loaders}, contentFS{w.cfg.Library, ct}}}
	for _, dir := range w.cfg.Extra {
		o.Extra = append(o.Extra, winpe.FoldCase(os.DirFS(dir)))
	}
	var img *winpe.Image
	wim, size, err := withAttached(w.cfg.Library, ct, file, obj.Size)
	if err == nil {
		img, err = winpe.Open(wim, size, ct.Index, o)
	}
	if err != nil {
		_ = file.Close()
		return nil, nil, fmt.Errorf("open boot image %s: %w", ct.ID, err)
	}
	return img, file, nil
}

// dropImages closes images that were not used for longest. w.mu is held.
func (w *Chain) dropImages() {
	for {
		var oldest imageKey
		idle := 0
		for key, i := range w.images {
			if i.uses > 0 {
				continue
			}
			if idle == 0 || i.last.Before(w.images[oldest].last) {
				oldest = key
			}
			idle++
		}
		if idle <= maxIdleImages {
			return
		}
		i := w.images[oldest]
		delete(w.images, oldest)
		for name, b := range w.boots {
			if b.image == i.img {
				delete(w.boots, name)
			}
		}
		w.closed(i)
	}
}

func (w *Chain) closed(i *image) {
	if err := i.close(); err != nil {
		w.log.Warn("boot image not closed", zap.Error(err))
	}
}

// loaderFS is the loader folders as an extra folder of boot files.
type loaderFS struct{ loaders *source.Loaders }

func (l loaderFS) Open(name string) (fs.File, error) {
	path, ok := l.loaders.Find(name)
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return os.Open(path)
}

// contentFS is the boot files of installation media that are in a content beside
// its image. Letter case does not matter.
type contentFS struct {
	library source.Library
	content *content.Content
}

func (c contentFS) Open(name string) (fs.File, error) {
	for _, f := range c.content.Files {
		if f.Role == content.RoleFile && strings.EqualFold(f.Name, name) {
			return c.library.OpenObject(f.Digest)
		}
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// visitors remembers who asks from which address, and the UUIDs that only DHCP
// tells. The zero value is empty.
type visitors struct {
	byAddr map[netip.Addr]boot.Client
	byName map[string]boot.Client // by DeviceName
}

func (v *visitors) note(c boot.Client) {
	if v.byAddr == nil || len(v.byAddr) >= maxVisitors || len(v.byName) >= maxVisitors {
		// Starting anew costs a machine that boots right now its own fonts and
		// policies; the others ask again.
		v.byAddr, v.byName = make(map[netip.Addr]boot.Client), make(map[string]boot.Client)
	}
	if old, ok := v.byName[boot.DeviceName(c)]; ok && c.UUID == "" {
		c.UUID = old.UUID
	}
	v.byName[boot.DeviceName(c)] = c
	if c.Remote.IsValid() {
		v.byAddr[c.Remote] = c
	}
}

func (w *Chain) note(c boot.Client) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.visitors.note(c)
}

// known adds what is known of a machine to what its path says.
func (w *Chain) known(c boot.Client) boot.Client {
	w.mu.Lock()
	defer w.mu.Unlock()
	if old, ok := w.visitors.byName[boot.DeviceName(c)]; ok && c.UUID == "" {
		c.UUID = old.UUID
	}
	return c
}

// Visitor is the machine at an address.
func (w *Chain) Visitor(c boot.Client) (boot.Client, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	old, ok := w.visitors.byAddr[c.Remote]
	if !ok && len(c.MAC) > 0 {
		old, ok = w.visitors.byName[boot.DeviceName(c)]
	}
	if !ok {
		return c, false
	}
	c.MAC, c.UUID, c.Arch, c.HasArch = old.MAC, old.UUID, old.Arch, old.HasArch
	return c, true
}

// Folder is a machine's folder.
func Folder(m boot.Machine, c boot.Client) string {
	return dir + "/" + string(m) + "/" + boot.DeviceName(c)
}

// Asker reads a name below the folder winpe: who asks, and for which file.
func Asker(c boot.Client, name string) (_ boot.Client, file string, ok bool) {
	parts := strings.SplitN(name, "/", 4)
	if len(parts) == 4 && strings.EqualFold(parts[1], dir) {
		// The boot manager puts a language in front of its own path when it looks
		// for its texts: \en-US\winpe/efi-x64/MAC/bootmgfw.efi.MUI.
		if machine, rest, ok := strings.Cut(parts[2]+"/"+parts[3], "/"); ok {
			if device, base, ok := strings.Cut(rest, "/"); ok {
				parts = []string{parts[1], machine, device, parts[0] + "/" + base}
			}
		}
	}
	if len(parts) < 4 || !strings.EqualFold(parts[0], dir) {
		return c, "", false
	}
	arch, ok := boot.FamilyArch(parts[1])
	if !ok {
		return c, "", false
	}
	c.MAC, c.UUID = nil, ""
	if !boot.ParseDevice(&c, parts[2]) || boot.DeviceName(c) == "" {
		return c, "", false
	}
	c.Arch, c.HasArch = arch, true
	return c, parts[3], true
}

// Open opens a file of Microsoft's chain; name is cleaned. Errors: ErrNotFound,
// ErrForbidden, those of reading.
func (w *Chain) Open(ctx context.Context, name string, c boot.Client) (*source.File, error) {
	notFound := fmt.Errorf("%w: %q", boot.ErrNotFound, name)
	who, file, own := Asker(c, name)
	if own {
		w.note(who)
		who = w.known(who)
	} else {
		file = name
		who, own = w.Visitor(c)
	}
	ct, machine := w.imageFor(who)
	if ct == nil {
		return nil, notFound
	}
	switch strings.ToLower(file) {
	case "bcd":
		// In the root it is asked for before the store of option 252, which is
		// better than one for machines unknown.
		if !own {
			return nil, notFound
		}
		return w.openBCD(ctx, name, who, machine, ct, own)
	case wimbootBCD:
		if !own {
			return nil, notFound
		}
		return w.openBCD(ctx, name, who, machine, ct, false)
	case "boot/bcd", "efi/microsoft/boot/bcd":
		return w.openBCD(ctx, name, who, machine, ct, own)
	case "boot.wim", "boot/boot.wim":
		return w.openWIM(ctx, name, who, machine, ct, own)
	}
	img, release, err := w.image(ct)
	if err != nil {
		return nil, err
	}
	defer release()
	found, err := w.find(img, file, w.settings(who).CA)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notFound
	}
	if err != nil {
		return nil, err
	}
	data, err := img.Read(found)
	if err != nil {
		return nil, fmt.Errorf("boot image %s: %w", ct.ID, err)
	}
	out := source.Made(name, who, data, ct.Created)
	out.Made, out.Text = false, false
	return out, nil
}

// find finds a boot file; fonts of a machine that boots under the CA of 2023
// have names of their own.
func (w *Chain) find(img *winpe.Image, name string, ca int) (winpe.File, error) {
	if stem, ok := strings.CutSuffix(strings.ToLower(name), ".ttf"); ok && ca == 2023 {
		if f, err := img.Find(stem + "_ex.ttf"); err == nil {
			return f, nil
		}
	}
	return img.Find(name)
}

// imageFor is the WIM that a machine boots, nil for none, and its family. A
// machine of which nothing is known is taken for the most usual one.
func (w *Chain) imageFor(c boot.Client) (*content.Content, boot.Machine) {
	machines := []boot.Machine{boot.MachineEFIX64, boot.MachineARM64, boot.MachineBIOS}
	if c.HasArch {
		machines = []boot.Machine{w.firmware[c.Arch].Machine}
	}
	for _, m := range machines {
		if _, ok := Firmware(m); !ok {
			continue
		}
		if ct, none := source.PickImage(w.cfg.Library, w.bootImage(c), m); none == nil && source.IsWIM(ct) {
			return ct, m
		}
	}
	return nil, boot.MachineUnknown
}

// etag makes an entity tag of what a file is made from.
func etag(parts ...string) string { return strconv.Quote(strings.Join(parts, "-")) }
