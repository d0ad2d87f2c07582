package boot

import (
	"fmt"
	"slices"
	"strings"

	"go.uber.org/zap"

	"castpoint/content"
)

// machineNames are the families as people call them.
var machineNames = map[Machine]string{
	MachineBIOS:    "BIOS x86",
	MachineEFIIA32: "UEFI IA32",
	MachineEFIX64:  "UEFI x64",
	MachineARM32:   "UEFI ARM32",
	MachineARM64:   "UEFI ARM64",
}

// imageArchs are the boot image architectures that run on a family, best
// first. Every x86 machine that is deployed today has a 64-bit processor,
// whatever its firmware is.
func imageArchs(m Machine) []string {
	switch m {
	case MachineBIOS:
		return []string{"amd64", "386"}
	case MachineEFIX64:
		return []string{"amd64"}
	case MachineEFIIA32:
		return []string{"386"} // 32-bit UEFI starts 32-bit programs only
	case MachineARM64:
		return []string{"arm64"}
	case MachineARM32:
		return []string{"arm"}
	}
	return nil
}

// nothing is why a machine boots nothing: what is wrong and what to do, for
// the person in front of the screen.
type nothing struct {
	Why  string
	Next string
}

// pickImage chooses the boot image for a family of machines. It returns either
// a content or the reason why there is none.
func (f *Files) pickImage(m Machine) (*content.Content, *nothing) {
	if f.cfg.Library == nil {
		return nil, &nothing{"This server has no content library.", "Start castpoint serve with a library folder."}
	}
	list, err := f.cfg.Library.List()
	if err != nil {
		f.log.Error("listing boot images failed", zap.Error(err))
		return nil, &nothing{"The content library cannot be read: " + err.Error(), "Look at the log of castpoint serve."}
	}
	archs := imageArchs(m)
	if len(archs) == 0 {
		return nil, &nothing{"The processor family of this machine is not known.", "Add its architecture to the firmware table of the configuration."}
	}
	images := slices.DeleteFunc(slices.Clone(list), func(c *content.Content) bool { return c.Kind != content.KindBootImage })
	if want := f.cfg.BootImage; want != "" {
		images = slices.DeleteFunc(images, func(c *content.Content) bool {
			return !strings.EqualFold(c.ID, want) && !strings.EqualFold(c.Name, want)
		})
		if len(images) == 0 {
			return nil, &nothing{
				fmt.Sprintf("The configured boot image %s is not in the library.", want),
				"Run castpoint content list, then correct the boot image setting or add the content.",
			}
		}
	}
	// Fit first (a known architecture before one that was not recorded), then
	// the newest.
	rank := func(c *content.Content) int {
		if c.Arch == "" {
			return len(archs)
		}
		return slices.Index(archs, c.Arch)
	}
	var best *content.Content
	for _, c := range images {
		switch {
		case rank(c) < 0:
		case best == nil, rank(c) < rank(best), rank(c) == rank(best) && c.Created.After(best.Created):
			best = c
		}
	}
	switch {
	case best != nil:
		return best, nil
	case f.cfg.BootImage != "":
		return nil, &nothing{
			fmt.Sprintf("The configured boot image %s is for %s, and this machine is %s.", f.cfg.BootImage, images[0].Arch, machineNames[m]),
			"Configure a boot image for " + strings.Join(archs, " or ") + ".",
		}
	case len(images) == 0:
		return nil, &nothing{
			"There is no boot image in the library.",
			"On the server run: castpoint content add boot-image ...",
		}
	}
	return nil, &nothing{
		fmt.Sprintf("No boot image in the library is for %s (%s).", strings.Join(archs, " or "), machineNames[m]),
		"On the server run: castpoint content add boot-image ... --arch " + archs[0],
	}
}
