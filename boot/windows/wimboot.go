package windows

import (
	"castpoint/boot/winpe"
	"castpoint/content"
)

// wimbootBCD is the boot configuration for wimboot, in a machine's folder: wimboot
// shows the boot manager a disk with the WIM at \Boot\boot.wim.
const wimbootBCD = "wimboot.bcd"

// WimbootFile is a file that wimboot is given by a script of iPXE.
type WimbootFile struct {
	Name string // what wimboot finds it by
	Path string // in the name space of boot files
	What string // for the screen
}

// WimbootFiles are the files that wimboot is given beside the WIM, out of the
// machine's folder: its boot configuration, and boot.sdi, which WIMs may lack.
// Without them wimboot takes those of the WIM.
func (w *Chain) WimbootFiles(ct *content.Content, dir string) []WimbootFile {
	img, release, err := w.image(ct)
	if err != nil {
		return nil // wimboot may understand it
	}
	defer release()
	if _, err := img.Find(winpe.SDI); err != nil {
		return nil
	}
	return []WimbootFile{
		{Name: "BCD", Path: dir + wimbootBCD, What: "the boot configuration"},
		{Name: winpe.SDI, Path: dir + winpe.SDI, What: winpe.SDI},
	}
}
