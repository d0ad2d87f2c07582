package bcd

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"time"
	"unicode/utf16"

	"castpoint/boot/bcd/element"
	"castpoint/boot/bcd/value"
)

// Firmware is what the boot manager runs on; it decides the loader's file name.
type Firmware uint8

// Firmwares.
const (
	UEFI Firmware = iota // winload.efi
	BIOS                 // winload.exe
)

// NXPolicy says which programs may not execute data.
type NXPolicy uint8

// Policies, numbered as stored.
const (
	NXOptIn NXPolicy = iota
	NXOptOut
	NXAlwaysOff
	NXAlwaysOn
)

// ParseNX reads a policy as bcdedit writes it, in any letter case.
func ParseNX(s string) (NXPolicy, error) {
	for i, name := range []string{"optin", "optout", "alwaysoff", "alwayson"} {
		if strings.EqualFold(s, name) {
			return NXPolicy(i), nil
		}
	}
	return 0, fmt.Errorf("nx %q: want optin, optout, alwaysoff or alwayson", s)
}

// What an option is when it is left zero.
const (
	DefaultWIM         = `\Boot\boot.wim`
	DefaultSDI         = `\Boot\boot.sdi`
	DefaultSystemRoot  = `\Windows`
	DefaultDescription = "Windows PE"
	DefaultLocale      = "en-US"
	// DefaultBlockSize fits an Ethernet frame: 1500 bytes less the headers of
	// IPv4 (20), UDP (8) and TFTP (4), with 12 to spare for a tag or a tunnel.
	DefaultBlockSize  = 1456
	DefaultWindowSize = 16
	defaultBaudRate   = 115200
)

// Limits. Sources: RFC 2348 (block size), RFC 7440 (window size). A TFTP
// request of 512 bytes (RFC 1350) must hold the path and its options.
const (
	minBlockSize   = 8
	maxBlockSize   = 65464
	maxWindowSize  = 65535
	maxPath        = 254
	maxDescription = 255
	maxLoadOptions = 2048
	maxEntries     = 209 // identifiers of 78 bytes in the list of the menu, in one value
	maxTimeout     = 65535 * time.Second
)

// Options say what a store made by Ramdisk does. Zero values give the defaults
// above.
type Options struct {
	Firmware Firmware
	// Entries are what can be booted, the default first. None means one with all
	// defaults.
	Entries []Entry

	// ShowMenu shows the boot menu, for Timeout; else the default entry starts
	// at once, with a menu only when somebody holds a key.
	ShowMenu bool
	// Timeout of the menu, in whole seconds up to 65535. 0 starts the default.
	Timeout time.Duration
	// Locale of the boot manager and of the loaders: RFC 3066, for example de-DE.
	Locale string

	// SDI is the path of boot.sdi on the server.
	SDI string
	// BlockSize is the TFTP block size for fonts, boot.sdi and WIM: 8 to 65464
	// bytes. Above what fits the path MTU, IP fragments; some firmware then hangs.
	BlockSize int
	// WindowSize is how many blocks may be on the way: 1 to 65535.
	WindowSize int
	// VariableWindow lets the boot manager ask for Microsoft's variable window
	// (TFTP option msftwindow), or forbids it; nil leaves it to the boot manager,
	// and 10.0.19041 does not ask then.
	VariableWindow *bool
	// ClientPort is the client's UDP port for TFTP; 0 leaves it to the boot
	// manager.
	ClientPort uint16
	// Multicast fetches by WDS multicast, for which a server must listen on UDP
	// port 5041: without one the boot manager waits 16 s for each file, then
	// gives up, or takes TFTP when MulticastFallback is set.
	Multicast, MulticastFallback bool

	// BootDebug debugs boot manager and loaders, KernelDebug what they load.
	// Both talk to Debugger; nil is the first serial port at 115200 baud.
	BootDebug, KernelDebug bool
	Debugger               *Debugger
	// EMS puts the boot menu, and the Windows that is started, on a serial port.
	EMS *EMS

	// Modified is the store's time stamp, see Store.
	Modified time.Time
}

