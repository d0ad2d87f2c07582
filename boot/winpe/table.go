package winpe

import (
	"path"
	"slices"
	"strings"

	"castpoint/boot/bcd"
)

// Names of boot files as they are asked for.
const (
	BootManager     = "bootmgfw.efi"    // UEFI boot manager, signed under the CA of 2011
	BootManagerEX   = "bootmgfw_EX.efi" // the same, signed under the CA of 2023
	BootManagerBIOS = "bootmgr.exe"     // BIOS boot manager
	PXEBoot         = "pxeboot.n12"     // BIOS first stage, asks for no key
	PXEBootPrompt   = "pxeboot.com"     // BIOS first stage, asks for F12
	SDI             = "boot.sdi"        // the empty disk that the WIM is mounted in
	Trust           = "boot.stl"        // list of trusted signers
	Font            = "wgl4_boot.ttf"   // what the boot manager writes with
	RollbackPolicy  = "SkuSiPolicy.p7b" // see KB5042562
)

// bootFile says where a boot file is and what it is for. Paths have slashes.
type bootFile struct {
	name string
	// image lists places in a boot image, best first.
	image []string
	// media lists places on installation media and in the ADK's folders.
	media []string
	// need says which firmware cannot boot without it; both false: it is of use,
	// or needed by some machines.
	uefi, bios bool
	without    string
}

// bootFiles is what castpoint looks for. Places in images are those that
// wimboot and Microsoft's own tools take files from; the _EX folders hold the
// same files signed under the CA of 2023. Media places are those of Windows
// installation media and of the ADK's copype (bootbins).
func bootFiles() []bootFile {
	return []bootFile{
		{
			name: BootManager, uefi: true,
			image:   []string{"Windows/Boot/EFI/bootmgfw.efi"},
			media:   []string{"bootbins/bootmgfw.efi", "efi/microsoft/boot/bootmgfw.efi", "efi/boot/bootx64.efi", "efi/boot/bootaa64.efi", "efi/boot/bootia32.efi"},
			without: "no UEFI machine that trusts the CA of 2011 can boot this image by Microsoft's chain; what is left is iPXE with wimboot, without Secure Boot",
		},
		{
			name:    BootManagerEX,
			image:   []string{"Windows/Boot/EFI_EX/bootmgfw_EX.efi"},
			media:   []string{"bootbins/bootmgfw_EX.efi"},
			without: "machines whose firmware does not trust Microsoft's CA of 2011, or not any more, refuse to boot this image with Secure Boot on",
		},
		{
			name: SDI, uefi: true, bios: true,
			image:   []string{"Windows/Boot/DVD/EFI/boot.sdi", "Windows/Boot/DVD/PCAT/boot.sdi", "sms/boot/boot.sdi"},
			media:   []string{"boot/boot.sdi", "media/boot/boot.sdi"},
			without: "the boot manager can make no RAM disk and stops before the WIM; the file is on every Windows installation medium (boot/boot.sdi) and in the ADK (Media/boot/boot.sdi)",
		},
		{
			name:    Trust,
			image:   []string{"Windows/Boot/EFI/boot.stl"},
			media:   []string{"efi/microsoft/boot/boot.stl"},
			without: "boot managers of Windows 11 24H2 and newer do not start",
		},
		{
			name:    Font,
			image:   []string{"Windows/Boot/Fonts/wgl4_boot.ttf"},
			media:   []string{"efi/microsoft/boot/fonts/wgl4_boot.ttf", "boot/fonts/wgl4_boot.ttf"},
			without: "the boot manager's menu and error screens stay without text",
		},
		{
			name: PXEBoot, bios: true,
			image:   []string{"Windows/Boot/PXE/pxeboot.n12"},
			without: "no BIOS machine can boot this image by Microsoft's chain; what is left is iPXE with wimboot",
		},
		{
			name: BootManagerBIOS, bios: true,
			image:   []string{"Windows/Boot/PXE/bootmgr.exe"},
			without: "no BIOS machine can boot this image by Microsoft's chain; what is left is iPXE with wimboot",
		},
		{
			name:    PXEBootPrompt,
			image:   []string{"Windows/Boot/PXE/pxeboot.com"},
			without: "BIOS machines cannot be asked for F12 before they boot",
		},
		{
			// The image's own copy in System32/SecureBootUpdates is not served by
			// itself: whoever serves it decides that older boot files stop working.
			name:    RollbackPolicy,
			image:   []string{"Windows/Boot/EFI/SkuSiPolicy.p7b"},
			media:   []string{"efi/microsoft/boot/SkuSiPolicy.p7b"},
			without: "machines that took the mitigation of KB5042562 pass over this server without a word; others do not need it. Where there are such machines, put the file into a loader folder (it is in Windows/System32/SecureBootUpdates)",
		},
	}
}

