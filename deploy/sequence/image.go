package sequence

// How a content reaches the machine.
const (
	FromAuto      = "auto"      // as the content's settings say
	FromMulticast = "multicast" // and in no other way
	FromUnicast   = "unicast"
	FromLocal     = "local" // from Path, which is on the machine
)

// Source says where an image comes from.
type Source struct {
	Content string `yaml:"content,omitempty" json:"content,omitempty" doc:"The content, by id or name."`
	From    string `yaml:"from,omitempty" json:"from,omitempty" enum:"auto,multicast,unicast,local" doc:"How it comes: auto (the default) is what the content's settings allow, local is the file in path."`
	Path    string `yaml:"path,omitempty" json:"path,omitempty" doc:"The file on the machine, with from: local."`
	Index   string `yaml:"index,omitempty" json:"index,omitempty" doc:"The image in the file, by number or name; 1 without it."`
}

// ApplyImage applies an operating system.
type ApplyImage struct {
	Source  `yaml:",inline"`
	Target  string `yaml:"target" json:"target" doc:"The volume."`
	Compact bool   `yaml:"compact,omitempty" json:"compact,omitempty" doc:"Keeps the files compressed (Compact OS)."`
}

// ApplyDataImage applies data.
type ApplyDataImage struct {
	Source `yaml:",inline"`
	Target string `yaml:"target" json:"target" doc:"The volume."`
	Folder string `yaml:"folder,omitempty" json:"folder,omitempty" doc:"The folder in it; without it the top."`
}

// Kinds of boot loaders.
const (
	BootloaderWindows = "windows"
	BootloaderGRUB    = "grub"
)

// InstallBootloader makes a disk bootable.
type InstallBootloader struct {
	Kind     string `yaml:"kind,omitempty" json:"kind,omitempty" enum:"windows,grub" doc:"windows (the default): the boot manager out of the image and boot configuration for it; grub: the GRUB of the Linux that was applied."`
	OS       string `yaml:"os" json:"os" doc:"The volume of the operating system."`
	System   string `yaml:"system,omitempty" json:"system,omitempty" doc:"The volume that the firmware boots from; without it the one called System, if there is one, else that of the operating system."`
	Firmware string `yaml:"firmware,omitempty" json:"firmware,omitempty" enum:"any,uefi,bios" doc:"For which firmware; without it that of the machine, any for both."`
	// NoEntry: firmware that forgets entries, and disks that move on, boot the
	// fallback path.
	NoEntry bool `yaml:"no-entry,omitempty" json:"no-entry,omitempty" doc:"Makes no entry in the firmware's boot menu; the fallback path (EFI/BOOT) is always written."`
}

// ApplyDrivers adds drivers.
type ApplyDrivers struct {
	Content  string `yaml:"content" json:"content" doc:"The package of drivers, by id or name."`
	Target   string `yaml:"target" json:"target" doc:"The volume of Windows."`
	Folder   string `yaml:"folder,omitempty" json:"folder,omitempty" doc:"A folder of the package; without it all of it."`
	Unsigned bool   `yaml:"unsigned,omitempty" json:"unsigned,omitempty" doc:"Takes drivers that are not signed, too."`
	Optional bool   `yaml:"optional,omitempty" json:"optional,omitempty" doc:"A package without drivers is no failure."`
}

// DownloadContent fetches contents.
type DownloadContent struct {
	Contents []string `yaml:"contents" json:"contents" doc:"The contents, by id or name."`
	Folder   string   `yaml:"folder,omitempty" json:"folder,omitempty" doc:"Where they go; each gets a folder in it. Without it the working folder on the disk."`
	From     string   `yaml:"from,omitempty" json:"from,omitempty" enum:"auto,multicast,unicast" doc:"How they come, as in apply-image."`
	Variable string   `yaml:"variable,omitempty" json:"variable,omitempty" doc:"A variable that is set to the folder of the first content; NAME1, NAME2, ... to those of each." raw:"true"`
}

// CaptureImage makes an image.
type CaptureImage struct {
	Volume      string `yaml:"volume" json:"volume" doc:"The volume."`
	File        string `yaml:"file" json:"file" doc:"The WIM file to write."`
	Image       string `yaml:"image,omitempty" json:"image,omitempty" doc:"What the image is called in the file."`
	Compression string `yaml:"compression,omitempty" json:"compression,omitempty" enum:"none,fast,max" doc:"fast is the default."`
}

func (a *ApplyImage) contents() []string      { return a.Source.contents() }
func (a *ApplyDataImage) contents() []string  { return a.Source.contents() }
func (a *ApplyDrivers) contents() []string    { return []string{a.Content} }
func (a *DownloadContent) contents() []string { return a.Contents }

func (s *Source) contents() []string {
	if s.From == FromLocal {
		return nil
	}
	return []string{s.Content}
}
