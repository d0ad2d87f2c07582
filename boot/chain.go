package boot

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"castpoint/boot/bcd"
	"castpoint/boot/winpe"
)

// Chain says which way a machine goes to a boot image that is a WIM.
type Chain string

// The chains. Which one a machine gets is policy, never a guess: DHCP does not
// show whether Secure Boot is on.
const (
	// ChainAuto is ChainWindows when the boot image has the files for it, else
	// ChainIPXE.
	ChainAuto Chain = ""
	// ChainWindows is Microsoft's own: a signed boot manager, a boot
	// configuration made for the machine, boot.sdi and the WIM.
	ChainWindows Chain = "windows"
	// ChainIPXE is iPXE with wimboot, for which Secure Boot must be off.
	ChainIPXE Chain = "ipxe"
)

// WindowsSettings say how Windows PE is booted: for all machines, or for one.
type WindowsSettings struct {
	Chain Chain
	// CA is the year of the CA that the UEFI boot manager is signed under: 2011
	// (bootmgfw.efi) or 2023 (bootmgfw_EX.efi). 0 takes that of 2011, which all
	// firmware until 2025 trusts, or the other one when it is the only one.
	CA int
	// Store says what the boot configuration has beside the device's own: block
	// and window size, menu, debugger. Entries without a WIM boot the machine's.
	Store bcd.Options
	// BCD is a boot configuration that is served as it is, instead of a made
	// one. Its WIM should be \Boot\boot.wim.
	BCD []byte
	// Prompt leaves a command prompt when the agent in Windows PE fails.
	Prompt bool
}

func (s *WindowsSettings) check() error {
	if !slices.Contains([]Chain{ChainAuto, ChainWindows, ChainIPXE}, s.Chain) {
		return fmt.Errorf("chain %q: want %s or %s, or nothing", s.Chain, ChainWindows, ChainIPXE)
	}
	if s.CA != 0 && s.CA != 2011 && s.CA != 2023 {
		return fmt.Errorf("CA of %d: want 2011 or 2023, or 0", s.CA)
	}
	if len(s.BCD) > bcd.MaxSize {
		return fmt.Errorf("boot configuration of %d bytes: at most %d are served", len(s.BCD), bcd.MaxSize)
	}
	if s.BCD != nil {
		if _, err := bcd.Parse(s.BCD); err != nil {
			return err
		}
	}
	_, err := bcd.Ramdisk(s.Store)
	return err
}

// WindowsConfig is what [NewWindows] needs.
type WindowsConfig struct {
	// Loaders are the loader folders: what is in them goes before the files of
	// the boot image. Required.
	Loaders *Loaders
	// Library holds the boot images. Required.
	Library Library
	// BootImage is as in FilesConfig.
	BootImage string
	// Firmware is as in FilesConfig.
	Firmware map[Arch]Firmware
	// Extra are folders that have boot files which boot images lack: a mounted
	// installation medium, the folders of the ADK.
	Extra []string
	// Settings hold for all machines.
	Settings WindowsSettings
	// Chains replace Settings.Chain for an architecture.
	Chains map[Arch]Chain
	// Device replaces Settings and Chains for one machine, when it says ok. It
	// must be fast and safe for concurrent use.
	Device func(Client) (_ WindowsSettings, ok bool)
	// Agent gives the agent for Windows and an architecture (amd64, arm64, 386);
	// the bytes must stay. Nil, or an error, serves the WIM as it is stored.
	Agent func(arch string) (io.ReaderAt, int64, error)
	// Ticket is as in FilesConfig; it is called once for each boot of a machine.
	// Nil serves the WIM as it is stored.
	Ticket TicketFunc
	Log    *zap.Logger
}

