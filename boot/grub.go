package boot

import (
	"context"
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.uber.org/zap"
)

// grubDir is the folder of what machines get that boot by shim and GRUB:
// grub/MACHINE/DEVICE/FILE. GRUB's own prefix /grub is the same folder: signed
// netboot images of Debian and Ubuntu have it built in.
const grubDir = "grub"

// grubSuffix is what shim and GRUB put into the names of their files.
var grubSuffix = map[Machine]string{MachineEFIX64: "x64", MachineARM64: "aa64", MachineEFIIA32: "ia32"}

// shimFiles are the names that firmware and shim ask for, in a machine's folder,
// and the names of loader files they stand for, best first. Debian's packages
// shim-signed and grub-efi-*-signed have the names with .signed; GRUB must be a
// netboot image, for others have no network.
func shimFiles(suffix string) map[string][]string {
	return map[string][]string{
		"shim" + suffix + ".efi": {"shim" + suffix + ".efi.signed", "shim" + suffix + ".efi"},
		"grub" + suffix + ".efi": {"grubnet" + suffix + ".efi.signed", "grubnet" + suffix + ".efi", "grub" + suffix + ".efi"},
		"mm" + suffix + ".efi":   {"mm" + suffix + ".efi.signed", "mm" + suffix + ".efi"}, // MOK manager
		"fb" + suffix + ".efi":   {"fb" + suffix + ".efi.signed", "fb" + suffix + ".efi"},
	}
}

// grubPlan says what firmware gets that boots by shim and GRUB; why says why there
// is no such way.
func (p *Policy) grubPlan(c Client, arch Arch, fw Firmware, settings Settings) (plan Plan, why string) {
	suffix, ok := grubSuffix[fw.Machine]
	if !ok {
		return Plan{}, fmt.Sprintf("There is no shim for %s.", arch)
	}
	files := shimFiles(suffix)
	shim, grub := "shim"+suffix+".efi", "grub"+suffix+".efi"
	for _, name := range []string{shim, grub} {
		if _, ok := p.loaders.first(files[name]); !ok {
			return Plan{}, fmt.Sprintf("Boot by shim and GRUB needs %s, which is not in %s; install shim-signed and grub-efi-amd64-signed (grub-efi-arm64-signed).",
				strings.Join(files[name], " or "), strings.Join(p.loaders.dirs, ", "))
		}
	}
	plan = Plan{Serve: true, NextServer: c.Server, File: grubFolder(fw.Machine, c) + "/" + shim}
	by := "TFTP"
	plan.Ask = settings.Ask
	if c.HTTPBoot || fw.HTTP {
		name, _ := p.loaders.first(files[grub])
		if !p.loaders.has(name, grubHTTP) {
			return Plan{}, fmt.Sprintf("The GRUB in %s cannot read by HTTP, so it could not go on after UEFI HTTP boot: boot this machine by PXE, or give castpoint a GRUB that can.", name)
		}
		if settings.Ask {
			return localPlan(c, fw, func(path string) string { return p.url(c.Server, path) }, noAskByHTTP), ""
		}
		by, plan.File, plan.HTTPClient = "HTTP", p.url(c.Server, plan.File), true
	}
	plan.Reason = fmt.Sprintf("%s firmware boots by %s, so it gets shim, which starts GRUB.", arch, by)
	return plan, ""
}

// grubHTTP is in every GRUB that has the module http: what it writes in a request.
// Debian's signed ones have not; Ubuntu's and Fedora's have.
const grubHTTP = " HTTP/1.1\r\n"

// grubFolder is a machine's folder: grub/MACHINE[/MAC][/UUID].
func grubFolder(m Machine, c Client) string {
	return strings.TrimSuffix(grubDir+"/"+strings.TrimPrefix(scriptName(m, c), scriptDir+"/"), "/")
}

// grubConfig are the names by which GRUB looks for its settings below its prefix:
// with the hardware address first, as in grub.cfg-01-52-54-00-12-34-56, then with
// its IPv4 address or the beginnings of it, then without.
var grubConfig = regexp.MustCompile(`(?i)^grub\.cfg(-01-([0-9a-f]{2}(-[0-9a-f]{2}){5})|-[0-9a-f-]+)?$`)

// grubFile reads a name below grubDir, already cleaned. In a machine's folder,
// grub/MACHINE[/MAC][/UUID]/FILE, c is who the folder is for, and file is the rest.
func grubFile(c Client, name string) (_ Client, file string, machine bool) {
	dir, rest, _ := strings.Cut(name, "/")
	family, below, ok := strings.Cut(rest, "/")
	arch, known := machineArch(family)
	if !strings.EqualFold(dir, grubDir) || !ok || !known {
		return c, rest, false
	}
	c.MAC, c.UUID = nil, ""
	c.Arch, c.HasArch = arch, true
	for range 2 {
		device, rest, ok := strings.Cut(below, "/")
		if !ok || !parseDevice(&c, device) {
			break
		}
		below = rest
	}
	return c, below, true
}

