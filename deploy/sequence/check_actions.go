package sequence

import (
	"net"
	"net/netip"
	"reflect"
	"regexp"
	"strings"
	"time"
)

func valueOf(a Action) reflect.Value { return reflect.ValueOf(a) }

// Layouts of partition-disk, as lists of partitions.
const (
	LayoutWindows = "windows"
	LayoutLinux   = "linux"
	LayoutData    = "data"
)

// Volumes of the layouts.
const (
	VolumeSystem   = "System"
	VolumeWindows  = "Windows"
	VolumeRecovery = "Recovery"
	VolumeRoot     = "Root"
	VolumeData     = "Data"
)

// Layout is the list of partitions that a layout stands for; nil for none.
func Layout(name string) []Partition {
	const mib = 1 << 20
	rest := Extent{Rest: true}
	switch name {
	case LayoutWindows:
		return []Partition{
			{Name: VolumeSystem, Type: PartitionESP, Size: Extent{Bytes: 300 * mib}, Format: "fat32", Firmware: FirmwareUEFI},
			{Name: "Reserved", Type: PartitionMSR, Size: Extent{Bytes: 16 * mib}, Format: "none", Firmware: FirmwareUEFI},
			{Name: VolumeSystem, Type: PartitionData, Size: Extent{Bytes: 500 * mib}, Format: "ntfs", Firmware: FirmwareBIOS, Active: true},
			{Name: VolumeWindows, Type: PartitionData, Size: rest, Format: "ntfs"},
			{Name: VolumeRecovery, Type: PartitionRecovery, Size: Extent{Bytes: 1024 * mib}, Format: "ntfs"},
		}
	case LayoutLinux:
		return []Partition{
			{Name: VolumeSystem, Type: PartitionESP, Size: Extent{Bytes: 300 * mib}, Format: "fat32", Firmware: FirmwareUEFI},
			{Name: "BIOS", Type: PartitionBIOSBoot, Size: Extent{Bytes: mib}, Format: "none", Firmware: FirmwareBIOS},
			{Name: VolumeRoot, Type: PartitionLinux, Size: rest, Format: "ext4"},
		}
	case LayoutData:
		return []Partition{{Name: VolumeData, Type: PartitionData, Size: rest, Format: "ntfs"}}
	}
	return nil
}

// List is the partitions, whether they are listed or stand behind a layout.
func (a *PartitionDisk) List() []Partition {
	if a.Layout != "" {
		return Layout(a.Layout)
	}
	return a.Partitions
}

// diskPattern is what selects a disk; all is for wipe-disk.
var diskPattern = regexp.MustCompile(`^([0-9]{1,3}|first|smallest|largest|serial:.+|/dev/.+|\\\\\.\\.+|.*\$\{.*)?$`)

func (c *checker) disk(field, text string) {
	if !diskPattern.MatchString(text) {
		c.wrong(field, "%q: want a number, first, smallest, largest, serial:TEXT or a path", text)
	}
}

func (a *PartitionDisk) check(c *checker) {
	c.disk("disk", a.Disk)
	switch {
	case a.Layout != "" && a.Partitions != nil:
		c.wrong("layout", "either a layout or partitions, not both")
	case a.Layout == "" && len(a.Partitions) == 0:
		c.wrong("partitions", "is missing: want partitions, or a layout")
	}
	for _, firmware := range []string{FirmwareUEFI, FirmwareBIOS} {
		a.checkFor(c, firmware)
	}
	for _, p := range a.List() {
		c.sets("partitions", p.Variable)
		c.volumes[p.Name] = true
	}
}

// checkFor checks the partitions that a machine with that firmware gets.
func (a *PartitionDisk) checkFor(c *checker, firmware string) {
	names, letters := make(map[string]bool), make(map[string]bool)
	rest, share := 0, 0.0
	for _, p := range a.List() {
		if p.Firmware != "" && p.Firmware != FirmwareAny && p.Firmware != firmware {
			continue
		}
		switch letter := strings.ToUpper(strings.TrimSuffix(p.Letter, ":")); {
		case !namePattern.MatchString(p.Name):
			c.wrong("partitions", "name %q: want up to 63 letters, digits, dots, hyphens and underscores", p.Name)
		case names[p.Name]:
			c.wrong("partitions", "two partitions are called %s on machines with %s", p.Name, strings.ToUpper(firmware))
		case letter != "" && (len(letter) != 1 || letter < "C" || letter > "Z"):
			c.wrong("partitions", "%s: letter %q: want C to Z", p.Name, p.Letter)
		case letter != "" && letters[letter]:
			c.wrong("partitions", "two partitions have the letter %s", letter)
		case p.Size.IsZero():
			c.wrong("partitions", "%s: size is missing", p.Name)
		case p.Active && (a.Table == "gpt" || firmware == FirmwareUEFI && a.Table != "mbr" && p.Firmware == FirmwareUEFI):
			c.wrong("partitions", "%s: active is for MBR", p.Name)
		default:
			letters[letter] = true
		}
		names[p.Name] = true
		share += p.Size.Share
		if p.Size.Rest {
			rest++
		}
	}
	if rest > 1 {
		c.wrong("partitions", "%d partitions take the rest, one can", rest)
	}
	if share > 100 || share == 100 && rest > 0 {
		c.wrong("partitions", "the shares are %.4g%% together and leave nothing", share)
	}
	if a.Table == "mbr" && len(names) > 4 {
		c.wrong("partitions", "%d partitions do not fit in an MBR, which has room for 4", len(names))
	}
}

