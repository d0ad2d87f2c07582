package bootfile

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"text/template"
	"time"

	"go.uber.org/zap"

	"castpoint/boot"
	"castpoint/boot/source"
	"castpoint/boot/windows"
	"castpoint/content"
)

//go:embed scripts/*.ipxe scripts/*.grub
var scriptFiles embed.FS

// scripts are parsed from embedded text, so a failure is a bug that the first
// test run shows.
var scripts = template.Must(template.ParseFS(scriptFiles, "scripts/*.ipxe", "scripts/*.grub"))

// about is what every script shows of itself.
type about struct {
	Title   string
	Server  string
	Device  string
	Machine string
	Self    string // path of the script itself
	Wait    int    // seconds
}

type deviceData struct {
	about
	Ask     int    // milliseconds to wait for a key without which nothing is booted; 0 asks nothing
	Image   string // for the screen
	Kernel  string // path
	Args    string // kernel command line
	Initrds []initrdData
}

type initrdData struct {
	Name string // what the kernel finds it by
	Path string
	Arg  string // arguments of the initrd line, each with a space behind
	What string // for the screen
}

type nothingData struct {
	about
	Why      []string
	Next     []string
	Exit     bool
	ExitCode int
}

// deviceScript makes the script of a device: one that boots it, or one that
// says why it does not.
func (f *Space) deviceScript(ctx context.Context, c boot.Client) []byte {
	arch := c.Arch
	if !c.HasArch {
		return render("bounce.ipxe", struct {
			about
			Dir string
		}{f.about(c, boot.MachineUnknown), boot.ScriptDir})
	}
	machine := f.firmware[arch].Machine
	ab := f.about(c, machine)
	record := boot.RecordOf(f.cfg.Record, c)
	if script := f.recordScript(c, ab, record); script != nil {
		return script
	}
	settings := f.cfg.Settings.For(c)
	if settings.Chain == boot.ChainLocal {
		return render("local.ipxe", ab)
	}
	ct, why := f.pickImage(machine, record.BootImage)
	if why != nil {
		return f.nothingScript(c, ab, why)
	}
	ask := 0
	if settings.Ask {
		ask = int(askTime / time.Millisecond)
	}
	if f.byBootManager(ct, settings) {
		data, why := f.bootManagerData(c, ab, ct, settings)
		if why != nil {
			return f.nothingScript(c, ab, why)
		}
		data.Ask = ask
		f.log.Info("made boot script for Microsoft's chain", zap.Inline(c), zap.String("content", ct.ID))
		return render("windows.ipxe", data)
	}
	data, why := f.imageData(ctx, c, ab, ct)
	if why != nil {
		return f.nothingScript(c, ab, why)
	}
	data.Ask = ask
	f.log.Info("made boot script", zap.Inline(c), zap.String("content", ct.ID))
	return render("device.ipxe", data)
}

func (f *Space) nothingScript(c boot.Client, ab about, why *source.Nothing) []byte {
	f.log.Info("nothing to boot", zap.Inline(c), zap.String("reason", why.Why), zap.String("next", why.Next))
	return render("nothing.ipxe", nothingData{
		about:    ab,
		Why:      screenLines(why.Why),
		Next:     screenLines(why.Next),
		Exit:     f.cfg.Idle.Exit,
		ExitCode: f.cfg.Idle.ExitCode,
	})
}

func (f *Space) about(c boot.Client, m boot.Machine) about {
	server := "the address this script came from"
	if c.Server.IsValid() {
		server = c.Server.Unmap().String()
	}
	return about{
		Title:   screenText(f.cfg.Title),
		Server:  server,
		Device:  strings.TrimPrefix(boot.ScriptName(boot.MachineUnknown, c), boot.ScriptDir+"/"),
		Machine: m.Name(),
		Self:    "/" + boot.ScriptName(m, c),
		Wait:    int(f.cfg.Idle.Wait / time.Second),
	}
}

// imageData fills the script for a boot image that was chosen.
func (f *Space) imageData(ctx context.Context, c boot.Client, ab about, ct *content.Content) (*deviceData, *source.Nothing) {
	if !pathPart.MatchString(ct.ID) {
		return nil, &source.Nothing{Why: fmt.Sprintf("Boot image %q has an id that cannot be part of a path.", ct.ID), Next: "Remove it and add it again."}
	}
	dir := "/" + imageDir + "/" + ct.ID + "/"
	d := &deviceData{about: ab, Image: screenText(strings.TrimSpace(ct.Name + " " + ct.Version))}
	if wim, ok := ct.File(content.RoleImage); ok {
		if _, ok := f.cfg.Loaders.Find(wimbootName); !ok {
			return nil, &source.Nothing{
				Why: fmt.Sprintf("Boot image %s is a WIM, and iPXE needs the program wimboot for it, which is not in %s.",
					ct.Name, strings.Join(f.cfg.Loaders.Dirs(), ", ")),
				Next: "Put wimboot into a loader folder.",
			}
		}
		if f.cfg.Windows != nil && c.HasArch {
			// The machine's own WIM, with agent and ticket.
			machine := f.firmware[c.Arch].Machine
			f.cfg.Windows.Begin(machine, c)
			dir = "/" + windows.Folder(machine, c) + "/"
		}
		d.Kernel = "/" + wimbootName
		if f.cfg.Windows != nil && c.HasArch {
			for _, file := range f.cfg.Windows.WimbootFiles(ct, dir) {
				d.Initrds = append(d.Initrds, initrdData{Name: file.Name, Path: file.Path, Arg: file.Name + " ", What: file.What})
			}
		}
		d.Initrds = append(d.Initrds, initrdData{Name: windows.WIMName, Path: dir + windows.WIMName, Arg: windows.WIMName + " ", What: screenSize("the WIM", wim)})
		return d, nil
	}
	if _, ok := ct.File(content.RoleKernel); !ok {
		return nil, &source.Nothing{Why: fmt.Sprintf("Boot image %s has no kernel.", ct.Name), Next: "Remove it and add it again with kernel and initrd."}
	}
	args, err := f.kernelArgs(ctx, c)
	if err != nil {
		f.log.Warn("boot ticket refused", zap.Inline(c), zap.Error(err))
		return nil, &source.Nothing{Why: "The server gave this machine no ticket: " + err.Error(), Next: "Look at this device on the server: castpoint device list"}
	}
	d.Kernel = dir + kernelName
	if initrd, ok := ct.File(content.RoleInitrd); ok {
		// iPXE shows the file to an EFI kernel under its --name, and the kernel
		// looks for it by the initrd= argument; a BIOS kernel needs neither.
		d.Initrds = []initrdData{{Name: initrdName, Path: dir + initrdName, What: screenSize("the initramfs", initrd)}}
		args = append([]string{"initrd=" + initrdName}, args...)
	}
	d.Args = strings.Join(args, " ")
	return d, nil
}

