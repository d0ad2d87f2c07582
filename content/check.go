package content

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of what people and files may call a content.
const (
	MaxName    = 200 // characters
	maxComment = 4000
	MaxID      = 48
	maxUnusual = 20
	maxPath    = 1024 // bytes of a file's path within a content
	MaxSource  = 4096 // PATH_MAX

	maxPrograms  = 100
	maxExitCodes = 100
	maxCommand   = 8191 // of cmd.exe
)

// Check says what is wrong with a content, whoever made it.
func (c *Content) Check() error {
	if !knownKind(c.Kind) {
		return fmt.Errorf("%w kind %q: use one of %s", ErrInvalid, c.Kind, kindNames())
	}
	if c.Name == "" {
		return fmt.Errorf("%w name: it is empty", ErrInvalid)
	}
	if err := c.checkSettings(); err != nil {
		return err
	}
	for _, u := range c.Unusual {
		if err := CheckText(u, maxComment, false); err != nil || len(c.Unusual) > maxUnusual {
			return fmt.Errorf("%w remark on the WIM: %v, or more than %d", ErrInvalid, err, maxUnusual)
		}
	}
	if c.Index < 0 || (len(c.Images) > 0 && c.Index > len(c.Images)) {
		return fmt.Errorf("%w index %d: the file has %s", ErrInvalid, c.Index, ImagesText(len(c.Images)))
	}
	return c.checkFiles()
}

// checkSettings checks what does not come from the files.
func (c *Content) checkSettings() error {
	for _, t := range []struct {
		field, value string
		most         int
		lines        bool
	}{
		{"name", c.Name, MaxName, false},
		{"version", c.Version, MaxName, false},
		{"comment", c.Comment, maxComment, true},
		{"source", c.Source, MaxSource, false},
		{"source", c.SourceInitrd, MaxSource, false},
		{"language", c.Language, MaxName, false},
	} {
		if err := CheckText(t.value, t.most, t.lines); err != nil {
			return fmt.Errorf("%w %s: %v", ErrInvalid, t.field, err)
		}
	}
	if err := CheckArch(c.Arch); err != nil {
		return err
	}
	if c.Distribution.MulticastOnly && !c.Distribution.Multicast {
		return fmt.Errorf("%w distribution: multicast only, but multicast is off", ErrInvalid)
	}
	switch c.Distribution.Priority {
	case "", PriorityLow, PriorityMedium, PriorityHigh:
	default:
		return fmt.Errorf("%w priority %q: use low, medium or high", ErrInvalid, c.Distribution.Priority)
	}
	return c.checkPrograms()
}

// checkPrograms checks the programs of a package.
func (c *Content) checkPrograms() error {
	if len(c.Programs) > 0 && c.Kind != KindPackage {
		return fmt.Errorf("%w program: a %s has none, only a package", ErrInvalid, c.Kind)
	}
	if len(c.Programs) > maxPrograms {
		return fmt.Errorf("%w program: %d, at most %d are allowed", ErrInvalid, len(c.Programs), maxPrograms)
	}
	seen := map[string]bool{}
	for _, p := range c.Programs {
		name := strings.ToLower(p.Name)
		switch {
		case p.Name == "" || p.Name != strings.TrimSpace(p.Name):
			return fmt.Errorf("%w program %q: its name is empty or begins or ends with a space", ErrInvalid, p.Name)
		case seen[name]:
			return fmt.Errorf("%w program %q: the name occurs twice", ErrInvalid, p.Name)
		case strings.TrimSpace(p.Command) == "":
			return fmt.Errorf("%w program %q: it has no command line", ErrInvalid, p.Name)
		case len(p.Success)+len(p.Reboot) > maxExitCodes:
			return fmt.Errorf("%w program %q: more than %d exit codes", ErrInvalid, p.Name, maxExitCodes)
		}
		seen[name] = true
		if err := errors.Join(CheckText(p.Name, MaxID, false), CheckText(p.Command, maxCommand, false)); err != nil {
			return fmt.Errorf("%w program %q: %v", ErrInvalid, p.Name, err)
		}
		if p.Folder != "" {
			if err := CheckPath(p.Folder); err != nil {
				return fmt.Errorf("%w program %q: folder: %v", ErrInvalid, p.Name, err)
			}
		}
		for _, code := range p.Reboot {
			if slices.Contains(p.Success, code) {
				return fmt.Errorf("%w program %q: exit code %d is both success and restart", ErrInvalid, p.Name, code)
			}
		}
	}
	return nil
}

