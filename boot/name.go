package boot

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
)

// Errors of opening a boot file, told apart with errors.Is.
var (
	// ErrNotFound: there is no boot file of that name.
	ErrNotFound = errors.New("boot file not found")
	// ErrForbidden: the name is refused whether or not such a file exists.
	ErrForbidden = errors.New("boot file not allowed")
)

// maxName is the longest name that is looked at, in bytes. TFTP requests fit
// in 512 bytes, and no name of ours comes near.
const maxName = 512

// CleanName brings a name as firmware sends it to the form boot files are kept
// under: `\` becomes `/`, empty and "." parts go, so do leading slashes. Letter
// case is kept; comparing ignores it. The result may be "".
//
// A name with ".." in it, with control characters, or longer than 512 bytes is
// refused with [ErrForbidden].
func CleanName(name string) (string, error) {
	if len(name) > maxName {
		return "", fmt.Errorf("%w: name of %d bytes, at most %d are accepted", ErrForbidden, len(name), maxName)
	}
	// Old PXE ROMs copy one byte too many out of option 67 and send the end
	// option (0xff) as part of the name.
	for len(name) > 0 && (name[len(name)-1] == 0xff || name[len(name)-1] == 0) {
		name = name[:len(name)-1]
	}
	name = strings.ReplaceAll(name, `\`, "/")
	var parts []string
	for part := range strings.SplitSeq(name, "/") {
		switch part {
		case "", ".":
			continue
		case "..":
			return "", fmt.Errorf("%w: %q leads out of the boot files", ErrForbidden, name)
		}
		for _, r := range part {
			if r < 0x20 || r == 0x7f {
				return "", fmt.Errorf("%w: %q has a control character in it", ErrForbidden, name)
			}
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "/"), nil
}

// ScriptDir is the folder of the per-device scripts in the name space. A
// script's name is ipxe/[MACHINE/]MAC, ipxe/[MACHINE/]UUID or
// ipxe/[MACHINE/]MAC/UUID.
const ScriptDir = "ipxe"

var uuidText = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// ValidUUID tells a UUID in canonical form from one that identifies nothing.
func ValidUUID(s string) bool { return uuidText.MatchString(s) && !SharedUUID(s) }

// DeviceName is how a path spells a device: its MAC with hyphens when known,
// else its UUID, else "".
func DeviceName(c Client) string {
	if len(c.MAC) > 0 {
		return c.MACHyphen()
	}
	if ValidUUID(c.UUID) {
		return c.UUID
	}
	return ""
}

// ScriptName is the name of the client's script. It carries what DHCP said
// about the machine, because an HTTP request for the script says nothing.
func ScriptName(m Machine, c Client) string {
	parts := []string{ScriptDir}
	if m != MachineUnknown {
		parts = append(parts, string(m))
	}
	id := DeviceName(c)
	parts = append(parts, id)
	if id != c.UUID && ValidUUID(c.UUID) {
		parts = append(parts, c.UUID)
	}
	return strings.Join(parts, "/")
}

// ParseDevice reads one device part of a path into c: a MAC with hyphens or
// colons, or a UUID. It accepts nothing else, because what it accepts ends up
// in scripts and on kernel command lines.
func ParseDevice(c *Client, part string) bool {
	part = strings.ToLower(part)
	if uuidText.MatchString(part) {
		if ValidUUID(part) {
			c.UUID = part
		}
		return true
	}
	if len(part) != len("00-00-00-00-00-00") {
		return false
	}
	mac, err := net.ParseMAC(part)
	if err != nil || len(mac) != 6 {
		return false
	}
	c.MAC = mac
	return true
}

// FamilyArch maps a machine part of a script path to the option 93 value it
// stands for. Beside the names of Machine it takes what iPXE makes out of
// ${platform}-${buildarch}.
func FamilyArch(part string) (Arch, bool) {
	switch strings.ToLower(part) {
	case string(MachineBIOS), "pcbios-i386", "pcbios-x86_64":
		return ArchBIOS, true
	case string(MachineEFIIA32), "efi-i386":
		return ArchEFIIA32, true
	case string(MachineEFIX64), "efi-x86_64":
		return ArchEFIX64, true
	case string(MachineARM32):
		return ArchEFIARM32, true
	case string(MachineARM64):
		return ArchEFIARM64, true
	}
	return 0, false
}

// ScriptAsker reads the path of a script, already cleaned, and adds to c what
// it says. ok is false when the path is not a script's.
func ScriptAsker(c Client, name string) (_ Client, ok bool) {
	parts := strings.Split(name, "/")
	if !strings.EqualFold(parts[0], ScriptDir) || len(parts) < 2 || len(parts) > 4 {
		return c, false
	}
	parts = parts[1:]
	if arch, ok := FamilyArch(parts[0]); ok {
		c.Arch, c.HasArch = arch, true
		parts = parts[1:]
	}
	if len(parts) == 0 || len(parts) > 2 {
		return c, false
	}
	// The name says which machine it is, whoever has the address that asks; what
	// is known of that one completes it when it is the same.
	asker := c
	c.MAC, c.UUID = nil, ""
	for _, part := range parts {
		if !ParseDevice(&c, part) {
			return asker, false
		}
	}
	switch {
	case c.UUID == "" && bytes.Equal(c.MAC, asker.MAC):
		c.UUID = asker.UUID
	case len(c.MAC) == 0 && c.UUID == asker.UUID:
		c.MAC = asker.MAC
	}
	if DeviceName(c) == "" {
		return c, false
	}
	c.IPXE = true
	return c, true
}

// ScriptClient says whether a name is that of a machine's script, and what the
// name says about the machine.
func ScriptClient(name string) (Client, bool) {
	clean, err := CleanName(name)
	if err != nil {
		return Client{}, false
	}
	return ScriptAsker(Client{}, clean)
}

// GRUBDir is the folder of what machines get that boot by shim and GRUB:
// grub/MACHINE/DEVICE/FILE. GRUB's own prefix /grub is the same folder: signed
// netboot images of Debian and Ubuntu have it built in.
const GRUBDir = "grub"

// GRUBFolder is a machine's folder below [GRUBDir]: grub/MACHINE[/MAC][/UUID].
func GRUBFolder(m Machine, c Client) string {
	return strings.TrimSuffix(GRUBDir+"/"+strings.TrimPrefix(ScriptName(m, c), ScriptDir+"/"), "/")
}

// LocalProgram is the program that sends a BIOS machine on to its next boot device.
const LocalProgram = "local.0"

// NothingToDo is a file that does not exist.
const NothingToDo = "nothing-to-do.efi"
