package boot

import (
	"fmt"
	"strings"

	"castpoint/boot/winpe"
	"castpoint/content"
)

// iPXE boots Windows PE in two ways: by wimboot, which is given all files by HTTP
// and shows them to the boot manager as a disk, and by Microsoft's own first stage,
// which fetches them itself by TFTP.

// wimbootName is iPXE's program that boots Windows PE.
const wimbootName = "wimboot"

// wimbootBCD is the boot configuration for wimboot, in a machine's folder: wimboot
// shows the boot manager a disk with the WIM at \Boot\boot.wim.
const wimbootBCD = "wimboot.bcd"

// wimbootFiles are the files that wimboot is given beside the WIM, out of the
// machine's folder: its boot configuration, and boot.sdi, which WIMs may lack.
// Without them wimboot takes those of the WIM.
func (w *Windows) wimbootFiles(ct *content.Content, dir string) []initrdData {
	img, release, err := w.image(ct)
	if err != nil {
		return nil // wimboot may understand it
	}
	defer release()
	if _, err := img.Find(winpe.SDI); err != nil {
		return nil
	}
	return []initrdData{
		{Name: "BCD", Path: dir + wimbootBCD, Arg: "BCD ", What: "the boot configuration"},
		{Name: winpe.SDI, Path: dir + winpe.SDI, Arg: winpe.SDI + " ", What: winpe.SDI},
	}
}

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
func (f *Files) byBootManager(ct *content.Content, settings Settings) bool {
	if f.cfg.Windows == nil || !isWIM(ct) {
		return false
	}
	_, wimboot := f.cfg.Loaders.Find(wimbootName)
	return settings.Chain == ChainWindows || settings.Chain == ChainAuto && !wimboot
}

// bootManagerData fills the script that loads Microsoft's first stage.
func (f *Files) bootManagerData(c Client, ab about, ct *content.Content, settings Settings) (*windowsData, *nothing) {
	machine := f.firmware[c.Arch].Machine
	kind, ok := bcdFirmware(machine)
	if !ok {
		return nil, &nothing{Why: fmt.Sprintf("Microsoft has no boot manager for %s.", c.Arch), Next: "Choose chain ipxe for this machine, or a Linux boot image."}
	}
	first, why := f.cfg.Windows.firstStage(ct, kind, settings)
	if why != "" {
		return nil, &nothing{Why: why, Next: "Or put wimboot into a loader folder, with chain ipxe."}
	}
	d := &windowsData{about: ab, Image: screenText(strings.TrimSpace(ct.Name + " " + ct.Version)), From: "${next-server}"}
	if c.Server.IsValid() && !c.Server.IsUnspecified() {
		d.From = c.Server.Unmap().String()
	}
	dir := windowsFolder(machine, c)
	d.Loader = dir + "/" + first.name
	// With a zero at its end, as in DHCP answers, and in bytes: iPXE has its own
	// mind about backslashes.
	store := append([]byte(backslashes(dir+"/BCD")), 0)
	d.BCD = strings.ReplaceAll(fmt.Sprintf("% x", store), " ", ":")
	return d, nil
}