// openGRUB opens a file of shim's and GRUB's.
func (f *Files) openGRUB(ctx context.Context, name string, c Client) (*File, error) {
	who, file, ok := grubFile(c, name)
	notFound := fmt.Errorf("%w: %q", ErrNotFound, name)
	if ok {
		machine := f.firmware[who.Arch].Machine
		if strings.EqualFold(file, "grub.cfg") && DeviceName(who) != "" {
			return madeFile(name, who, f.grubScript(ctx, who, machine), f.now()), nil
		}
		for asked, names := range shimFiles(grubSuffix[machine]) {
			if !strings.EqualFold(asked, file) {
				continue
			}
			loader, ok := f.cfg.Loaders.first(names)
			if !ok {
				return nil, notFound
			}
			return f.openLoader(loader, who)
		}
		return f.openLoader(file, who)
	}
	if m := grubConfig.FindStringSubmatch(file); m != nil && (m[1] == "" || m[2] != "") {
		// GRUB knows what kind of machine it runs on, and its address.
		return madeFile(name, who, render("bounce.grub", struct{ Title string }{grubText(f.cfg.Title)}), f.now()), nil
	}
	return f.openLoader(name, c)
}

// grubData is what the script of a machine is made of.
type grubData struct {
	Title, Server, Device, Machine string
	Image                          string
	HTTP                           string // SERVER:PORT for files by HTTP
	Kernel, Args                   string
	Initrds                        []initrdData
	Headline                       string   // of a script that boots nothing
	Why                            []string // what is wrong; then there is nothing to boot
	Told                           string   // the same in one line: it is shown once
	Wait                           int      // seconds
	Probe                          string   // a small file that is always there
	Local                          bool     // go on to the disk
}

// grubScript makes GRUB's settings for a machine: they boot it, or say why not.
func (f *Files) grubScript(ctx context.Context, c Client, machine Machine) []byte {
	ab := f.about(c, machine)
	d := grubData{
		Title: grubText(f.cfg.Title), Server: ab.Server, Device: ab.Device, Machine: ab.Machine,
		Wait: ab.Wait, Probe: "/" + grubDir + "/grub.cfg",
	}
	if c.Server.IsValid() && !c.Server.IsUnspecified() {
		d.HTTP = netip.AddrPortFrom(c.Server.Unmap(), uint16(f.cfg.HTTPPort)).String()
	}
	settings := f.cfg.Settings.For(c)
	record := recordOf(f.cfg.Record, c)
	ct, why := f.pickImage(machine, record.BootImage)
	if held := record.held(c); held != nil {
		why = held
	}
	d.Headline = "nothing to boot for this machine"
	if record.Waiting {
		d.Headline, d.Wait = "waiting for approval", approvalPoll
	}
	switch {
	case settings.Chain == ChainLocal && !record.Waiting, why != nil && !record.Waiting && f.cfg.Idle.Exit:
		d.Local = true
		return render("local.grub", d)
	case why == nil && isWIM(ct):
		why = &nothing{
			Why:  fmt.Sprintf("Boot image %s is a WIM, which GRUB cannot start.", ct.Name),
			Next: "Choose chain windows or ipxe for this machine, or a Linux boot image.",
		}
	}
	var data *deviceData
	if why == nil {
		data, why = f.imageData(ctx, c, ab, ct)
	}
	if why != nil {
		f.log.Info("nothing to boot", zap.Inline(c), zap.String("reason", why.Why), zap.String("next", why.Next))
		for _, text := range []string{why.Why, why.Next} {
			d.Why = append(d.Why, screenLines(text)...)
		}
		d.Told = strings.Join(append([]string{d.Headline}, d.Why...), " ")
		return render("nothing.grub", d)
	}
	d.Image, d.Kernel, d.Initrds = grubText(data.Image), data.Kernel, data.Initrds
	// GRUB gives the initramfs to the kernel without a name.
	args := slices.DeleteFunc(strings.Fields(data.Args), func(a string) bool { return strings.HasPrefix(a, "initrd=") })
	d.Args = strings.Join(args, " ")
	f.log.Info("made GRUB settings", zap.Inline(c), zap.String("content", ct.ID))
	return render("device.grub", d)
}

// grubText is a text for an echo in double quotes.
func grubText(s string) string { return screenText(s) }

// grubOrdinary tells names that GRUB and shim ask for in vain in a boot that goes
// well: lists of modules, which signed GRUB has built in, fonts, texts, settings
// for its address before those for all, revocations and more certificates.
func grubOrdinary(p string) bool {
	if !strings.HasPrefix(p, grubDir+"/") {
		return false
	}
	return slices.Contains([]string{".lst", ".mod", ".mo", ".gz", ".pf2"}, path.Ext(p)) || strings.HasSuffix(p, "/grub.cfg") ||
		strings.Contains(p, "/revocations") || strings.Contains(p, "/shim_certificate")
}
