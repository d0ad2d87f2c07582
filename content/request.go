package content

import (
	"fmt"
	"strings"
)

// AddRequest says what to add. Only Kind and Path are required.
type AddRequest struct {
	Kind Kind
	// Path is the file to add: the WIM of an OS image or of a WinPE boot image,
	// the kernel of a Linux boot image, the folder of the other kinds. Instead of
	// a WIM or a folder it may be an ISO image that holds it.
	Path string
	// Initrd is the initramfs of a Linux boot image.
	Initrd string
	// Loaders has boot files that a WinPE boot image lacks, which are kept beside
	// it: a folder, an ISO image, or one file.
	Loaders string
	// Source is where the files came from originally, when that is not Path, such
	// as a URL.
	Source string

	Name    string // "": from the WIM, the kernel or the file's name
	Version string // "": from the WIM or the kernel, where they say
	Comment string
	// Language is a list of language tags with commas; "": from the WIM.
	Language string
	Programs []Program // of a package
	// Index chooses an image of a WIM. 0 means the only image, for a boot image
	// the one marked as bootable; in an OS image with several it leaves the
	// choice to whoever applies it.
	Index        int
	Arch         string // "": from the file; otherwise it must agree with the file
	Distribution Distribution

	// HardLink makes the files themselves objects of the library, where they are
	// on its file system and no clone can be made: nothing is copied, and they
	// become read-only. Writing to them afterwards would damage the content.
	HardLink bool

	// Progress, when not nil, is called from the goroutine of the call with
	// bytes read and in total.
	Progress func(done, total int64)
}

// Check says what is wrong with a request, whatever the files are.
func (r *AddRequest) Check() error {
	switch {
	case !knownKind(r.Kind):
		return fmt.Errorf("%w kind %q: use one of %s", ErrInvalid, r.Kind, kindNames())
	case r.Path == "":
		return fmt.Errorf("%w request: no path", ErrInvalid)
	case r.Initrd != "" && r.Kind != KindBootImage:
		return fmt.Errorf("%w request: only a boot image has an initramfs", ErrInvalid)
	case r.Index < 0:
		return fmt.Errorf("%w index %d", ErrInvalid, r.Index)
	}
	c := Content{
		Kind: r.Kind, Name: strings.TrimSpace(r.Name), Version: strings.TrimSpace(r.Version), Comment: strings.TrimSpace(r.Comment),
		Source: r.Source, Language: strings.TrimSpace(r.Language), Arch: r.Arch, Programs: r.Programs, Distribution: r.Distribution,
	}
	return c.checkSettings()
}
