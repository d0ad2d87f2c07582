package boot

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// DefaultHTTPPort is the TCP port of the boot HTTP server.
const DefaultHTTPPort = 8080

// PlannerConfig is what [NewPlanner] needs.
type PlannerConfig struct {
	// Loaders finds first stages. Required.
	Loaders *Loaders
	// HTTPPort is the TCP port of the boot HTTP server; 0 means
	// [DefaultHTTPPort].
	HTTPPort int
	// Firmware replaces or adds entries of [DefaultFirmware].
	Firmware map[Arch]Firmware
	// Settings say how each machine boots; nil is the zero Settings for all.
	Settings *Resolver
	// Library and BootImage are as in FilesConfig. With Idle.Exit machines for
	// which there is no boot image are sent on to their disk before they load
	// anything.
	Library   Library
	BootImage string
	Idle      Idle
	// Windows sends machines whose boot image is a WIM on Microsoft's chain; nil
	// when they are to use iPXE.
	Windows *Windows
	// Device, when set, is asked first: ok true means that its plan is used as
	// it is (a refusal, a Windows boot manager, a one-time assignment). It runs
	// once for each DHCP packet and must be fast and safe for concurrent use.
	Device func(Client) (plan Plan, ok bool)
	// Record looks up what is on record about a machine; nil when there are no
	// records.
	Record RecordFunc
}

// Policy is the Planner of a distribution point: a table of firmware, the
// loader files that exist, and one rule that ends the chain at iPXE.
type Policy struct {
	loaders  *Loaders
	port     uint16
	firmware map[Arch]Firmware
	windows  *Windows
	settings *Resolver
	cfg      PlannerConfig
	device   func(Client) (Plan, bool)
	record   RecordFunc
}

var _ Planner = (*Policy)(nil)

// NewPlanner checks the configuration. It does not need the loader files to
// exist: [Policy.Plan] looks for them each time and says what is missing.
func NewPlanner(cfg PlannerConfig) (*Policy, error) {
	if cfg.Loaders == nil {
		return nil, errors.New("boot planner: no loader folders given")
	}
	if cfg.HTTPPort == 0 {
		cfg.HTTPPort = DefaultHTTPPort
	}
	if cfg.HTTPPort < 1 || cfg.HTTPPort > 65535 {
		return nil, fmt.Errorf("boot planner: HTTP port %d: want 1 to 65535", cfg.HTTPPort)
	}
	for arch, fw := range cfg.Firmware {
		for _, name := range fw.Loaders {
			if clean, err := CleanName(name); err != nil || clean == "" {
				return nil, fmt.Errorf("boot planner: loader %q for %s: want a file name below a loader folder", name, arch)
			}
		}
	}
	return &Policy{
		loaders:  cfg.Loaders,
		port:     uint16(cfg.HTTPPort),
		firmware: mergeFirmware(cfg.Firmware),
		windows:  cfg.Windows,
		settings: cfg.Settings,
		cfg:      cfg,
		device:   cfg.Device,
		record:   cfg.Record,
	}, nil
}

// Plan says what the client boots. It depends on nothing but the client and
// the loader folders: the same question has the same answer.
func (p *Policy) Plan(c Client) Plan {
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
	arch := clientArch(c)
	fw, known := p.firmware[arch]
	record := recordOf(p.record, c)
	if record.Silent != "" {
		return silent("%s", record.Silent)
	}

	// iPXE comes first: whatever else it says about itself, it must never be
	// given the first stage again, or it would load itself for ever.
	if c.IPXE {
		if DeviceName(c) == "" {
			return silent("iPXE sent neither a hardware address nor a UUID, so there is no script for it.")
		}
		return Plan{
			Serve:      true,
			Reason:     fmt.Sprintf("iPXE is running, so it gets the script of device %s by HTTP.", DeviceName(c)),
			File:       p.url(c.Server, scriptName(fw.Machine, c)),
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
	if settings.Chain == ChainLocal {
		return localPlan(c, fw, url, "its chain is local.")
	}
	if p.cfg.Idle.Exit && p.cfg.Library != nil {
		if _, none := pickImage(p.cfg.Library, record.bootImage(p.cfg.BootImage), fw.Machine); none != nil {
			return localPlan(c, fw, url, none.Why)
		}
	}
	return p.network(c, arch, fw, settings)
}

// network says by which chain firmware boots from the network.
func (p *Policy) network(c Client, arch Arch, fw Firmware, settings Settings) Plan {
	why := "" // the better chains are not taken
	if p.windows != nil {
		plan, reason, refuse := p.windows.plan(c, arch, fw, func(path string) string { return p.url(c.Server, path) })
		switch {
		case plan.Serve:
			return plan
		case refuse:
			return silent("%s", reason)
		case reason != "":
			why = " " + reason
		}
	}
	if settings.Chain == ChainGRUB {
		plan, reason := p.grubPlan(c, arch, fw, settings)
		if reason != "" {
			return silent("%s", reason)
		}
		return plan
	}
	if settings.Chain == ChainIPXEShim {
		fw.Loaders, fw.Package = shimLoaders(fw.Machine), ""
		if fw.Loaders == nil {
			return silent("iPXE has no signed binaries for %s.", arch)
		}
	}
	plan := p.ipxePlan(c, arch, fw, why)
	if !plan.Serve && settings.Chain == ChainAuto {
		if other, reason := p.grubPlan(c, arch, fw, settings); reason == "" {
			return other
		}
	}
	return plan
}

// shimLoaders are the names of iPXE's own shim, best first: as in its archive
// ipxeboot.tar.gz, and as in its releases. It takes the name of what it loads, from
// the same folder, out of its own: snponly-shim.efi loads snponly.efi.
func shimLoaders(m Machine) (names []string) {
	folder, suffix := "x86_64-sb/", "x64"
	switch m {
	case MachineEFIX64:
	case MachineARM64:
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
func (p *Policy) ipxePlan(c Client, arch Arch, fw Firmware, why string) Plan {
	return p.firstStage(c, arch, fw, fw.Loaders, why)
}

// firstStage is the plan for the first of the loader files that exists. why is
// added to the reason.
func (p *Policy) firstStage(c Client, arch Arch, fw Firmware, loaders []string, why string) Plan {
	if len(loaders) == 0 {
		return silent("castpoint knows no first stage for %s, so it is not served.", arch)
	}
	for _, name := range loaders {
		if _, ok := p.loaders.Find(name); !ok {
			continue
		}
		plan := Plan{Serve: true, NextServer: c.Server}
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
		arch, strings.Join(loaders, " or "), strings.Join(p.loaders.dirs, ", "), advice, why)
}

func silent(format string, args ...any) Plan {
	s := fmt.Sprintf(format, args...)
	return Plan{Reason: strings.ToUpper(s[:1]) + s[1:]}
}

func (p *Policy) url(server netip.Addr, path string) string {
	return "http://" + netip.AddrPortFrom(server.Unmap(), p.port).String() + "/" + path
}
