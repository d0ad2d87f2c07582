package bootfile

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"castpoint/boot"
	"castpoint/boot/source"
	"castpoint/boot/windows"
	"castpoint/content"
)

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
)

// Config is what [New] needs.
type Config struct {
	// Loaders holds the loader files. Required.
	Loaders *source.Loaders
	// Library holds the boot images; nil when there is none.
	Library source.Library
	// Firmware is the same table the planner has; nil means the default one.
	Firmware map[boot.Arch]boot.Firmware
	// BootImage is the id of the content to boot, or its name (the newest of
	// that name counts). Empty: the newest boot image that fits the machine.
	BootImage string
	// HTTPPort is the TCP port of the boot HTTP server; 0 means
	// [boot.DefaultHTTPPort]. Only autoexec.ipxe needs it.
	HTTPPort int
	// KernelArgs are added to the kernel command line, one argument each, as in
	// "console=ttyS0,115200".
	KernelArgs []string
	// Ticket makes the ticket of a device; it is called once for each request
	// of a script that boots something. An error is shown on the machine's
	// screen, so its text must say what to do. Nil: the machine boots without a
	// ticket.
	Ticket boot.TicketFunc
	// Windows serves what machines on Microsoft's chain ask for; nil when there
	// is none.
	Windows *windows.Chain
	// Settings say how each machine boots; nil is the zero Settings for all.
	Settings *boot.Resolver
	// Idle says what a machine does for which there is nothing to boot.
	Idle boot.Idle
	// Record is as in policy.Config.
	Record boot.RecordFunc
	// Title is what screens call this server; "" means "castpoint".
	Title string
	Log   *zap.Logger
}

// Space is the one name space of boot files that TFTP and HTTP share. Safe for
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
type Space struct {
	cfg      Config
	firmware map[boot.Arch]boot.Firmware
	log      *zap.Logger
	now      func() time.Time
}

// New checks the configuration.
func New(cfg Config) (*Space, error) {
	if cfg.Loaders == nil {
		return nil, errors.New("boot files: no loader folders given")
	}
	if cfg.HTTPPort == 0 {
		cfg.HTTPPort = boot.DefaultHTTPPort
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
	return &Space{cfg: cfg, firmware: boot.MergeFirmware(cfg.Firmware), log: cfg.Log, now: time.Now}, nil
}

// Open opens the boot file of that name for that client. Errors are
// [boot.ErrNotFound], [boot.ErrForbidden], or what the disk said.
//
// Opening a device's script makes a new ticket each time.
func (f *Space) Open(ctx context.Context, name string, c boot.Client) (*source.File, error) {
	clean, err := boot.CleanName(name)
	if err != nil {
		return nil, err
	}
	if sc, ok := boot.ScriptAsker(c, clean); ok {
		return source.Made(clean, sc, f.deviceScript(ctx, sc), f.now()), nil
	}
	if base := clean[strings.LastIndexByte(clean, '/')+1:]; strings.EqualFold(base, "autoexec.ipxe") {
		data, err := f.autoexecScript(c)
		if err != nil {
			return nil, err
		}
		return source.Made(clean, c, data, f.now()), nil
	}
	if parts := strings.Split(clean, "/"); len(parts) == 3 && strings.EqualFold(parts[0], imageDir) {
		file, err := f.openImage(clean, parts[1], parts[2], c)
		if err == nil || !errors.Is(err, boot.ErrNotFound) {
			return file, err
		}
	}
	if dir, hex, ok := strings.Cut(clean, "/"); ok && strings.EqualFold(dir, objectDir) {
		var d content.Digest
		if d.UnmarshalText([]byte(strings.ToLower(hex))) == nil {
			return f.openDigest(clean, d, c)
		}
	}
	if _, _, ok := windows.Asker(c, clean); ok && f.cfg.Windows != nil {
		return f.cfg.Windows.Open(ctx, clean, c)
	}
	if strings.EqualFold(clean, boot.LocalProgram) {
		file := source.Made(clean, c, localProgram(), f.now())
		file.Made, file.Text = false, false
		return file, nil
	}
	if dir, _, ok := strings.Cut(clean, "/"); ok && strings.EqualFold(dir, boot.GRUBDir) {
		return f.openGRUB(ctx, clean, c)
	}
	file, err := f.cfg.Loaders.Open(clean, c)
	if f.cfg.Windows != nil && errors.Is(err, boot.ErrNotFound) {
		return f.cfg.Windows.Open(ctx, clean, c)
	}
	return file, err
}

// Client is c with what the name says about the asker added: the MAC, UUID and
// architecture in the path of a script.
func (f *Space) Client(name string, c boot.Client) boot.Client {
	clean, err := boot.CleanName(name)
	if err != nil {
		return c
	}
	if sc, ok := boot.ScriptAsker(c, clean); ok {
		return sc
	}
	if gc, _, ok := grubFile(c, clean); ok && boot.DeviceName(gc) != "" {
		return gc
	}
	if wc, _, ok := windows.Asker(c, clean); ok || f.cfg.Windows == nil || boot.DeviceName(c) != "" {
		return wc
	}
	c, _ = f.cfg.Windows.Visitor(c)
	return c
}

func (f *Space) openImage(name, id, base string, c boot.Client) (*source.File, error) {
	notFound := fmt.Errorf("%w: %q", boot.ErrNotFound, name)
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
		return source.OpenObject(f.cfg.Library, name, ct, obj, c)
	}
	return nil, notFound
}

// openDigest opens an object by its digest, for loaders and scripts that keep
// what they have. Objects of other contents than boot images exist, but need a
// token and the join listener.
func (f *Space) openDigest(name string, d content.Digest, c boot.Client) (*source.File, error) {
	notFound := fmt.Errorf("%w: %q", boot.ErrNotFound, name)
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
				return source.OpenObject(f.cfg.Library, name, ct, obj, c)
			default:
				result = fmt.Errorf("%w: %q belongs to a content that is given out by the join server only, for a token", boot.ErrForbidden, name)
			}
		}
	}
	return nil, result
}

func imageFile(ct *content.Content, base string) (content.File, bool) {
	for name, role := range map[string]content.Role{
		kernelName:      content.RoleKernel,
		initrdName:      content.RoleInitrd,
		windows.WIMName: content.RoleImage,
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

// pickImage chooses the boot image for a family of machines, and logs when the
// library cannot be read. own is the one on record for the machine, "" for none.
func (f *Space) pickImage(m boot.Machine, own string) (*content.Content, *source.Nothing) {
	if own == "" {
		own = f.cfg.BootImage
	}
	ct, why := source.PickImage(f.cfg.Library, own, m)
	if why != nil && why.Err != nil {
		f.log.Error("listing boot images failed", zap.Error(why.Err))
	}
	return ct, why
}
