package deploy

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"castpoint/boot"
	"castpoint/deploy/sequence"
)

// State says whether a device may boot.
type State string

// The states.
const (
	StateKnown    State = "known"
	StateImported State = "imported" // known, and not seen yet
	StateWaiting  State = "waiting"  // it has asked, and nobody has answered
	StateDenied   State = "denied"
)

// States are all of them.
func States() []State { return []State{StateKnown, StateImported, StateWaiting, StateDenied} }

// Device is a machine on record.
type Device struct {
	ID        string            `json:"id"`
	Name      string            `json:"name,omitempty"`
	UUID      string            `json:"uuid,omitempty"`
	MACs      []string          `json:"macs,omitempty"`
	State     State             `json:"state"`
	Protected bool              `json:"protected,omitempty"` // changed by hand only
	Notes     string            `json:"notes,omitempty"`
	Groups    []string          `json:"groups,omitempty"`
	Variables map[string]string `json:"variables,omitempty"`
	Boot      BootSettings      `json:"boot,omitzero"`
	Seen      Sight             `json:"seen,omitzero"`
	Created   time.Time         `json:"created"`
	FirstSeen time.Time         `json:"first_seen,omitzero"`
	LastSeen  time.Time         `json:"last_seen,omitzero"`
	// Inventory is what its agent has found; nil before that. It is shared and not
	// changed in place.
	Inventory *Inventory `json:"inventory,omitempty"`

	change boot.Change // Boot.Settings, read
	// heard is when this process has last seen it, by the clock that nobody sets.
	heard time.Time
}

// Inventory are the facts of a machine as its agent has reported them.
type Inventory struct {
	Time time.Time `json:"time"`
	sequence.Facts
}

// BootSettings are what one device has instead of the settings of the server; zero
// fields are theirs.
type BootSettings struct {
	// Settings are words as boot.ParseChange reads them: chain=windows.
	Settings []string `json:"settings,omitempty"`
	Image    string   `json:"image,omitempty"`  // boot image, id or name
	Loader   string   `json:"loader,omitempty"` // first stage, a file below a loader folder
	Style    string   `json:"style,omitempty"`  // of ProxyDHCP
	Delay    *int     `json:"delay,omitempty"`  // seconds before a DISCOVER is answered
}

// Sight is how a device asked last.
type Sight struct {
	Firmware  string `json:"firmware,omitempty"` // as boot.Arch names it; iPXE behind it
	MAC       string `json:"mac,omitempty"`
	Interface string `json:"interface,omitempty"` // of the server
	Remote    string `json:"remote,omitempty"`    // its address, when known
}

// Label is what people know the device by: its name, else an address.
func (d *Device) Label() string {
	switch {
	case d.Name != "":
		return d.Name
	case len(d.MACs) > 0:
		return d.MACs[0]
	case d.UUID != "":
		return d.UUID
	}
	return d.ID
}

func (d *Device) clone() *Device {
	c := *d
	c.MACs, c.Groups, c.Variables = slices.Clone(d.MACs), slices.Clone(d.Groups), maps.Clone(d.Variables)
	c.Boot.Settings = slices.Clone(d.Boot.Settings)
	if d.Boot.Delay != nil {
		delay := *d.Boot.Delay
		c.Boot.Delay = &delay
	}
	return &c
}

// Errors of changes; branch with errors.Is.
var (
	ErrInvalid   = errors.New("not usable")
	ErrExists    = errors.New("another device has it")
	ErrNotFound  = errors.New("no such device")
	ErrAmbiguous = errors.New("more than one device")
	ErrProtected = errors.New("the device is protected")
)

// Limits of a record.
const (
	maxMACs      = 32
	maxGroups    = 64
	maxVariables = 256
	maxText      = 4096 // bytes of the notes, and of a variable's value
	maxDelay     = 30   // seconds
)