// loaderPaths are the places of the loader that the boot manager starts out of
// the WIM.
func loaderPaths(fw bcd.Firmware) []string {
	name := "winload.efi"
	if fw == bcd.BIOS {
		name = "winload.exe"
	}
	return []string{`\Windows\System32\Boot\` + name, `\Windows\System32\` + name}
}

// archFolders are the names that people and Microsoft give folders of an
// architecture.
func archFolders(arch string) []string {
	switch arch {
	case "amd64":
		return []string{"x64", "amd64"}
	case "arm64":
		return []string{"arm64", "aa64"}
	case "386":
		return []string{"x86", "i386", "ia32"}
	}
	return nil
}

// places lists where a file that is asked for by name can be: paths in the
// image and paths in an extra folder, best first. name has slashes, no leading
// one and no "..". Both are empty for a name that no boot file has.
func places(name, arch string) (image, extra []string) {
	dir, base := path.Split(strings.ToLower(name))
	dir = strings.TrimSuffix(dir, "/")
	switch {
	case base == "" || base == "bcd" || strings.HasSuffix(base, ".wim"):
		return nil, nil
	case !knownFolder(dir):
	default:
		for _, f := range bootFiles() {
			if !strings.EqualFold(f.name, base) {
				continue
			}
			for _, folder := range archFolders(arch) {
				extra = append(extra, folder+"/"+f.name)
			}
			extra = append(extra, f.name)
			extra = append(extra, f.image...)
			return f.image, append(extra, f.media...)
		}
	}
	// What is left by its place below the boot manager's folder.
	rest := strings.TrimPrefix(strings.TrimPrefix(strings.ToLower(name), "efi/microsoft/"), "boot/")
	folder, file := path.Split(rest)
	switch {
	case folder == "fonts/" && strings.HasSuffix(file, "_ex.ttf"):
		image = []string{"Windows/Boot/Fonts_EX/" + file}
	case folder == "fonts/" && strings.HasSuffix(file, ".ttf"):
		image = []string{"Windows/Boot/Fonts/" + file}
	case folder == "resources/" || strings.HasPrefix(folder, "resources/"):
		image = []string{"Windows/Boot/" + rest}
	case strings.HasSuffix(file, ".mui"):
		image = []string{"Windows/Boot/EFI/" + rest, "Windows/Boot/PXE/" + rest, "Windows/Boot/PCAT/" + rest}
	case slices.Contains([]string{".p7b", ".pol", ".stl"}, path.Ext(file)):
		image = []string{"Windows/Boot/EFI/" + rest}
	case slices.Contains([]string{"wdsmgfw.efi", "abortpxe.com", "wdsnbp.com", "hdlscom1.com", "hdlscom1.n12", "hdlscom2.com", "hdlscom2.n12"}, rest):
		image = []string{"Windows/Boot/PXE/" + rest}
	default:
		return nil, nil
	}
	return image, append([]string{strings.ToLower(name), "efi/microsoft/boot/" + rest, "boot/" + rest}, image...)
}

// knownFolder tells the folders that loaders are asked for in: the root, those
// of installation media, and those of Windows Deployment Services.
func knownFolder(dir string) bool {
	switch dir {
	case "", "boot", "efi/boot", "efi/microsoft/boot", "fonts", "boot/fonts", "efi/microsoft/boot/fonts":
		return true
	}
	last := strings.TrimPrefix(dir, "boot/")
	return slices.Contains([]string{"x64", "amd64", "arm64", "aa64", "x86", "i386", "ia32"}, last)
}
