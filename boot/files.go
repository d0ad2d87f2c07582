package boot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"go.uber.org/zap"

	"castpoint/content"
)

// Library is what boot needs of the content library.
type Library interface {
	List() ([]*content.Content, error)
	OpenObject(content.Digest) (*os.File, error)
}

// imageDir is the folder of boot images in the name space:
// boot/CONTENT-ID/vmlinuz and boot/CONTENT-ID/initrd.
const imageDir = "boot"

// objectDir is the folder of the objects of boot images: object/SHA256.
const objectDir = "object"

// Names of a boot image's files, whatever they were called when they were
// added. The original names work too.
const (
	kernelName = "vmlinuz"
	initrdName = "initrd"
	wimName    = "boot.wim"
)

// Ticket is what a boot environment needs to find this server and to prove
// that it was booted by it.
type Ticket struct {
	Server string // base URL of the join endpoint, as in https://192.0.2.1:8443
	Pin    string // hash of the server's certificate, as in sha256:HEX
	Token  string // for one use, by this device, for a short time
}

// FilesConfig is what [NewFiles] needs.
type FilesConfig struct {
	// Loaders holds the loader files. Required.
	Loaders *Loaders
	// Library holds the boot images; nil when there is none.
	Library Library
	// Firmware is the same table the planner has; nil means the default one.
	Firmware map[Arch]Firmware
	// BootImage is the id of the content to boot, or its name (the newest of
	// that name counts). Empty: the newest boot image that fits the machine.
	BootImage string
	// HTTPPort is the TCP port of the boot HTTP server; 0 means
	// [DefaultHTTPPort]. Only autoexec.ipxe needs it.
	HTTPPort int
	// KernelArgs are added to the kernel command line, one argument each, as in
	// "console=ttyS0,115200".
	KernelArgs []string
	// Ticket makes the ticket of a device; it is called once for each request
	// of a script that boots something. An error is shown on the machine's
	// screen, so its text must say what to do. Nil: the machine boots without a
	// ticket.
	Ticket TicketFunc
	// Windows serves what machines on Microsoft's chain ask for; nil when there
	// is none.
	Windows *Windows
	// Settings say how each machine boots; nil is the zero Settings for all.
	Settings *Resolver
	// Idle says what a machine does for which there is nothing to boot.
	Idle Idle
	// Record is as in PlannerConfig.
	Record RecordFunc
	// Title is what screens call this server; "" means "castpoint".
	Title string
	Log   *zap.Logger
}

// Idle says what iPXE does when there is nothing to boot.
type Idle struct {
	// Exit leaves iPXE for the firmware's next boot device after Wait; without
	// it iPXE asks again every Wait.
	Exit bool
	// Wait is how long it first shows why; 0 is 30 s, or no time with Exit. Whole
	// seconds count.
	Wait time.Duration
	// ExitCode is iPXE's exit status, usually 1: with 0 some firmware takes the
	// boot as done and opens its setup instead of trying the disk.
	ExitCode int
}

// Files is the one name space of boot files that TFTP and HTTP share. Safe for
// concurrent use.
//
//	ipxe/[MACHINE/]MAC[/UUID]     the script made for that device
//	ipxe/[MACHINE/]UUID           the same for a device known by UUID only
//	autoexec.ipxe                 in any folder: leads iPXE to its script
//	boot/CONTENT-ID/vmlinuz       kernel of a boot image
//	boot/CONTENT-ID/initrd        initramfs of a boot image
//	boot/CONTENT-ID/boot.wim      WIM of a boot image
//	object/SHA256                 an object of a boot image, by its digest
//	winpe/MACHINE/DEVICE/...      what that device gets on Microsoft's chain
//	grub/MACHINE/DEVICE/...       what that device gets from shim and GRUB
//	grub/grub.cfg[-...]           leads GRUB to its settings
//	local.0                       sends a BIOS machine on to its disk
//	anything else                 loader files, then boot files of Windows PE
//
// Names are compared without regard to letter case.
type Files struct {
	cfg      FilesConfig
	firmware map[Arch]Firmware
	log      *zap.Logger
	now      func() time.Time
}