func (a *WipeDisk) check(c *checker) {
	if a.Disk != "all" {
		c.disk("disk", a.Disk)
	}
	if a.Passes < 0 || a.Passes > 7 {
		c.wrong("passes", "%d: want 1 to 7", a.Passes)
	}
	if c.sequence.Environment == EnvironmentWindowsPE && (a.Method == WipeRandom || a.Method == WipeSecureErase) {
		c.wrong("method", "Windows PE cannot do %s: take zero, or environment: linux", a.Method)
	}
	if a.Passes > 1 && a.Method != WipeZero && a.Method != WipeRandom {
		c.warn("passes", "are for the methods zero and random")
	}
	clear(c.volumes)
}

func (s *Source) check(c *checker) {
	switch {
	case s.From == FromLocal && s.Path == "":
		c.wrong("path", "is missing: from: local needs the file")
	case s.From == FromLocal && s.Content != "":
		c.wrong("content", "is not used with from: local")
	case s.From != FromLocal && s.Content == "":
		c.wrong("content", "is missing: want the id or name of a content")
	case s.From != FromLocal && s.Path != "":
		c.wrong("path", "is for from: local only")
	case s.From != FromLocal:
		c.content("content", s.Content)
	}
}

// content checks the name of a content. One that is known only when the step runs
// has to be listed.
func (c *checker) content(field, name string) {
	if strings.Contains(name, "${") && len(c.sequence.Contents) == 0 {
		c.warn(field, "which content %s is must be known when the sequence begins: list the contents that it may be in contents:", name)
	}
}

func (a *ApplyImage) check(c *checker) {
	a.Source.check(c)
	c.volume("target", a.Target)
	if c.sequence.Environment == EnvironmentLinux && a.Compact {
		c.wrong("compact", "only Windows PE can: leave it out, or take environment: windows-pe")
	}
	c.applied, c.bootable = true, false
}

func (a *ApplyDataImage) check(c *checker) {
	a.Source.check(c)
	c.volume("target", a.Target)
}

func (a *InstallBootloader) check(c *checker) {
	c.volume("os", a.OS)
	if a.System != "" {
		c.volume("system", a.System)
	}
	if c.sequence.Environment == EnvironmentWindowsPE && a.Kind == BootloaderGRUB {
		c.wrong("kind", "Windows PE cannot install GRUB: take environment: linux")
	}
	c.bootable = true
}

func (a *ApplyDrivers) check(c *checker) {
	c.required("content", a.Content)
	c.content("content", a.Content)
	c.volume("target", a.Target)
}

func (a *DownloadContent) check(c *checker) {
	if len(a.Contents) == 0 {
		c.wrong("contents", "is missing")
	}
	for _, name := range a.Contents {
		c.required("contents", name)
		c.content("contents", name)
	}
	c.sets("variable", a.Variable)
}

func (a *CaptureImage) check(c *checker) {
	c.volume("volume", a.Volume)
	c.required("file", a.File)
}

// computerName: what NetBIOS and DNS both take.
var computerName = regexp.MustCompile(`^(\*|[A-Za-z0-9-]{1,15})$`)

func (a *WindowsSettings) check(c *checker) {
	c.volume("target", a.Target)
	if n := a.ComputerName; n != "" && !strings.Contains(n, "${") && (!computerName.MatchString(n) || strings.Trim(n, "0123456789") == "") {
		c.wrong("computer-name", "%q: want up to 15 letters, digits and hyphens, and not only digits", n)
	}
	if k := a.ProductKey; k != "" && !strings.Contains(k, "${") && !regexp.MustCompile(`^([A-Za-z0-9]{5}-){4}[A-Za-z0-9]{5}$`).MatchString(k) {
		c.wrong("product-key", "want five groups of five characters with hyphens between")
	}
	c.secret("admin-password", a.AdminPassword)
}

