package source

import (
	"fmt"
	"slices"
	"strings"

	"castpoint/boot"
	"castpoint/content"
)

// imageArchs are the boot image architectures that run on a family, best
// first. Every x86 machine that is deployed today has a 64-bit processor,
// whatever its firmware is.
func imageArchs(m boot.Machine) []string {
	switch m {
	case boot.MachineBIOS:
		return []string{"amd64", "386"}
	case boot.MachineEFIX64:
		return []string{"amd64"}
	case boot.MachineEFIIA32:
		return []string{"386"} // 32-bit UEFI starts 32-bit programs only
	case boot.MachineARM64:
		return []string{"arm64"}
	case boot.MachineARM32:
		return []string{"arm"}
	}
	return nil
}

// Nothing is why a machine boots nothing: what is wrong and what to do, for
// the person in front of the screen.
type Nothing struct {
	Why  string
	Next string
	Err  error // what the library said; nil for what is a setting
}

// PickImage chooses the boot image for a family of machines; want is the id or
// name of the configured one, "" for none. It returns either a content or the
// reason why there is none.
func PickImage(library Library, want string, m boot.Machine) (*content.Content, *Nothing) {
	if library == nil {
		return nil, &Nothing{Why: "This server has no content library.", Next: "Start castpoint serve with a library folder."}
	}
	list, err := library.List()
	if err != nil {
		return nil, &Nothing{"The content library cannot be read: " + err.Error(), "Look at the log of castpoint serve.", err}
	}
	archs := imageArchs(m)
	if len(archs) == 0 {
		return nil, &Nothing{Why: "The processor family of this machine is not known.", Next: "Add its architecture to the firmware table of the configuration."}
	}
	images := slices.DeleteFunc(slices.Clone(list), func(c *content.Content) bool { return c.Kind != content.KindBootImage })
	if want != "" {
		images = slices.DeleteFunc(images, func(c *content.Content) bool {
			return !strings.EqualFold(c.ID, want) && !strings.EqualFold(c.Name, want)
		})
		if len(images) == 0 {
			return nil, &Nothing{
				Why:  fmt.Sprintf("The configured boot image %s is not in the library.", want),
				Next: "Run castpoint content list, then correct the boot image setting or add the content.",
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
	case want != "":
		return nil, &Nothing{
			Why:  fmt.Sprintf("The configured boot image %s is for %s, and this machine is %s.", want, images[0].Arch, m.Name()),
			Next: "Configure a boot image for " + strings.Join(archs, " or ") + ".",
		}
	case len(images) == 0:
		return nil, &Nothing{
			Why:  "There is no boot image in the library.",
			Next: "On the server run: castpoint content add boot-image ...",
		}
	}
	return nil, &Nothing{
		Why:  fmt.Sprintf("No boot image in the library is for %s (%s).", strings.Join(archs, " or "), m.Name()),
		Next: "On the server run: castpoint content add boot-image ... --arch " + archs[0],
	}
}
