package bootfile

import (
	"fmt"
	"strings"

	"castpoint/boot"
	"castpoint/boot/source"
	"castpoint/boot/windows"
	"castpoint/content"
)

// iPXE boots Windows PE in two ways: by wimboot, which is given all files by HTTP
// and shows them to the boot manager as a disk, and by Microsoft's own first stage,
// which fetches them itself by TFTP.

// wimbootName is iPXE's program that boots Windows PE.
const wimbootName = "wimboot"

// windowsData is what the script is made of that loads Microsoft's first stage.
type windowsData struct {
	about
	Ask    int // as in deviceData
	Image  string
	From   string // TFTP server
	Loader string // path there
	BCD    string // DHCP option 252, as iPXE writes bytes
}

// byBootManager says whether iPXE loads Microsoft's first stage for a boot image:
// firmware that is iPXE itself gets no other on that chain. Without a setting
// wimboot goes before, for it fetches all by HTTP.
func (f *Space) byBootManager(ct *content.Content, settings boot.Settings) bool {
	if f.cfg.Windows == nil || !source.IsWIM(ct) {
		return false
	}
	_, wimboot := f.cfg.Loaders.Find(wimbootName)
	return settings.Chain == boot.ChainWindows || settings.Chain == boot.ChainAuto && !wimboot
}

// bootManagerData fills the script that loads Microsoft's first stage.
func (f *Space) bootManagerData(c boot.Client, ab about, ct *content.Content, settings boot.Settings) (*windowsData, *source.Nothing) {
	machine := f.firmware[c.Arch].Machine
	kind, ok := windows.Firmware(machine)
	if !ok {
		return nil, &source.Nothing{Why: fmt.Sprintf("Microsoft has no boot manager for %s.", c.Arch), Next: "Choose chain ipxe for this machine, or a Linux boot image."}
	}
	first, why := f.cfg.Windows.FirstStage(ct, kind, settings)
	if why != "" {
		return nil, &source.Nothing{Why: why, Next: "Or put wimboot into a loader folder, with chain ipxe."}
	}
	d := &windowsData{about: ab, Image: screenText(strings.TrimSpace(ct.Name + " " + ct.Version)), From: "${next-server}"}
	if c.Server.IsValid() && !c.Server.IsUnspecified() {
		d.From = c.Server.Unmap().String()
	}
	dir := windows.Folder(machine, c)
	d.Loader = dir + "/" + first.Name
	// With a zero at its end, as in DHCP answers, and in bytes: iPXE has its own
	// mind about backslashes.
	store := append([]byte(windows.BCDPath(dir)), 0)
	d.BCD = strings.ReplaceAll(fmt.Sprintf("% x", store), " ", ":")
	return d, nil
}