func (a *NetworkSettings) check(c *checker) {
	c.volume("target", a.Target)
	if a.Workgroup != "" && a.Domain != nil {
		c.wrong("workgroup", "either a workgroup or a domain, not both")
	}
	if a.Domain != nil {
		a.Domain.check(c)
	}
	for _, ad := range a.Adapters {
		if _, err := net.ParseMAC(ad.MAC); ad.MAC != "" && !strings.Contains(ad.MAC, "${") && err != nil {
			c.wrong("adapters", "MAC %q: want one as in 52:54:00:12:34:56", ad.MAC)
		}
		for _, text := range ad.Addresses {
			if _, err := netip.ParsePrefix(text); err != nil && !strings.Contains(text, "${") {
				c.wrong("adapters", "address %q: want one with a prefix length, as in 192.0.2.10/24", text)
			}
		}
		for _, text := range append([]string{ad.Gateway}, ad.DNS...) {
			if _, err := netip.ParseAddr(text); text != "" && err != nil && !strings.Contains(text, "${") {
				c.wrong("adapters", "%q is no address", text)
			}
		}
	}
}

func (d *Domain) check(c *checker) {
	c.required("name", d.Name)
	c.required("account", d.Account)
	c.required("password", d.Password)
	c.secret("password", d.Password)
}

func (a *JoinDomain) check(c *checker) {
	a.Domain.check(c)
	if a.Target != "" {
		c.volume("target", a.Target)
	}
}

func (a *EnableBitLocker) check(c *checker) {
	switch a.Protector {
	case "tpm-pin":
		c.required("pin", a.PIN)
	case "password":
		c.required("password", a.Password)
	}
	c.secret("pin", a.PIN)
	c.secret("password", a.Password)
}

func (a *SuspendBitLocker) check(c *checker) {
	if a.Restarts < 0 || a.Restarts > 15 {
		c.wrong("restarts", "%d: want 1 to 15", a.Restarts)
	}
}

func (a *InstallPackage) check(c *checker) {
	c.required("content", a.Content)
	c.content("content", a.Content)
	c.required("command", a.Command)
}

func (a *RunCommand) check(c *checker) {
	c.required("command", a.Command)
	c.content("content", a.Content)
	if a.Content != "" && a.Folder != "" {
		c.wrong("folder", "it runs in the folder of its content: either of both")
	}
	c.sets("variable", a.Variable)
}

func (a *RunPowerShell) check(c *checker) {
	switch {
	case (a.Script == "") == (a.File == ""):
		c.wrong("script", "want either a script or a file")
	case a.Script != "" && a.Content != "":
		c.wrong("content", "is for a file of a package")
	}
	c.content("content", a.Content)
	c.sets("variable", a.Variable)
}

func (a *SetVariable) check(c *checker) {
	c.sets("name", a.Name)
	if a.Secret {
		c.secret("value", a.Value)
	}
}

func (a *SetDynamicVariables) check(c *checker) {
	if len(a.Rules) == 0 {
		c.wrong("rules", "is missing")
	}
	for _, r := range a.Rules {
		if _, err := r.When.Compile(); err != nil {
			c.wrong("rules", "%s", trim(err))
		}
		if len(r.Variables) == 0 {
			c.wrong("rules", "a rule sets no variables")
		}
		for name := range r.Variables {
			c.sets("rules", name)
		}
	}
}

func (a *CopyLog) check(*checker) {}

func (a *Restart) check(c *checker) {
	c.required("into", a.Into)
	if w := time.Duration(a.Within); w != 0 && w < time.Minute {
		c.wrong("within", "%s: want at least a minute: the machine has to start in it", a.Within)
	}
}

func (a *CheckReadiness) check(c *checker) {
	if a.Disk != "" {
		c.disk("disk", a.Disk)
	}
	for field, e := range map[string]Extent{"memory": a.Memory, "disk-size": a.DiskSize, "free-space": a.FreeSpace} {
		if e.Rest || e.Share > 0 {
			c.wrong(field, "want a size, as in 4GiB")
		}
	}
	if a.TPM != "" && !regexp.MustCompile(`^[12]\.[0-9]$`).MatchString(a.TPM) {
		c.wrong("tpm", "%q: want a version, as in 2.0", a.TPM)
	}
}

func (a *Ask) check(c *checker) {
	if len(a.Questions) == 0 {
		c.wrong("questions", "is missing")
	}
	for _, q := range a.Questions {
		c.sets("questions", q.Variable)
		if q.Variable == "" {
			c.wrong("questions", "variable is missing")
		}
		if q.Prompt == "" {
			c.wrong("questions", "%s: prompt is missing", q.Variable)
		}
		if _, err := regexp.Compile(q.Pattern); err != nil {
			c.wrong("questions", "%s: pattern: %v", q.Variable, err)
		}
		if q.Secret && q.Default != "" {
			c.secret("questions", q.Default)
		}
	}
}

func (a *PrepareCapture) check(*checker) {}

func (a *Wait) check(c *checker) {
	switch {
	case (a.For == 0) == (a.Until == ""):
		c.wrong("for", "want either a time (for) or an expression (until)")
	case a.Until != "":
		if _, err := (Condition{a.Until}).Compile(); err != nil {
			c.wrong("until", "%s", trim(err))
		}
		if c.step.Timeout == 0 {
			c.warn("until", "without a timeout of the step it may wait for ever")
		}
	}
}