// NewFiles checks the configuration.
func NewFiles(cfg FilesConfig) (*Files, error) {
	if cfg.Loaders == nil {
		return nil, errors.New("boot files: no loader folders given")
	}
	if cfg.HTTPPort == 0 {
		cfg.HTTPPort = DefaultHTTPPort
	}
	if cfg.HTTPPort < 1 || cfg.HTTPPort > 65535 {
		return nil, fmt.Errorf("boot files: HTTP port %d: want 1 to 65535", cfg.HTTPPort)
	}
	for _, arg := range cfg.KernelArgs {
		if err := checkArg(arg); err != nil {
			return nil, fmt.Errorf("boot files: kernel argument %w", err)
		}
	}
	if cfg.Idle.Wait == 0 && !cfg.Idle.Exit {
		cfg.Idle.Wait = 30 * time.Second
	}
	if cfg.Idle.Wait < time.Second && !cfg.Idle.Exit {
		return nil, fmt.Errorf("boot files: idle wait %s: want at least 1s", cfg.Idle.Wait)
	}
	if cfg.Idle.ExitCode < 0 || cfg.Idle.ExitCode > 255 {
		return nil, fmt.Errorf("boot files: idle exit code %d: want 0 to 255", cfg.Idle.ExitCode)
	}
	if cfg.Title == "" {
		cfg.Title = "castpoint"
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	return &Files{cfg: cfg, firmware: mergeFirmware(cfg.Firmware), log: cfg.Log, now: time.Now}, nil
}

// Open opens the boot file of that name for that client. Errors are
// [ErrNotFound], [ErrForbidden], or what the disk said.
//
// Opening a device's script makes a new ticket each time.
func (f *Files) Open(ctx context.Context, name string, c Client) (*File, error) {
	clean, err := CleanName(name)
	if err != nil {
		return nil, err
	}
	if sc, ok := scriptClient(c, clean); ok {
		return madeFile(clean, sc, f.deviceScript(ctx, sc), f.now()), nil
	}
	if base := clean[strings.LastIndexByte(clean, '/')+1:]; strings.EqualFold(base, "autoexec.ipxe") {
		data, err := f.autoexecScript(c)
		if err != nil {
			return nil, err
		}
		return madeFile(clean, c, data, f.now()), nil
	}
	if parts := strings.Split(clean, "/"); len(parts) == 3 && strings.EqualFold(parts[0], imageDir) {
		file, err := f.openImage(clean, parts[1], parts[2], c)
		if err == nil || !errors.Is(err, ErrNotFound) {
			return file, err
		}
	}
	if dir, hex, ok := strings.Cut(clean, "/"); ok && strings.EqualFold(dir, objectDir) {
		var d content.Digest
		if d.UnmarshalText([]byte(strings.ToLower(hex))) == nil {
			return f.openDigest(clean, d, c)
		}
	}
	if _, _, ok := windowsClient(c, clean); ok && f.cfg.Windows != nil {
		return f.cfg.Windows.open(ctx, clean, c)
	}
	if strings.EqualFold(clean, localName) {
		file := madeFile(clean, c, localProgram(), f.now())
		file.Made, file.text = false, false
		return file, nil
	}
	if dir, _, ok := strings.Cut(clean, "/"); ok && strings.EqualFold(dir, grubDir) {
		return f.openGRUB(ctx, clean, c)
	}
	file, err := f.openLoader(clean, c)
	if f.cfg.Windows != nil && errors.Is(err, ErrNotFound) {
		return f.cfg.Windows.open(ctx, clean, c)
	}
	return file, err
}

// Client is c with what the name says about the asker added: the MAC, UUID and
// architecture in the path of a script.
func (f *Files) Client(name string, c Client) Client {
	clean, err := CleanName(name)
	if err != nil {
		return c
	}
	if sc, ok := scriptClient(c, clean); ok {
		return sc
	}
	if gc, _, ok := grubFile(c, clean); ok && DeviceName(gc) != "" {
		return gc
	}
	if wc, _, ok := windowsClient(c, clean); ok || f.cfg.Windows == nil || DeviceName(c) != "" {
		return wc
	}
	c, _ = f.cfg.Windows.visitor(c)
	return c
}

func (f *Files) openLoader(name string, c Client) (*File, error) {
	path, ok := f.cfg.Loaders.Find(name)
	if !ok {
		return nil, fmt.Errorf("%w: %q", ErrNotFound, name)
	}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %q", ErrNotFound, name)
	}
	if err != nil {
		return nil, fmt.Errorf("open loader file: %w", err)
	}
	st, err := file.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%w: %q is not a file", ErrNotFound, name)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return diskFile(name, c, file, st), nil
}