// NewWindows checks the configuration. Boot images are opened when the first
// machine needs them. Close it when nothing is served any more.
func NewWindows(cfg WindowsConfig) (*Windows, error) {
	if cfg.Loaders == nil || cfg.Library == nil {
		return nil, errors.New("boot of Windows PE: loader folders and a library are needed")
	}
	if err := cfg.Settings.check(); err != nil {
		return nil, fmt.Errorf("boot of Windows PE: %w", err)
	}
	for arch, chain := range cfg.Chains {
		if err := (&WindowsSettings{Chain: chain}).check(); err != nil {
			return nil, fmt.Errorf("boot of Windows PE: %s: %w", arch, err)
		}
	}
	for _, dir := range cfg.Extra {
		if st, err := os.Stat(dir); err != nil {
			return nil, fmt.Errorf("folder of Windows boot files: %w", err)
		} else if !st.IsDir() {
			return nil, fmt.Errorf("folder of Windows boot files: %s is no folder", dir)
		}
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	w := &Windows{cfg: cfg, firmware: mergeFirmware(cfg.Firmware), log: cfg.Log}
	w.init()
	return w, nil
}

// settings are those of one machine.
func (w *Windows) settings(c Client) WindowsSettings {
	s := w.cfg.Settings
	if chain, ok := w.cfg.Chains[clientArch(c)]; ok {
		s.Chain = chain
	}
	if w.cfg.Device == nil {
		return s
	}
	own, ok := w.cfg.Device(c)
	if !ok {
		return s
	}
	if err := own.check(); err != nil {
		w.log.Error("settings of a device are not usable", zap.Stringer("client", c), zap.Error(err))
		return s
	}
	return own
}

// bcdFirmware is the kind of boot manager a family of machines runs, and whether
// Microsoft makes one for it.
func bcdFirmware(m Machine) (bcd.Firmware, bool) {
	switch m {
	case MachineBIOS:
		return bcd.BIOS, true
	case MachineEFIX64, MachineARM64, MachineEFIIA32:
		return bcd.UEFI, true
	}
	return bcd.UEFI, false
}

// plan says what firmware gets on Microsoft's chain. When there is no such way
// and the machine may go another one, serve is false and why says why, "" for
// what goes without saying. When it may not, refuse is true.
func (w *Windows) plan(c Client, arch Arch, fw Firmware, url func(path string) string) (plan Plan, why string, refuse bool) {
	kind, ok := bcdFirmware(fw.Machine)
	settings := w.settings(c)
	must := settings.Chain == ChainWindows
	if settings.Chain == ChainIPXE || !ok || arch == ArchBIOSHTTP {
		return Plan{}, "", false
	}
	ct, none := pickImage(w.cfg.Library, w.cfg.BootImage, fw.Machine)
	if none != nil {
		return Plan{}, none.Why + " " + none.Next, must
	}
	if !isWIM(ct) {
		return Plan{}, "", false // a Linux boot image has no other way than iPXE
	}
	if DeviceName(c) == "" {
		return Plan{}, "The machine sent neither a hardware address nor a UUID, so no boot configuration can be made for it.", must
	}
	img, release, err := w.image(ct)
	if err != nil {
		return Plan{}, err.Error(), must
	}
	defer release()
	if missing := w.missing(img, kind); len(missing) > 0 {
		var names []string
		for _, m := range missing {
			names = append(names, m.Name)
		}
		return Plan{}, fmt.Sprintf("Boot image %s cannot be booted by Microsoft's chain: %s missing, and not in %s either (castpoint content show %s).",
			ct.Name, strings.Join(names, ", "), strings.Join(append(w.cfg.Loaders.Dirs(), w.cfg.Extra...), ", "), ct.ID), must
	}
	byHTTP := c.HTTPBoot || fw.HTTP
	if byHTTP && !must && oldForHTTP(img.Version()) {
		return Plan{}, fmt.Sprintf("The boot manager of boot image %s (Windows %s) cannot fetch a WIM by HTTP.", ct.Name, img.Version()), false
	}
	loader, what := winpe.PXEBoot, "Microsoft's first stage for BIOS"
	if kind == bcd.UEFI {
		var err error
		if loader, err = bootManager(img, settings.CA); err != nil {
			return Plan{}, fmt.Sprintf("Boot image %s: %v.", ct.Name, err), must
		}
		what = "Microsoft's boot manager"
	}
	c.Arch, c.HasArch = arch, true
	w.note(c)
	dir := windowsFolder(fw.Machine, c)
	plan = Plan{Serve: true, NextServer: c.Server, File: dir + "/" + loader, BCDPath: backslashes(dir + "/BCD")}
	by := "TFTP"
	if byHTTP {
		by, plan.File, plan.HTTPClient = "HTTP", url(plan.File), true
	}
	plan.Reason = fmt.Sprintf("%s firmware boots by %s and boot image %s is a WIM, so it gets %s (%s).", arch, by, ct.Name, what, loader)
	return plan, "", false
}

// oldForHTTP tells boot managers that stop after the boot configuration when they
// were loaded by UEFI HTTP boot (0xc0000225). 10.0.19041 was seen to; those of
// Windows 11 are said to go on. An unknown version counts as new.
func oldForHTTP(version string) bool {
	parts := strings.Split(version, ".")
	if len(parts) < 3 {
		return false
	}
	build, err := strconv.Atoi(parts[2])
	return err == nil && build < 20348
}

// bootManager chooses between the two UEFI boot managers.
func bootManager(img *winpe.Image, ca int) (string, error) {
	order := []string{winpe.BootManager, winpe.BootManagerEX}
	switch ca {
	case 2011:
		order = order[:1]
	case 2023:
		order = order[1:]
	}
	for _, name := range order {
		if _, err := img.Find(name); err == nil {
			return name, nil
		}
	}
	return "", fmt.Errorf("it has no boot manager signed under the CA of %d (%s)", ca, order[0])
}

func backslashes(path string) string { return `\` + strings.ReplaceAll(path, "/", `\`) }