// kernelArgs are the kernel's arguments for one device, but initrd=.
func (f *Space) kernelArgs(ctx context.Context, c boot.Client) ([]string, error) {
	var args []string
	if f.cfg.Ticket != nil {
		t, err := f.cfg.Ticket(ctx, c)
		if err != nil {
			return nil, err
		}
		if u, err := url.Parse(t.Server); err != nil || u.Scheme != "https" || u.Host == "" {
			return nil, fmt.Errorf("the join address %q is not an https URL", t.Server)
		}
		args = append(args, "castpoint.server="+t.Server)
		if t.Pin != "" {
			args = append(args, "castpoint.pin="+t.Pin)
		}
		if t.Token != "" {
			args = append(args, "castpoint.token="+t.Token)
		}
	}
	// The MAC of the card that booted: inside the system the cards have other
	// names and orders. ${netX} is iPXE's name of the card in use.
	mac, bootif := "${netX/mac}", "01-${netX/mac:hexhyp}"
	if len(c.MAC) > 0 {
		mac, bootif = c.MAC.String(), "01-"+c.MACHyphen()
	}
	var uuid []string
	if boot.ValidUUID(c.UUID) {
		uuid = []string{"castpoint.uuid=" + c.UUID}
	}
	for _, arg := range append(args, f.cfg.KernelArgs...) {
		if err := checkArg(arg); err != nil {
			return nil, fmt.Errorf("kernel argument %w", err)
		}
	}
	args = append(args, "castpoint.mac="+mac, "BOOTIF="+bootif)
	args = append(args, uuid...)
	return append(args, f.cfg.KernelArgs...), nil
}

func (f *Space) autoexecScript(c boot.Client) ([]byte, error) {
	// Without an address of our own iPXE still knows who gave it this file.
	base := fmt.Sprintf("http://${next-server}:%d", f.cfg.HTTPPort)
	if c.Server.IsValid() && !c.Server.IsUnspecified() {
		base = "http://" + netip.AddrPortFrom(c.Server.Unmap(), uint16(f.cfg.HTTPPort)).String()
	}
	return render("autoexec.ipxe", struct{ Title, Base, Dir string }{screenText(f.cfg.Title), base, boot.ScriptDir}), nil
}

// render runs a template; what it is given is checked before, and writing to
// memory does not fail.
func render(name string, data any) []byte {
	var b bytes.Buffer
	if err := scripts.ExecuteTemplate(&b, name, data); err != nil {
		return []byte("#!ipxe\necho castpoint: this script could not be made\nsleep 30\nexit 1\n")
	}
	return b.Bytes()
}

var (
	pathPart = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	// No space, no quotes, no $ (iPXE expands ${...}), nothing outside ASCII.
	argText = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.,:;/=+@%~\[\]-]*$`)
)

// checkArg accepts a word that passes through an iPXE script and onto a kernel
// command line unchanged.
func checkArg(arg string) error {
	if !argText.MatchString(arg) {
		return fmt.Errorf("%q: only letters, digits and _.,:;/=+@%%~[]- may be used", arg)
	}
	if len(arg) > 512 {
		return errors.New("is longer than 512 characters")
	}
	return nil
}

// screenText makes any text fit for an echo line: names and errors come from
// people and disks, and iPXE would expand ${...} and obey || and ;.
func screenText(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9',
			strings.ContainsRune(" .,:/()=+@_-", r):
			return r
		case r == '"', r == '\'', r == '<', r == '>':
			return -1
		case r == ';':
			return ','
		case r == '\n', r == '\t':
			return ' '
		}
		return '_'
	}, s)
}

// screenLines breaks a text into lines that fit a screen of 80 columns.
func screenLines(s string) []string {
	const width = 76
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(screenText(s)) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

func screenSize(what string, file content.File) string {
	return fmt.Sprintf("%s (%.1f MB)", what, float64(file.Size)/1e6)
}

// askTime is how long a machine waits for a key, where the firmware does not
// bring its own time.
const askTime = 10 * time.Second