// checkFiles checks the list of files.
func (c *Content) checkFiles() error {
	switch c.WinPE.Start {
	case "", StartShell, StartNet, StartNone:
	default:
		return fmt.Errorf("%w start %q: use %s, %s or %s", ErrInvalid, c.WinPE.Start, StartShell, StartNet, StartNone)
	}
	if _, ok := c.File(RoleImage); c.WinPE != (WinPE{}) && len(c.Files) > 0 && (!ok || c.Kind != KindBootImage) {
		return fmt.Errorf("%w settings: start and prompt are those of a Windows boot image", ErrInvalid)
	}
	names := map[string]bool{}
	for _, f := range c.Files {
		switch f.Role {
		case RoleImage, RolePart, RoleKernel, RoleInitrd, RoleFile, RoleAttached:
		default:
			return fmt.Errorf("%w file %q: its role %q is not known", ErrInvalid, f.Name, f.Role)
		}
		key := string(f.Role) + " " + strings.ToLower(f.Name)
		if names[key] {
			return fmt.Errorf("%w file %q: the name occurs twice", ErrInvalid, f.Name)
		}
		names[key] = true
		if err := CheckPath(f.Name); err != nil {
			return fmt.Errorf("%w file name: %v", ErrInvalid, err)
		}
		if f.Size < 0 || f.Size > MaxObjectSize {
			return fmt.Errorf("%w file %s: size %d", ErrInvalid, f.Name, f.Size)
		}
	}
	return nil
}

// CheckText refuses what would garble a terminal, a log line or a page.
func CheckText(s string, most int, lines bool) error {
	if !utf8.ValidString(s) {
		return fmt.Errorf("it is not UTF-8")
	}
	if n := utf8.RuneCountInString(s); n > most {
		return fmt.Errorf("%d characters, at most %d are allowed", n, most)
	}
	for _, r := range s {
		if lines && (r == '\n' || r == '\t') {
			continue
		}
		if !unicode.IsPrint(r) {
			return fmt.Errorf("character %q is not printable", r)
		}
	}
	return nil
}

// Printable makes text from a foreign file pass checkText.
func Printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, " "))
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > MaxName {
		s = strings.TrimSpace(string(r[:MaxName]))
	}
	return s
}

// CheckArch accepts Go's names of the architectures that machines boot with.
func CheckArch(arch string) error {
	switch arch {
	case "", "amd64", "arm64", "386", "arm":
		return nil
	}
	return fmt.Errorf("%w architecture %q: use amd64, arm64, 386 or arm", ErrInvalid, arch)
}

// CheckPath accepts a relative path with "/" that is safe on Linux and Windows:
// it stays within its folder and has no name that Windows cannot store.
func CheckPath(p string) error {
	if p == "" || len(p) > maxPath || !utf8.ValidString(p) {
		return fmt.Errorf("%q is empty, longer than %d bytes or not UTF-8", p, maxPath)
	}
	if path.Clean(p) != p || path.IsAbs(p) || p == "." || p == ".." || strings.HasPrefix(p, "../") {
		return fmt.Errorf("%q does not stay in its folder", p)
	}
	for _, r := range p {
		if r < ' ' || r == 0x7f || strings.ContainsRune(`\:*?"<>|`, r) {
			return fmt.Errorf("%q has the character %q, which Windows file names cannot have", p, r)
		}
	}
	for part := range strings.SplitSeq(p, "/") {
		if strings.HasSuffix(part, ".") || strings.HasSuffix(part, " ") {
			return fmt.Errorf("%q has a part that ends with a dot or space, which Windows file names cannot", p)
		}
		if isDevice(part) {
			return fmt.Errorf("%q has a part that is a device name on Windows", p)
		}
	}
	return nil
}

// isDevice says whether a name is one of those that Windows keeps for devices, whatever
// its extension is.
func isDevice(name string) bool {
	base, _, _ := strings.Cut(strings.ToUpper(name), ".")
	switch base = strings.TrimRight(base, " "); base {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	port, ok := strings.CutPrefix(base, "COM")
	if !ok {
		port, ok = strings.CutPrefix(base, "LPT")
	}
	// Windows takes the superscripts of Latin-1 for digits, too.
	return ok && utf8.RuneCountInString(port) == 1 && strings.ContainsAny(port, "123456789¹²³")
}

// ValidID says whether s has the form of an ID: lower-case letters, digits and
// single hyphens between them.
func ValidID(s string) bool {
	if s == "" || len(s) > MaxID || s[0] == '-' || s[len(s)-1] == '-' || strings.Contains(s, "--") {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" // all of s is in the set
}

// ImagesText says which images a WIM has.
func ImagesText(n int) string {
	switch n {
	case 0:
		return "no images"
	case 1:
		return "one image, 1"
	}
	return fmt.Sprintf("images 1 to %d", n)
}