var (
	namePattern     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	variablePattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,62}$`)
	uuidPattern     = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	hexPattern      = regexp.MustCompile(`^[0-9a-f]+$`)
)

// ParseMAC reads a MAC as people write it and gives it as castpoint does, as in
// 52:54:00:12:34:56.
func ParseMAC(s string) (string, error) {
	s = strings.ToLower(strings.TrimSpace(s))
	if len(s) == 12 && hexPattern.MatchString(s) {
		s = s[0:2] + ":" + s[2:4] + ":" + s[4:6] + ":" + s[6:8] + ":" + s[8:10] + ":" + s[10:12]
	}
	mac, err := net.ParseMAC(s)
	if err != nil || len(mac) != 6 {
		return "", fmt.Errorf("%w: MAC %q: want one as in 52:54:00:12:34:56", ErrInvalid, s)
	}
	if mac[0]&1 != 0 || mac.String() == "00:00:00:00:00:00" {
		return "", fmt.Errorf("%w: MAC %s is no machine's: it is a group, or nothing", ErrInvalid, mac)
	}
	return mac.String(), nil
}

// ParseUUID reads a UUID as people and programs write it and gives it in canonical
// form, lower case.
func ParseUUID(s string) (string, error) {
	text := strings.Trim(strings.ToLower(strings.TrimSpace(s)), "{}")
	if len(text) == 32 && hexPattern.MatchString(text) {
		text = text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
	}
	if !uuidPattern.MatchString(text) {
		return "", fmt.Errorf("%w: UUID %q: want one as in 4c4c4544-0042-3510-8052-b3c04f4b4e32", ErrInvalid, s)
	}
	return text, nil
}

// otherOrder is the UUID with its first three fields in the other byte order: some
// firmware and many inventories disagree about it (SMBIOS 2.6 section 7.2.1).
func otherOrder(uuid string) string {
	if len(uuid) != 36 {
		return ""
	}
	return uuid[6:8] + uuid[4:6] + uuid[2:4] + uuid[0:2] + "-" + uuid[11:13] + uuid[9:11] + "-" + uuid[16:18] + uuid[14:16] + uuid[18:]
}

// normalize brings a record into the form that is kept, and checks what can be
// checked without the others.
func (d *Device) normalize() error {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
	}
	d.Name, d.Notes = strings.TrimSpace(d.Name), strings.TrimSpace(d.Notes)
	var err error
	if d.UUID != "" {
		if d.UUID, err = ParseUUID(d.UUID); err != nil {
			return err
		}
	}
	for i, mac := range d.MACs {
		if d.MACs[i], err = ParseMAC(mac); err != nil {
			return err
		}
		if slices.Contains(d.MACs[:i], d.MACs[i]) {
			return wrong("MAC %s is named twice", d.MACs[i])
		}
	}
	slices.Sort(d.Groups)
	d.Groups = slices.Compact(d.Groups)
	switch {
	case d.UUID == "" && len(d.MACs) == 0:
		return wrong("a device needs a UUID or a MAC to be known by")
	case d.Name != "" && !namePattern.MatchString(d.Name):
		return wrong("name %q: want up to 63 letters, digits, dots, hyphens and underscores, as in pc-17", d.Name)
	case !slices.Contains(States(), d.State):
		return wrong("state %q: want one of %s", d.State, join(States()))
	case len(d.MACs) > maxMACs || len(d.Groups) > maxGroups || len(d.Variables) > maxVariables:
		return wrong("at most %d MACs, %d groups and %d variables are kept", maxMACs, maxGroups, maxVariables)
	case !plain(d.Notes):
		return wrong("notes: want at most %d bytes of text", maxText)
	}
	for _, g := range d.Groups {
		if !namePattern.MatchString(g) {
			return wrong("group %q: want up to 63 letters, digits, dots, hyphens and underscores", g)
		}
	}
	for name, value := range d.Variables {
		if !variablePattern.MatchString(name) {
			return wrong("variable %q: want a name of letters, digits, dots, hyphens and underscores that begins with a letter", name)
		}
		if !plain(value) {
			return wrong("variable %s: want at most %d bytes of text", name, maxText)
		}
	}
	if d.change, err = boot.ParseChange(d.Boot.Settings); err != nil {
		return wrong("%v", err)
	}
	return d.Boot.check()
}

func (b *BootSettings) check() error {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
	}
	switch {
	case !slices.Contains([]string{"", "complete", "redirect", "menu", "raspberry-pi"}, b.Style):
		return wrong("style %q: want complete, redirect, menu or raspberry-pi", b.Style)
	case b.Delay != nil && (*b.Delay < 0 || *b.Delay > maxDelay):
		return wrong("delay %d: want 0 to %d seconds", *b.Delay, maxDelay)
	case !plain(b.Image) || strings.ContainsAny(b.Image, "/\n"):
		return wrong("boot image %q: want the id or name of a content", b.Image)
	}
	if b.Loader != "" {
		clean, err := boot.CleanName(b.Loader)
		if err != nil || clean == "" {
			return wrong("loader %q: want the name of a file below a loader folder, as in snponly.efi", b.Loader)
		}
		b.Loader = clean
	}
	return nil
}

// plain accepts text that is shown and exported as it is.
func plain(s string) bool {
	return len(s) <= maxText && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' && r != '\n' && r != '\t' || r == 0x7f
	})
}

func join[T ~string](list []T) string {
	var words []string
	for _, w := range list {
		words = append(words, string(w))
	}
	return strings.Join(words, ", ")
}
