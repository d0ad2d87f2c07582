package windows

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"castpoint/boot"
	"castpoint/boot/bcd"
	"castpoint/boot/source"
	"castpoint/boot/winpe"
	"castpoint/content"
)

// Config is what [New] needs.
type Config struct {
	// Loaders are the loader folders: what is in them goes before the files of
	// the boot image. Required.
	Loaders *source.Loaders
	// Library holds the boot images. Required.
	Library source.Library
	// BootImage is as in bootfile.Config.
	BootImage string
	// Firmware is as in bootfile.Config.
	Firmware map[boot.Arch]boot.Firmware
	// Extra are folders that have boot files which boot images lack: a mounted
	// installation medium, the folders of the ADK.
	Extra []string
	// Settings say how each machine boots. Nil is the zero Settings for all.
	Settings *boot.Resolver
	// Agent gives the agent for Windows and an architecture (amd64, arm64, 386);
	// the bytes must stay. Nil, or an error, serves the WIM as it is stored.
	Agent func(arch string) (io.ReaderAt, int64, error)
	// Record is as in policy.Config.
	Record boot.RecordFunc
	// Ticket is as in bootfile.Config; it is called once for each boot of a machine.
	// Nil serves the WIM as it is stored.
	Ticket boot.TicketFunc
	Log    *zap.Logger
}

// New checks the configuration. Boot images are opened when the first
// machine needs them. Close it when nothing is served any more.
func New(cfg Config) (*Chain, error) {
	if cfg.Loaders == nil || cfg.Library == nil {
		return nil, errors.New("boot of Windows PE: loader folders and a library are needed")
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
	w := &Chain{cfg: cfg, firmware: boot.MergeFirmware(cfg.Firmware), log: cfg.Log}
	w.init()
	return w, nil
}

// settings are those of one machine.
func (w *Chain) settings(c boot.Client) boot.Settings { return w.cfg.Settings.For(c) }

// bootImage names the boot image of one machine.
func (w *Chain) bootImage(c boot.Client) string {
	record := boot.RecordOf(w.cfg.Record, c)
	return record.ImageOr(w.cfg.BootImage)
}

// Firmware is the kind of boot manager a family of machines runs, and whether
// Microsoft makes one for it.
func Firmware(m boot.Machine) (bcd.Firmware, bool) {
	switch m {
	case boot.MachineBIOS:
		return bcd.BIOS, true
	case boot.MachineEFIX64, boot.MachineARM64, boot.MachineEFIIA32:
		return bcd.UEFI, true
	}
	return bcd.UEFI, false
}

// Plan says what firmware gets on Microsoft's chain. When there is no such way
// and the machine may go another one, serve is false and why says why, "" for
// what goes without saying. When it may not, refuse is true.
func (w *Chain) Plan(c boot.Client, arch boot.Arch, fw boot.Firmware, url func(path string) string) (plan boot.Plan, why string, refuse bool) {
	kind, ok := Firmware(fw.Machine)
	settings := w.settings(c)
	must := settings.Chain == boot.ChainWindows
	if settings.Chain != boot.ChainAuto && !must || !ok || arch == boot.ArchBIOSHTTP {
		return boot.Plan{}, "", false
	}
	ct, none := source.PickImage(w.cfg.Library, w.bootImage(c), fw.Machine)
	if none != nil {
		return boot.Plan{}, none.Why + " " + none.Next, must
	}
	if !source.IsWIM(ct) {
		return boot.Plan{}, "", false // a Linux boot image has no other way than iPXE
	}
	if boot.DeviceName(c) == "" {
		return boot.Plan{}, "The machine sent neither a hardware address nor a UUID, so no boot configuration can be made for it.", must
	}
	first, why := w.FirstStage(ct, kind, settings)
	if why != "" {
		return boot.Plan{}, why, must
	}
	byHTTP := c.HTTPBoot || fw.HTTP
	if byHTTP && !must && oldForHTTP(first.version) {
		return boot.Plan{}, fmt.Sprintf("The boot manager of boot image %s (Windows %s) cannot fetch a WIM by HTTP.", ct.Name, first.version), false
	}
	if byHTTP && settings.Ask {
		if must {
			return boot.LocalPlan(c, fw, url, boot.NoAskByHTTP), "", false
		}
		return boot.Plan{}, boot.NoAskByHTTP, false
	}
	loader, what, asks := first.Name, "Microsoft's boot manager", false
	if kind == bcd.BIOS {
		what = "Microsoft's first stage for BIOS"
		if settings.Ask && first.prompt != "" {
			loader, what, asks = first.prompt, "Microsoft's first stage for BIOS, which asks for F12", true
		}
	}
	c.Arch, c.HasArch = arch, true
	w.note(c)
	dir := Folder(fw.Machine, c)
	plan = boot.Plan{Serve: true, NextServer: c.Server, File: dir + "/" + loader, BCDPath: BCDPath(dir), Image: ct.ID, Ask: settings.Ask && !asks}
	by := "TFTP"
	if byHTTP {
		by, plan.File, plan.HTTPClient = "HTTP", url(plan.File), true
	}
	plan.Reason = fmt.Sprintf("%s firmware boots by %s and boot image %s is a WIM, so it gets %s (%s).", arch, by, ct.Name, what, loader)
	return plan, "", false
}

// First is the program that Microsoft's chain begins with.
type First struct {
	Name    string
	prompt  string // the same, asking for F12 before it goes on; "" when there is none
	version string // of Windows
}

// FirstStage finds the program that a boot image is booted by on a kind of
// firmware; why says why there is none.
func (w *Chain) FirstStage(ct *content.Content, kind bcd.Firmware, settings boot.Settings) (first First, why string) {
	img, release, err := w.image(ct)
	if err != nil {
		return First{}, err.Error()
	}
	defer release()
	if missing := w.missing(img, kind); len(missing) > 0 {
		var names []string
		for _, m := range missing {
			names = append(names, m.Name)
		}
		return First{}, fmt.Sprintf("Boot image %s cannot be booted by Microsoft's chain: %s missing, and not in %s either (castpoint content show %s).",
			ct.Name, strings.Join(names, ", "), strings.Join(append(w.cfg.Loaders.Dirs(), w.cfg.Extra...), ", "), ct.ID)
	}
	first = First{Name: winpe.PXEBoot, version: img.Version()}
	if kind == bcd.UEFI {
		if first.Name, err = bootManager(img, settings.CA); err != nil {
			return First{}, fmt.Sprintf("Boot image %s: %v.", ct.Name, err)
		}
		return first, ""
	}
	if _, err := img.Find(winpe.PXEBootPrompt); err == nil {
		first.prompt = winpe.PXEBootPrompt
	}
	return first, ""
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

// BCDPath is the boot configuration in a machine's folder, as the boot manager
// takes it from DHCP option 252.
func BCDPath(folder string) string { return backslashes(folder + "/BCD") }
