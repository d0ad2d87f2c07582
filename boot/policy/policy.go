package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"castpoint/boot"
	"castpoint/boot/source"
	"castpoint/boot/windows"
)

// Config is what [New] needs.
type Config struct {
	// Loaders finds first stages. Required.
	Loaders *source.Loaders
	// HTTPPort is the TCP port of the boot HTTP server; 0 means
	// [boot.DefaultHTTPPort].
	HTTPPort int
	// Firmware replaces or adds entries of [boot.DefaultFirmware].
	Firmware map[boot.Arch]boot.Firmware
	// Settings say how each machine boots; nil is the zero Settings for all.
	Settings *boot.Resolver
	// Library and BootImage are as in bootfile.Config. With Idle.Exit machines for
	// which there is no boot image are sent on to their disk before they load
	// anything.
	Library   source.Library
	BootImage string
	Idle      boot.Idle
	// Windows sends machines whose boot image is a WIM on Microsoft's chain; nil
	// when they are to use iPXE.
	Windows *windows.Chain
	// Device, when set, is asked first: ok true means that its plan is used as
	// it is (a refusal, a Windows boot manager, a one-time assignment). It runs
	// once for each DHCP packet and must be fast and safe for concurrent use.
	Device func(boot.Client) (plan boot.Plan, ok bool)
	// Record looks up what is on record about a machine; nil when there are no
	// records.
	Record boot.RecordFunc
}

// Planner is the Planner of a distribution point: a table of firmware, the
// loader files that exist, and one rule that ends the chain at iPXE.
type Planner struct {
	loaders  *source.Loaders
	port     uint16
	firmware map[boot.Arch]boot.Firmware
	windows  *windows.Chain
	settings *boot.Resolver
	cfg      Config
	device   func(boot.Client) (boot.Plan, bool)
	record   boot.RecordFunc
}

var _ boot.Planner = (*Planner)(nil)

// New checks the configuration. It does not need the loader files to
// exist: [Planner.Plan] looks for them each time and says what is missing.
func New(cfg Config) (*Planner, error) {
	if cfg.Loaders == nil {
		return nil, errors.New("boot planner: no loader folders given")
	}
	if cfg.HTTPPort == 0 {
		cfg.HTTPPort = boot.DefaultHTTPPort
	}
	if cfg.HTTPPort < 1 || cfg.HTTPPort > 65535 {
		return nil, fmt.Errorf("boot planner: HTTP port %d: want 1 to 65535", cfg.HTTPPort)
	}
	for arch, fw := range cfg.Firmware {
		for _, name := range fw.Loaders {
			if clean, err := boot.CleanName(name); err != nil || clean == "" {
				return nil, fmt.Errorf("boot planner: loader %q for %s: want a file name below a loader folder", name, arch)
			}
		}
	}
	return &Planner{
		loaders:  cfg.Loaders,
		port:     uint16(cfg.HTTPPort),
		firmware: boot.MergeFirmware(cfg.Firmware),
		windows:  cfg.Windows,
		settings: cfg.Settings,
		cfg:      cfg,
		device:   cfg.Device,
		record:   cfg.Record,
	}, nil
}

// Plan says what the client boots. It depends on nothing but the client and
// the loader folders: the same question has the same answer.
func (p *Planner) Plan(c boot.Client) boot.Plan {
	if p.device != nil {
		if plan, ok := p.device(c); ok {
			return plan
		}
	}
	if !c.IPXE && !c.HTTPBoot && !c.PXE && !c.HasArch {
		return silent("this is not a network boot request: no PXEClient or HTTPClient vendor class, no option 93, not iPXE.")
	}
	if !c.Server.IsValid() || c.Server.IsUnspecified() {
		return silent("interface %q has no address of this server's own that the machine could fetch from: give it one.", c.Interface)
	}
	arch := boot.FirmwareArch(c)
	fw, known := p.firmware[arch]
	record := boot.RecordOf(p.record, c)
	if record.Silent != "" {
		return silent("%s", record.Silent)
	}

	// iPXE comes first: whatever else it says about itself, it must never be
	// given the first stage again, or it would load itself for ever.
	if c.IPXE {
		if boot.DeviceName(c) == "" {
			return silent("iPXE sent neither a hardware address nor a UUID, so there is no script for it.")
		}
		return boot.Plan{
			Serve:      true,
			Reason:     fmt.Sprintf("iPXE is running, so it gets the script of device %s by HTTP.", boot.DeviceName(c)),
			File:       p.url(c.Server, boot.ScriptName(fw.Machine, c)),
			NextServer: c.Server,
		}
	}
	if !known {
		return silent("castpoint has no first stage for %s. If it starts that of another architecture, a row of the setting quirk says so, as in arch=%d as=7.", arch, arch)
	}
	if record.Waiting {
		return p.planWaiting(c, arch, fw)
	}
	if record.Loader != "" {
		return p.firstStage(c, arch, fw, []string{record.Loader}, " Its record names that file.")
	}
	c.Arch, c.HasArch = arch, true
	settings := p.settings.For(c)
	url := func(path string) string { return p.url(c.Server, path) }
	if settings.Chain == boot.ChainLocal {
		return boot.LocalPlan(c, fw, url, "its chain is local.")
	}
	if p.cfg.Idle.Exit && p.cfg.Library != nil {
		if _, none := source.PickImage(p.cfg.Library, record.ImageOr(p.cfg.BootImage), fw.Machine); none != nil {
			return boot.LocalPlan(c, fw, url, none.Why)
		}
	}
	return p.network(c, arch, fw, settings)
}

