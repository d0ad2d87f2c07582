package policy

import (
	"fmt"
	"strings"

	"castpoint/boot"
	"castpoint/boot/source"
)

// grubPlan says what firmware gets that boots by shim and GRUB; why says why there
// is no such way.
func (p *Planner) grubPlan(c boot.Client, arch boot.Arch, fw boot.Firmware, settings boot.Settings) (plan boot.Plan, why string) {
	suffix, ok := source.ShimSuffix[fw.Machine]
	if !ok {
		return boot.Plan{}, fmt.Sprintf("There is no shim for %s.", arch)
	}
	files := source.ShimFiles(suffix)
	shim, grub := "shim"+suffix+".efi", "grub"+suffix+".efi"
	for _, name := range []string{shim, grub} {
		if _, ok := p.loaders.First(files[name]); !ok {
			return boot.Plan{}, fmt.Sprintf("Boot by shim and GRUB needs %s, which is not in %s; install shim-signed and grub-efi-amd64-signed (grub-efi-arm64-signed).",
				strings.Join(files[name], " or "), strings.Join(p.loaders.Dirs(), ", "))
		}
	}
	plan = boot.Plan{Serve: true, NextServer: c.Server, File: boot.GRUBFolder(fw.Machine, c) + "/" + shim}
	by := "TFTP"
	plan.Ask = settings.Ask
	if c.HTTPBoot || fw.HTTP {
		name, _ := p.loaders.First(files[grub])
		if !p.loaders.Has(name, grubHTTP) {
			return boot.Plan{}, fmt.Sprintf("The GRUB in %s cannot read by HTTP, so it could not go on after UEFI HTTP boot: boot this machine by PXE, or give castpoint a GRUB that can.", name)
		}
		if settings.Ask {
			return boot.LocalPlan(c, fw, func(path string) string { return p.url(c.Server, path) }, boot.NoAskByHTTP), ""
		}
		by, plan.File, plan.HTTPClient = "HTTP", p.url(c.Server, plan.File), true
	}
	plan.Reason = fmt.Sprintf("%s firmware boots by %s, so it gets shim, which starts GRUB.", arch, by)
	return plan, ""
}

// grubHTTP is in every GRUB that has the module http: what it writes in a request.
// Debian's signed ones have not; Ubuntu's and Fedora's have.
const grubHTTP = " HTTP/1.1\r\n"