// Entry is one thing to boot.
type Entry struct {
	ID          value.GUID // zero: made of the entry's place in the list
	Description string     // the line in the boot menu
	WIM         string     // path on the server
	Loader      string     // path in the WIM; "": winload of the firmware
	SystemRoot  string     // path in the WIM
	LoadOptions string     // command line for the system; "": none
	NX          NXPolicy   // NXOptIn is what Windows itself writes

	// TestSigning accepts drivers with a test signature, NoIntegrityChecks any.
	// Secure Boot forbids both: the loader then stops.
	TestSigning, NoIntegrityChecks bool
	// TextMode draws the loader's screens in text mode; HighestMode in the
	// highest graphics mode.
	TextMode, HighestMode bool
	// NoDetectHAL and NoWinPE leave out two settings that every WinPE has.
	NoDetectHAL, NoWinPE bool

	// Extra elements are added to the entry, or replace its own.
	Extra []Element
}

// Debugger says how a debugged machine reaches its debugger: over a serial port,
// or over the network when Host is set.
type Debugger struct {
	Port     int // serial port, 1 to 4; 0 is 1
	BaudRate int // 0 is 115200

	Host     netip.Addr // IPv4 of the debugging machine
	HostPort uint16     // its UDP port, 49152 to 65535; 0 is 50000
	Key      string     // four groups of letters and digits between dots: 1.2.3.4
}

// EMS is a serial console (Emergency Management Services).
type EMS struct {
	Port     int // serial port, 1 to 4; 0 is 1
	BaudRate int // 9600, 19200, 38400, 57600 or 115200; 0 is 115200
}

// Ramdisk makes the store that boots WinPE from WIMs on the server that the boot
// manager came from. Errors name the option and what it may be.
func Ramdisk(o Options) (*Store, error) {
	s, err := ramdisk(o)
	if err != nil {
		return nil, fmt.Errorf("make boot configuration: %w", err)
	}
	return s, nil
}

func ramdisk(o Options) (*Store, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	manager := Object{ID: value.BootManager(), Type: TypeBootManager}
	manager.Set(element.Description, value.String("Windows Boot Manager"))
	manager.Set(element.Locale, value.String(o.Locale))

	var order value.Refs
	var loaders []Object
	taken := map[value.GUID]bool{value.BootManager(): true, value.RamdiskOptions(): true, value.GlobalSettings(): true,
		value.LoaderSettings(): true, value.DebuggerSettings(): true, value.EMSSettings(): true}
	for i, e := range o.Entries {
		loader, err := o.entry(i, e)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", i+1, err)
		}
		if taken[loader.ID] {
			return nil, fmt.Errorf("entry %d: id %s is taken by another object", i+1, loader.ID)
		}
		taken[loader.ID] = true
		order = append(order, loader.ID)
		loaders = append(loaders, loader)
	}
	manager.Set(element.Default, value.Ref(order[0]))
	manager.Set(element.DisplayOrder, order)
	manager.Set(element.Timeout, value.Integer(o.Timeout/time.Second))
	manager.Set(element.DisplayBootMenu, value.Boolean(o.ShowMenu))

	// No description here: the boot manager would show it in the menu in place of
	// the entry's own (seen with 10.0.19041).
	ramdisk := Object{ID: value.RamdiskOptions(), Type: TypeDeviceOptions}
	ramdisk.Set(element.SDIDevice, value.BootDevice())
	ramdisk.Set(element.SDIPath, value.String(o.SDI))
	ramdisk.Set(element.TFTPBlockSize, value.Integer(o.BlockSize))
	ramdisk.Set(element.TFTPWindowSize, value.Integer(o.WindowSize))
	if o.VariableWindow != nil {
		ramdisk.Set(element.TFTPVarWindow, value.Boolean(*o.VariableWindow))
	}
	if o.ClientPort != 0 {
		ramdisk.Set(element.TFTPClientPort, value.Integer(o.ClientPort))
	}
	if o.Multicast {
		ramdisk.Set(element.Multicast, value.Boolean(true))
		ramdisk.Set(element.MulticastFallback, value.Boolean(o.MulticastFallback))
	}

	settings := o.settings(&manager, loaders)
	s := &Store{Modified: o.Modified, Objects: []Object{manager}}
	s.Objects = append(s.Objects, loaders...)
	s.Objects = append(s.Objects, ramdisk)
	s.Objects = append(s.Objects, settings...)
	return s, nil
}

