package bootfile

import (
	"context"
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.uber.org/zap"

	"castpoint/boot"
	"castpoint/boot/source"
)

// grubConfig are the names by which GRUB looks for its settings below its prefix:
// with the hardware address first, as in grub.cfg-01-52-54-00-12-34-56, then with
// its IPv4 address or the beginnings of it, then without.
var grubConfig = regexp.MustCompile(`(?i)^grub\.cfg(-01-([0-9a-f]{2}(-[0-9a-f]{2}){5})|-[0-9a-f-]+)?$`)

// grubFile reads a name below the folder grub, already cleaned. In a machine's folder,
// grub/MACHINE[/MAC][/UUID]/FILE, c is who the folder is for, and file is the rest.
func grubFile(c boot.Client, name string) (_ boot.Client, file string, machine bool) {
	dir, rest, _ := strings.Cut(name, "/")
	family, below, ok := strings.Cut(rest, "/")
	arch, known := boot.FamilyArch(family)
	if !strings.EqualFold(dir, boot.GRUBDir) || !ok || !known {
		return c, rest, false
	}
	c.MAC, c.UUID = nil, ""
	c.Arch, c.HasArch = arch, true
	for range 2 {
		device, rest, ok := strings.Cut(below, "/")
		if !ok || !boot.ParseDevice(&c, device) {
			break
		}
		below = rest
	}
	return c, below, true
}

// openGRUB opens a file of shim's and GRUB's.
func (f *Space) openGRUB(ctx context.Context, name string, c boot.Client) (*source.File, error) {
	who, file, ok := grubFile(c, name)
	notFound := fmt.Errorf("%w: %q", boot.ErrNotFound, name)
	if ok {
		machine := f.firmware[who.Arch].Machine
		if strings.EqualFold(file, "grub.cfg") && boot.DeviceName(who) != "" {
			return source.Made(name, who, f.grubScript(ctx, who, machine), f.now()), nil
		}
		for asked, names := range source.ShimFiles(source.ShimSuffix[machine]) {
			if !strings.EqualFold(asked, file) {
				continue
			}
			loader, ok := f.cfg.Loaders.First(names)
			if !ok {
				return nil, notFound
			}
			return f.cfg.Loaders.Open(loader, who)
		}
		return f.cfg.Loaders.Open(file, who)
	}
	if m := grubConfig.FindStringSubmatch(file); m != nil && (m[1] == "" || m[2] != "") {
		// GRUB knows what kind of machine it runs on, and its address.
		return source.Made(name, who, render("bounce.grub", struct{ Title string }{grubText(f.cfg.Title)}), f.now()), nil
	}
	return f.cfg.Loaders.Open(name, c)
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
func (f *Space) grubScript(ctx context.Context, c boot.Client, machine boot.Machine) []byte {
	ab := f.about(c, machine)
	d := grubData{
		Title: grubText(f.cfg.Title), Server: ab.Server, Device: ab.Device, Machine: ab.Machine,
		Wait: ab.Wait, Probe: "/" + boot.GRUBDir + "/grub.cfg",
	}
	if c.Server.IsValid() && !c.Server.IsUnspecified() {
		d.HTTP = netip.AddrPortFrom(c.Server.Unmap(), uint16(f.cfg.HTTPPort)).String()
	}
	settings := f.cfg.Settings.For(c)
	record := boot.RecordOf(f.cfg.Record, c)
	ct, why := f.pickImage(machine, record.BootImage)
	if because := held(record, c); because != nil {
		why = because
	}
	d.Headline = "nothing to boot for this machine"
	if record.Waiting {
		d.Headline, d.Wait = "waiting for approval", approvalPoll
	}
	switch {
	case settings.Chain == boot.ChainLocal && !record.Waiting, why != nil && !record.Waiting && f.cfg.Idle.Exit:
		d.Local = true
		return render("local.grub", d)
	case why == nil && source.IsWIM(ct):
		why = &source.Nothing{
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
	if !strings.HasPrefix(p, boot.GRUBDir+"/") {
		return false
	}
	return slices.Contains([]string{".lst", ".mod", ".mo", ".gz", ".pf2"}, path.Ext(p)) || strings.HasSuffix(p, "/grub.cfg") ||
		strings.Contains(p, "/revocations") || strings.Contains(p, "/shim_certificate")
}
