// Package content says what contents are, which people name and configure, and the
// immutable objects that they are made of. Package library keeps them on the disk,
// package inspect finds out what a file is before it becomes one.
//
// Terms:
//
//   - an object is one file, stored once, named by the SHA-256 of its bytes,
//     never changed after it has appeared;
//   - a manifest lists an object's size and the hash of each of its blocks, so
//     that a receiver can check every block before it trusts it;
//   - a content is a named thing an admin works with (an OS image, a boot image)
//     and refers to one or more objects.
package content

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"castpoint/content/wim"
)

// Digest is the SHA-256 of an object's bytes, and so the object's name.
type Digest [32]byte

// String is the digest in lower-case hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText writes the digest in hexadecimal.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (d *Digest) UnmarshalText(b []byte) error {
	if hex.DecodedLen(len(b)) != len(d) {
		return fmt.Errorf("digest %q: want %d hexadecimal digits, have %d", b, 2*len(d), len(b))
	}
	_, err := hex.Decode(d[:], b)
	return err
}

// ParseDigest reads what String wrote, in no other form.
func ParseDigest(s string) (d Digest, ok bool) {
	if d.UnmarshalText([]byte(s)) != nil || d.String() != s {
		return Digest{}, false
	}
	return d, true
}

// Kind says what a content is for.
type Kind string

// The kinds of content.
const (
	KindOSImage       Kind = "os-image"       // a WIM that is applied to a machine's disk
	KindBootImage     Kind = "boot-image"     // a WinPE WIM, or a Linux kernel and initramfs
	KindOSUpgrade     Kind = "os-upgrade"     // the files of Windows setup media
	KindDriverPackage Kind = "driver-package" // a folder of drivers
	KindPackage       Kind = "package"        // any folder
)

// Kinds lists all kinds of content.
func Kinds() []Kind {
	return []Kind{KindOSImage, KindBootImage, KindOSUpgrade, KindDriverPackage, KindPackage}
}

func knownKind(k Kind) bool { return slices.Contains(Kinds(), k) }

