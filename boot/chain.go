package boot

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"castpoint/boot/bcd"
	"castpoint/boot/winpe"
	"castpoint/content"
)

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
	// Settings say how each machine boots. Nil is the zero Settings for all.
	Settings *Resolver
	// Agent gives the agent for Windows and an architecture (amd64, arm64, 386);
	// the bytes must stay. Nil, or an error, serves the WIM as it is stored.
	Agent func(arch string) (io.ReaderAt, int64, error)
	// Record is as in PlannerConfig.
	Record RecordFunc
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
func (w *Windows) settings(c Client) Settings { return w.cfg.Settings.For(c) }

// bootImage names the boot image of one machine.
func (w *Windows) bootImage(c Client) string {
	record := recordOf(w.cfg.Record, c)
	return record.bootImage(w.cfg.BootImage)
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
	if settings.Chain != ChainAuto && !must || !ok || arch == ArchBIOSHTTP {
		return Plan{}, "", false
	}
	ct, none := pickImage(w.cfg.Library, w.bootImage(c), fw.Machine)
	if none != nil {
		return Plan{}, none.Why + " " + none.Next, must
	}
	if !isWIM(ct) {
		return Plan{}, "", false // a Linux boot image has no other way than iPXE
	}
	if DeviceName(c) == "" {
		return Plan{}, "The machine sent neither a hardware address nor a UUID, so no boot configuration can be made for it.", must
	}
	first, why := w.firstStage(ct, kind, settings)
	if why != "" {
		return Plan{}, why, must
	}
	byHTTP := c.HTTPBoot || fw.HTTP
	if byHTTP && !must && oldForHTTP(first.version) {
		return Plan{}, fmt.Sprintf("The boot manager of boot image %s (Windows %s) cannot fetch a WIM by HTTP.", ct.Name, first.version), false
	}
	if byHTTP && settings.Ask {
		if must {
			return localPlan(c, fw, url, noAskByHTTP), "", false
		}
		return Plan{}, noAskByHTTP, false
	}
	loader, what, asks := first.name, "Microsoft's boot manager", false
	if kind == bcd.BIOS {
		what = "Microsoft's first stage for BIOS"
		if settings.Ask && first.prompt != "" {
			loader, what, asks = first.prompt, "Microsoft's first stage for BIOS, which asks for F12", true
		}
	}
	c.Arch, c.HasArch = arch, true
	w.note(c)
	dir := windowsFolder(fw.Machine, c)
	plan = Plan{Serve: true, NextServer: c.Server, File: dir + "/" + loader, BCDPath: backslashes(dir + "/BCD"), Ask: settings.Ask && !asks}
	by := "TFTP"
	if byHTTP {
		by, plan.File, plan.HTTPClient = "HTTP", url(plan.File), true
	}
	plan.Reason = fmt.Sprintf("%s firmware boots by %s and boot image %s is a WIM, so it gets %s (%s).", arch, by, ct.Name, what, loader)
	return plan, "", false
}

// noAskByHTTP is why a machine that is to be asked for a key does not boot unasked.
// Firmware that got no key at its PXE menu goes on to HTTP boot before the disk.
const noAskByHTTP = "UEFI HTTP boot has no menu to ask for a key with."

// firstStage is the program that Microsoft's chain begins with.
type firstStage struct {
	name    string
	prompt  string // the same, asking for F12 before it goes on; "" when there is none
	version string // of Windows
}

// firstStage finds the program that a boot image is booted by on a kind of
// firmware; why says why there is none.
func (w *Windows) firstStage(ct *content.Content, kind bcd.Firmware, settings Settings) (first firstStage, why string) {
	img, release, err := w.image(ct)
	if err != nil {
		return firstStage{}, err.Error()
	}
	defer release()
	if missing := w.missing(img, kind); len(missing) > 0 {
		var names []string
		for _, m := range missing {
			names = append(names, m.Name)
		}
		return firstStage{}, fmt.Sprintf("Boot image %s cannot be booted by Microsoft's chain: %s missing, and not in %s either (castpoint content show %s).",
			ct.Name, strings.Join(names, ", "), strings.Join(append(w.cfg.Loaders.Dirs(), w.cfg.Extra...), ", "), ct.ID)
	}
	first = firstStage{name: winpe.PXEBoot, version: img.Version()}
	if kind == bcd.UEFI {
		if first.name, err = bootManager(img, settings.CA); err != nil {
			return firstStage{}, fmt.Sprintf("Boot image %s: %v.", ct.Name, err)
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
