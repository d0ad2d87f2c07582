package tftp

import (
	"fmt"
	"strings"
)

// maxName is the longest file name that is looked at, in bytes.
const maxName = 512

// cleanName turns the name of a request into a slash-separated relative path.
// The Windows boot manager separates by backslashes and starts with one, or with
// "/\"; GRUB and iPXE double slashes. Letter case is kept: who opens the file
// decides about it. The errors match ErrForbidden, ErrNotFound or ErrIllegal.
func cleanName(name string) (string, error) {
	if len(name) > maxName {
		return "", fmt.Errorf("%w: the file name is longer than %d bytes", ErrIllegal, maxName)
	}
	for i := range len(name) {
		if name[i] < ' ' || name[i] == 0x7f {
			return "", fmt.Errorf("%w: the file name holds a control character", ErrIllegal)
		}
	}
	parts := strings.FieldsFunc(name, func(r rune) bool { return r == '/' || r == '\\' })
	kept := parts[:0]
	for _, p := range parts {
		switch p {
		case ".":
		case "..":
			return "", fmt.Errorf("%w: the file name leads upwards (..)", ErrForbidden)
		default:
			kept = append(kept, p)
		}
	}
	if len(kept) == 0 {
		return "", fmt.Errorf("%w: the request names no file", ErrNotFound)
	}
	return strings.Join(kept, "/"), nil
}

// ordinaryMiss tells whether a boot that goes well asks for this file although
// nothing needs it, so that its absence is not worth a warning. The names are
// those that a signed Windows boot manager, and Debian's shim and GRUB, asked for
// under OVMF, got no answer to, and went on; docs/tftp.md has the order.
func ordinaryMiss(path string) bool {
	p := strings.ToLower(path)
	switch {
	case p == "bcd": // asked before Boot/BCD or the store of DHCP option 252
		return true
	case p == "efi/microsoft/recovery/bcd": // newer ones, before EFI/Microsoft/Boot/BCD
		return true
	case p == "autoexec.ipxe" || strings.HasSuffix(p, "/autoexec.ipxe"): // newer iPXE, beside itself
		return true
	case strings.HasSuffix(p, ".mui"): // texts of the boot manager's menus
		return true
	case strings.HasPrefix(p, "efi/microsoft/boot/"): // code integrity policies
		return strings.HasSuffix(p, ".p7b") || strings.HasSuffix(p, ".pol")
	case strings.HasPrefix(p, "grub/"): // lists of modules, fonts, texts; shim's revocations and certificates
		for _, part := range []string{".lst", ".mod", ".mo", ".gz", ".pf2", "/grub.cfg"} {
			if strings.HasSuffix(p, part) {
				return true
			}
		}
		return strings.Contains(p, "/revocations") || strings.Contains(p, "/shim_certificate")
	}
	return false
}