// entry makes the loader entry at place i.
func (o *Options) entry(i int, e Entry) (Object, error) {
	if err := e.fill(o.Firmware); err != nil {
		return Object{}, err
	}
	if e.ID.IsZero() {
		e.ID = entryID(i)
	}
	device := value.RamdiskDevice(e.WIM, value.RamdiskOptions())
	l := Object{ID: e.ID, Type: TypeLoader}
	l.Set(element.Device, device)
	l.Set(element.Path, value.String(e.Loader))
	l.Set(element.Description, value.String(e.Description))
	l.Set(element.Locale, value.String(o.Locale))
	l.Set(element.OSDevice, device)
	l.Set(element.SystemRoot, value.String(e.SystemRoot))
	l.Set(element.NX, value.Integer(e.NX))
	for _, b := range []struct {
		id element.ID
		on bool
	}{
		{element.DetectHAL, !e.NoDetectHAL},
		{element.WinPE, !e.NoWinPE},
		{element.TestSigning, e.TestSigning},
		{element.NoIntegrityChecks, e.NoIntegrityChecks},
		{element.GraphicsDisabled, e.TextMode},
		{element.HighestMode, e.HighestMode},
		{element.KernelDebug, o.KernelDebug},
		{element.BootDebug, o.BootDebug},
		{element.EMS, o.EMS != nil},
	} {
		if b.on {
			l.Set(b.id, value.Boolean(true))
		}
	}
	if e.LoadOptions != "" {
		l.Set(element.LoadOptions, value.String(e.LoadOptions))
	}
	for _, x := range e.Extra {
		if x.Value == nil {
			return l, fmt.Errorf("extra element %s has no value", x.ID)
		}
		if f := x.Value.Format(); f != 0 && f != x.ID.Format() {
			return l, fmt.Errorf("extra element %s wants format %q, its value has %q", x.ID, x.ID.Format(), f)
		}
		l.Set(x.ID, x.Value)
	}
	return l, nil
}

// settings makes the objects that boot manager and loaders inherit, and lets
// them. There are none in a store without debugger and serial console: a boot
// manager does not ask for them. With one, they are as in Microsoft's stores.
func (o *Options) settings(manager *Object, loaders []Object) []Object {
	if !o.BootDebug && !o.KernelDebug && o.Debugger == nil && o.EMS == nil {
		return nil
	}
	debugger := Object{ID: value.DebuggerSettings(), Type: TypeInheritByAny}
	d := *o.Debugger
	if d.Host.IsValid() {
		ip := d.Host.As4()
		debugger.Set(element.DebugType, value.Integer(debugNet))
		debugger.Set(element.HostIP, value.Integer(uint32(ip[0])<<24|uint32(ip[1])<<16|uint32(ip[2])<<8|uint32(ip[3])))
		debugger.Set(element.HostPort, value.Integer(d.HostPort))
		debugger.Set(element.DebugKey, value.String(d.Key))
		debugger.Set(element.DebugDHCP, value.Boolean(true))
	} else {
		debugger.Set(element.DebugType, value.Integer(debugSerial))
		debugger.Set(element.DebugPort, value.Integer(d.Port))
		debugger.Set(element.BaudRate, value.Integer(d.BaudRate))
	}
	ems := Object{ID: value.EMSSettings(), Type: TypeInheritByAny}
	ems.Set(element.BootEMS, value.Boolean(o.EMS != nil))
	if o.EMS != nil {
		ems.Set(element.EMSPort, value.Integer(o.EMS.Port))
		ems.Set(element.EMSBaudRate, value.Integer(o.EMS.BaudRate))
	}
	global := Object{ID: value.GlobalSettings(), Type: TypeInheritByAny}
	global.Set(element.Inherit, value.Refs{debugger.ID, ems.ID})
	loader := Object{ID: value.LoaderSettings(), Type: TypeInheritByLoader}
	loader.Set(element.Inherit, value.Refs{global.ID})

	manager.Set(element.Inherit, value.Refs{global.ID})
	if o.BootDebug {
		manager.Set(element.BootDebug, value.Boolean(true))
	}
	for i := range loaders {
		if loaders[i].Element(element.Inherit) == nil {
			loaders[i].Set(element.Inherit, value.Refs{loader.ID})
		}
	}
	return []Object{global, loader, debugger, ems}
}