// network says by which chain firmware boots from the network.
func (p *Planner) network(c boot.Client, arch boot.Arch, fw boot.Firmware, settings boot.Settings) boot.Plan {
	why := "" // the better chains are not taken
	if p.windows != nil {
		plan, reason, refuse := p.windows.Plan(c, arch, fw, func(path string) string { return p.url(c.Server, path) })
		switch {
		case plan.Serve:
			return plan
		case refuse:
			return silent("%s", reason)
		case reason != "":
			why = " " + reason
		}
	}
	if settings.Chain == boot.ChainGRUB {
		plan, reason := p.grubPlan(c, arch, fw, settings)
		if reason != "" {
			return silent("%s", reason)
		}
		return plan
	}
	if settings.Chain == boot.ChainIPXEShim {
		fw.Loaders, fw.Package = shimLoaders(fw.Machine), ""
		if fw.Loaders == nil {
			return silent("iPXE has no signed binaries for %s.", arch)
		}
	}
	plan := p.ipxePlan(c, arch, fw, why)
	if !plan.Serve && settings.Chain == boot.ChainAuto {
		if other, reason := p.grubPlan(c, arch, fw, settings); reason == "" {
			return other
		}
	}
	return plan
}

// shimLoaders are the names of iPXE's own shim, best first: as in its archive
// ipxeboot.tar.gz, and as in its releases. It takes the name of what it loads, from
// the same folder, out of its own: snponly-shim.efi loads snponly.efi.
func shimLoaders(m boot.Machine) (names []string) {
	folder, suffix := "x86_64-sb/", "x64"
	switch m {
	case boot.MachineEFIX64:
	case boot.MachineARM64:
		folder, suffix = "arm64-sb/", "aa64"
	default:
		return nil
	}
	for _, name := range []string{"snponly", "ipxe"} {
		names = append(names, folder+name+"-shim.efi", name+"-shim"+suffix+".efi")
	}
	return names
}

// ipxePlan gives firmware its first stage that is iPXE; why is added to the
// reason.
func (p *Planner) ipxePlan(c boot.Client, arch boot.Arch, fw boot.Firmware, why string) boot.Plan {
	return p.firstStage(c, arch, fw, fw.Loaders, why)
}

// FirstStage is the plan for the first of the loader files that exists. why is
// added to the reason.
func (p *Planner) firstStage(c boot.Client, arch boot.Arch, fw boot.Firmware, loaders []string, why string) boot.Plan {
	if len(loaders) == 0 {
		return silent("castpoint knows no first stage for %s, so it is not served.", arch)
	}
	for _, name := range loaders {
		if _, ok := p.loaders.Find(name); !ok {
			continue
		}
		plan := boot.Plan{Serve: true, NextServer: c.Server}
		if c.HTTPBoot || fw.HTTP {
			plan.File = p.url(c.Server, name)
			plan.HTTPClient = true
			plan.Reason = fmt.Sprintf("%s firmware boots by HTTP, so it gets the URL of its first stage %s.%s", arch, name, why)
		} else {
			plan.File = name
			plan.Reason = fmt.Sprintf("%s firmware boots by TFTP, so it gets its first stage %s.%s", arch, name, why)
		}
		return plan
	}
	advice := "set --loaders to the folder that has it"
	if fw.Package != "" {
		advice = "install the " + fw.Package + " package or set --loaders DIR"
	}
	return silent("no first stage for %s: %s not found in %s; %s.%s",
		arch, strings.Join(loaders, " or "), strings.Join(p.loaders.Dirs(), ", "), advice, why)
}

func silent(format string, args ...any) boot.Plan {
	s := fmt.Sprintf(format, args...)
	return boot.Plan{Reason: strings.ToUpper(s[:1]) + s[1:]}
}

func (p *Planner) url(server netip.Addr, path string) string {
	return "http://" + netip.AddrPortFrom(server.Unmap(), p.port).String() + "/" + path
}