func kindNames() string {
	var names []string
	for _, k := range Kinds() {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}

// Folder says whether contents of the kind are trees of files.
func (k Kind) Folder() bool {
	return k == KindOSUpgrade || k == KindDriverPackage || k == KindPackage
}

// Role says what an object is within its content.
type Role string

// Roles of objects.
const (
	RoleImage  Role = "image"  // the WIM of an OS image or of a WinPE boot image
	RolePart   Role = "part"   // one of the further files of a split WIM, whose first is the image
	RoleKernel Role = "kernel" // Linux kernel of a boot image
	RoleInitrd Role = "initrd" // initramfs of a boot image
	RoleFile   Role = "file"   // one of the files of a folder
	// RoleAttached is a file that machines find in a Windows boot image beside what
	// the image holds; its name is the path in the image.
	RoleAttached Role = "attached"
)

// File is one object of a content, with the name it had when it was added.
type File struct {
	Role Role `json:"role"`
	// Name is the file's name when it was added: a base name, or for the kinds
	// that are folders the path within the folder, with "/".
	Name   string `json:"name"`
	Size   int64  `json:"size"` // bytes
	Digest Digest `json:"sha256"`
}

// Distribution holds the settings that say how a content may travel.
type Distribution struct {
	Multicast     bool `json:"multicast"`      // may be sent in a multicast session
	Encrypt       bool `json:"encrypt"`        // multicast sessions of it are encrypted
	MulticastOnly bool `json:"multicast_only"` // unicast fall-back is refused
	// Priority says what goes first where contents compete for a line; "" is
	// PriorityMedium.
	Priority Priority `json:"priority,omitempty"`
}

// Priority orders contents that compete.
type Priority string

// Priorities.
const (
	PriorityLow    Priority = "low"
	PriorityMedium Priority = "medium"
	PriorityHigh   Priority = "high"
)

// Program is a named command line of a package.
type Program struct {
	Name    string `json:"name"`
	Command string `json:"command"` // a command line, run in Folder
	// Folder is where it runs, relative to the package; "" is its top.
	Folder string `json:"folder,omitempty"`
	// Success lists the exit codes that mean success, Reboot those that mean
	// success and that the machine must restart. Where both are left out they are
	// those of Windows Installer: 0, and 3010 (ERROR_SUCCESS_REBOOT_REQUIRED) and
	// 1641 (ERROR_SUCCESS_REBOOT_INITIATED).
	Success []int `json:"success,omitempty"`
	Reboot  []int `json:"reboot,omitempty"`
}

// WithCodes copies programs and gives those their exit codes that have none.
func WithCodes(programs []Program) []Program {
	programs = slices.Clone(programs)
	for i := range programs {
		if p := &programs[i]; p.Success == nil && p.Reboot == nil {
			p.Success, p.Reboot = []int{0}, []int{3010, 1641}
		}
	}
	return programs
}

// Checked is the result of the last validation of a content.
type Checked struct {
	Time time.Time `json:"time"`
	// Problem is what was wrong; "" when all files were good.
	Problem string `json:"problem,omitempty"`
}

// WinPE holds the settings of a Windows boot image.
type WinPE struct {
	// Start says what starts castpoint's agent; "" is StartShell.
	Start Start `json:"start,omitempty"`
	// Prompt allows a command prompt on the machine: by F8, and after a failure.
	Prompt bool `json:"prompt,omitempty"`
}

// Start is the file of a Windows boot image that starts castpoint's agent.
type Start string

// What starts the agent.
const (
	// StartShell: winpeshl.ini, before everything that the image starts itself.
	StartShell Start = "winpeshl.ini"
	// StartNet: startnet.cmd, as images from Microsoft's ADK start their programs.
	StartNet Start = "startnet.cmd"
	// StartNone: the agent is there, and the image's own programs start it or not.
	StartNone Start = "none"
)

// Content is one entry of the library.
type Content struct {
	ID      string `json:"id"` // short, unique, stable; made when the content is added
	Kind    Kind   `json:"kind"`
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	Comment string `json:"comment,omitempty"`
	// Source is where the files came from: an absolute path on this host, or a
	// URL. Repair looks there.
	Source string `json:"source,omitempty"`
	// SourceInitrd is where the initramfs came from, when Source is a kernel.
	SourceInitrd string `json:"source_initrd,omitempty"`
	// Language is a list of language tags, as in "en-US, de-DE"; "" when unknown.
	Language string `json:"language,omitempty"`
	Arch     string `json:"arch,omitempty"` // amd64, arm64, 386, arm; "" when unknown
	// Index is the image inside the WIM that is meant. It is 0 when the content
	// is no WIM, and when the WIM has several images and none was chosen.
	Index int `json:"index,omitempty"`
	// Images is what the WIM says of its images, all of them.
	Images []wim.Image `json:"images,omitempty"`
	// Unusual says what about the WIM keeps it from being used everywhere, and
	// what that means.
	Unusual []string `json:"unusual,omitempty"`
	// Integrity says that the WIM's own integrity table was checked when it was
	// added; false when it has none.
	Integrity    bool         `json:"integrity,omitempty"`
	Files        []File       `json:"files"`
	Programs     []Program    `json:"programs,omitempty"` // of a package
	Distribution Distribution `json:"distribution"`
	// WinPE is how a Windows boot image starts.
	WinPE    WinPE     `json:"winpe,omitzero"`
	Created  time.Time `json:"created"`
	Updated  time.Time `json:"updated"`
	Revision int       `json:"revision"` // counts from 1
	// Checked is nil when this revision was never validated since it was added.
	Checked *Checked `json:"checked,omitempty"`
}

// Size is that of all its files, in bytes.
func (c *Content) Size() (n int64) {
	for _, f := range c.Files {
		n += f.Size
	}
	return n
}

// File returns the content's object with the given role.
func (c *Content) File(r Role) (File, bool) {
	for _, f := range c.Files {
		if f.Role == r {
			return f, true
		}
	}
	return File{}, false
}

// BlockSize is the size of every block but an object's last, in bytes. It is
// 128 symbols of 1408 bytes (the payload of one datagram on a 1500-byte link),
// and also 22 symbols of 8192 bytes (jumbo frames) and 176 of 1024 bytes (the
// smallest IPv6 link), so one manifest serves every link.
const BlockSize = 180224

// HashSize is the size of a block hash (BLAKE3-256) in bytes.
const HashSize = 32

// Manifest describes one object block by block.
type Manifest struct {
	Digest    Digest
	Size      int64
	BlockSize int
	// Hashes is the BLAKE3-256 hash of every block, one after the other.
	Hashes []byte
}

// Blocks is the number of blocks.
func (m *Manifest) Blocks() int { return len(m.Hashes) / HashSize }