// Values of debugtype.
const (
	debugSerial = 0
	debugNet    = 3
)

// entryID names the entry at place i. The GUID is castpoint's own: random once,
// and its last two bytes count.
func entryID(i int) value.GUID {
	return value.NewGUID(0x5c4e1a70, 0x8d3b, 0x4f26, [8]byte{0x9e, 0x17, 0x6b, 0xd2, 0x40, 0xa9, byte(i >> 8), byte(i)})
}

// fill puts in the defaults and checks all but the entries.
func (o *Options) fill() error {
	if o.Firmware > BIOS {
		return fmt.Errorf("firmware %d: want UEFI or BIOS", o.Firmware)
	}
	if len(o.Entries) == 0 {
		o.Entries = []Entry{{}}
	}
	if len(o.Entries) > maxEntries {
		return fmt.Errorf("%d entries: at most %d fit a menu", len(o.Entries), maxEntries)
	}
	if o.Timeout < 0 || o.Timeout > maxTimeout || o.Timeout%time.Second != 0 {
		return fmt.Errorf("timeout %s: want whole seconds up to %s", o.Timeout, maxTimeout)
	}
	setDefault(&o.Locale, DefaultLocale)
	if !isLocale(o.Locale) {
		return fmt.Errorf("locale %q: want a language tag such as en-US", o.Locale)
	}
	setDefault(&o.SDI, DefaultSDI)
	if err := checkPath("path of boot.sdi", o.SDI); err != nil {
		return err
	}
	if o.BlockSize == 0 {
		o.BlockSize = DefaultBlockSize
	}
	if o.BlockSize < minBlockSize || o.BlockSize > maxBlockSize {
		return fmt.Errorf("TFTP block size %d: want %d to %d bytes", o.BlockSize, minBlockSize, maxBlockSize)
	}
	if o.WindowSize == 0 {
		o.WindowSize = DefaultWindowSize
	}
	if o.WindowSize < 1 || o.WindowSize > maxWindowSize {
		return fmt.Errorf("TFTP window size %d: want 1 to %d blocks", o.WindowSize, maxWindowSize)
	}
	if o.MulticastFallback && !o.Multicast {
		return errors.New("fallback from multicast without multicast")
	}
	return o.fillSerial()
}