func (f *Files) openImage(name, id, base string, c Client) (*File, error) {
	notFound := fmt.Errorf("%w: %q", ErrNotFound, name)
	if f.cfg.Library == nil {
		return nil, notFound
	}
	list, err := f.cfg.Library.List()
	if err != nil {
		return nil, fmt.Errorf("open %s: list the contents: %w", name, err)
	}
	for _, ct := range list {
		// Only boot images are for everybody who asks; everything else of the
		// library needs a token.
		if ct.Kind != content.KindBootImage || !strings.EqualFold(ct.ID, id) {
			continue
		}
		obj, ok := imageFile(ct, base)
		if !ok {
			return nil, notFound
		}
		return f.openObject(name, ct, obj, c)
	}
	return nil, notFound
}

// openDigest opens an object by its digest, for loaders and scripts that keep
// what they have. Objects of other contents than boot images exist, but need a
// token and the join listener.
func (f *Files) openDigest(name string, d content.Digest, c Client) (*File, error) {
	notFound := fmt.Errorf("%w: %q", ErrNotFound, name)
	if f.cfg.Library == nil {
		return nil, notFound
	}
	list, err := f.cfg.Library.List()
	if err != nil {
		return nil, fmt.Errorf("open %s: list the contents: %w", name, err)
	}
	result := notFound
	for _, ct := range list {
		for _, obj := range ct.Files {
			switch {
			case obj.Digest != d:
			case ct.Kind == content.KindBootImage:
				return f.openObject(name, ct, obj, c)
			default:
				result = fmt.Errorf("%w: %q belongs to a content that is given out by the join server only, for a token", ErrForbidden, name)
			}
		}
	}
	return nil, result
}

func (f *Files) openObject(name string, ct *content.Content, obj content.File, c Client) (*File, error) {
	return openObject(f.cfg.Library, name, ct, obj, c)
}

func openObject(library Library, name string, ct *content.Content, obj content.File, c Client) (*File, error) {
	file, err := library.OpenObject(obj.Digest)
	if err != nil {
		return nil, fmt.Errorf("open %s of boot image %s: %w", obj.Name, ct.ID, err)
	}
	st, err := file.Stat()
	if err == nil && st.Size() != obj.Size {
		err = fmt.Errorf("open %s of boot image %s: object %s has %d bytes, want %d: run castpoint content validate %s",
			obj.Name, ct.ID, obj.Digest, st.Size(), obj.Size, ct.ID)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &File{
		ReaderAt: file,
		Name:     name,
		Size:     obj.Size,
		ModTime:  ct.Created,
		ETag:     `"` + obj.Digest.String() + `"`,
		Client:   c,
		os:       file,
	}, nil
}

func imageFile(ct *content.Content, base string) (content.File, bool) {
	for name, role := range map[string]content.Role{
		kernelName: content.RoleKernel,
		initrdName: content.RoleInitrd,
		wimName:    content.RoleImage,
	} {
		if strings.EqualFold(base, name) {
			return ct.File(role)
		}
	}
	for _, file := range ct.Files {
		if strings.EqualFold(base, file.Name) {
			return file, true
		}
	}
	return content.File{}, false
}