func (o *Options) fillSerial() error {
	d := Debugger{}
	if o.Debugger != nil {
		d = *o.Debugger
	}
	if d.Host.IsValid() {
		if !d.Host.Is4() || d.Host.IsUnspecified() {
			return fmt.Errorf("debugger's address %s: want an IPv4 address", d.Host)
		}
		if d.Port != 0 || d.BaudRate != 0 {
			return errors.New("debugger over the network and over a serial port: want one of both")
		}
		if d.HostPort == 0 {
			d.HostPort = 50000
		}
		if d.HostPort < 49152 {
			return fmt.Errorf("debugger's UDP port %d: want 49152 to 65535", d.HostPort)
		}
		if !regexp.MustCompile(`^[a-z0-9]{1,13}(\.[a-z0-9]{1,13}){3}$`).MatchString(d.Key) {
			return errors.New("debugger's key: want four groups of up to 13 letters a-z and digits, with dots between")
		}
	} else {
		if d.HostPort != 0 || d.Key != "" {
			return errors.New("debugger over the network without its address")
		}
		if err := fillPort("debugger", &d.Port, &d.BaudRate); err != nil {
			return err
		}
	}
	// What was given stays as it was; nil still says that nobody asked for one.
	if o.Debugger != nil || o.BootDebug || o.KernelDebug || o.EMS != nil {
		o.Debugger = &d
	}
	if o.EMS != nil {
		e := *o.EMS
		if err := fillPort("serial console", &e.Port, &e.BaudRate); err != nil {
			return err
		}
		o.EMS = &e
		if (o.BootDebug || o.KernelDebug) && !d.Host.IsValid() && d.Port == e.Port {
			return fmt.Errorf("debugger and serial console both on serial port %d: want two ports", e.Port)
		}
	}
	return nil
}

func fillPort(what string, port, baud *int) error {
	if *port == 0 {
		*port = 1
	}
	if *baud == 0 {
		*baud = defaultBaudRate
	}
	if *port < 1 || *port > 4 {
		return fmt.Errorf("serial port %d of the %s: want 1 to 4", *port, what)
	}
	switch *baud {
	case 9600, 19200, 38400, 57600, 115200:
		return nil
	}
	return fmt.Errorf("baud rate %d of the %s: want 9600, 19200, 38400, 57600 or 115200", *baud, what)
}

// fill puts in the defaults and checks the entry.
func (e *Entry) fill(f Firmware) error {
	setDefault(&e.WIM, DefaultWIM)
	setDefault(&e.SystemRoot, DefaultSystemRoot)
	setDefault(&e.Description, DefaultDescription)
	loader := `\Windows\System32\Boot\winload.efi`
	if f == BIOS {
		loader = `\Windows\System32\Boot\winload.exe`
	}
	setDefault(&e.Loader, loader)
	if e.NX > NXAlwaysOn {
		return fmt.Errorf("nx policy %d: want 0 (OptIn) to 3 (AlwaysOn)", e.NX)
	}
	if e.TextMode && e.HighestMode {
		return errors.New("text mode and highest graphics mode: want one of both")
	}
	if err := errors.Join(
		checkPath("path of the WIM", e.WIM),
		checkPath("path of the loader", e.Loader),
		checkPath("system root", e.SystemRoot),
		checkText("description", e.Description, maxDescription),
		checkText("load options", e.LoadOptions, maxLoadOptions),
	); err != nil {
		return err
	}
	return nil
}

func isLocale(s string) bool {
	return regexp.MustCompile(`^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$`).MatchString(s)
}

func setDefault(s *string, to string) {
	if *s == "" {
		*s = to
	}
}

// checkPath wants an absolute path with backslashes. Over the network a path
// becomes a TFTP file name, so only ASCII is sure to arrive as it was written.
func checkPath(what, path string) error {
	switch {
	case !strings.HasPrefix(path, `\`):
		return fmt.Errorf(`%s %q: want one that starts with a backslash, such as \Boot\boot.wim`, what, path)
	case strings.Contains(path, "/"):
		return fmt.Errorf(`%s %q: want backslashes`, what, path)
	case len(path) > maxPath:
		return fmt.Errorf("%s has %d characters, at most %d fit a TFTP request", what, len(path), maxPath)
	case strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r > '~' }):
		return fmt.Errorf("%s %q: want printable ASCII", what, path)
	}
	for _, part := range strings.Split(path, `\`) {
		if part == ".." || part == "." {
			return fmt.Errorf(`%s %q: want no . and no .. in it`, what, path)
		}
	}
	return nil
}

func checkText(what, text string, limit int) error {
	if n := len(utf16.Encode([]rune(text))); n > limit {
		return fmt.Errorf("%s has %d characters, want at most %d", what, n, limit)
	}
	for _, r := range text {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return fmt.Errorf("%s %q: want no control characters", what, text)
		}
	}
	return nil
}
