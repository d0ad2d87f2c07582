package boot

import (
	"bytes"
	"fmt"
	"net"
	"slices"

	"go.uber.org/zap"

	"castpoint/boot/bcd"
)

// Chain says which way a machine goes from its firmware to its boot image.
type Chain string

// The chains. Which one a machine gets is policy, never a guess: DHCP does not
// show whether Secure Boot is on.
const (
	// ChainAuto is ChainWindows when the boot image is a WIM that has the files
	// for it, else ChainIPXE, else ChainGRUB.
	ChainAuto Chain = ""
	// ChainWindows is Microsoft's own: a signed boot manager, a boot
	// configuration made for the machine, boot.sdi and the WIM.
	ChainWindows Chain = "windows"
	// ChainIPXE is iPXE, with wimboot when the boot image is a WIM.
	ChainIPXE Chain = "ipxe"
	// ChainIPXEShim is the same with iPXE's own shim and signed binaries, which start
	// with Secure Boot on.
	ChainIPXEShim Chain = "ipxe-shim"
	// ChainGRUB is shim and GRUB, signed by a distribution, for Linux boot images
	// on machines that enforce Secure Boot.
	ChainGRUB Chain = "grub"
	// ChainLocal is no network boot: the machine is sent on to its own disk.
	ChainLocal Chain = "local"
)

// Chains are the chains that can be asked for.
func Chains() []Chain { return []Chain{ChainWindows, ChainIPXE, ChainIPXEShim, ChainGRUB, ChainLocal} }

// Settings say how a machine boots.
type Settings struct {
	Chain Chain
	// Ask has the machine wait for a key before it boots from the network; without
	// one it goes on to its own disk. For what is available, not required.
	Ask bool
	// CA is the year of the CA that the UEFI boot manager is signed under: 2011
	// (bootmgfw.efi) or 2023 (bootmgfw_EX.efi). 0 takes that of 2011, which all
	// firmware until 2025 trusts, or the other one when it is the only one.
	CA int
	// Store says what the boot configuration has beside the device's own: block
	// and window size, menu, debugger. Entries without a WIM boot the machine's.
	Store bcd.Options
	// BCD is a boot configuration that is served as it is, instead of a made
	// one. Its WIM should be \Boot\boot.wim.
	BCD []byte
	// Prompt leaves a command prompt when the agent in Windows PE fails.
	Prompt bool
}

func (s *Settings) check() error {
	if s.Chain != ChainAuto && !slices.Contains(Chains(), s.Chain) {
		return fmt.Errorf("chain %q: want one of %v", s.Chain, Chains())
	}
	if s.CA != 0 && s.CA != 2011 && s.CA != 2023 {
		return fmt.Errorf("CA of %d: want 2011 or 2023", s.CA)
	}
	if len(s.BCD) > bcd.MaxSize {
		return fmt.Errorf("boot configuration of %d bytes: at most %d are served", len(s.BCD), bcd.MaxSize)
	}
	if s.BCD != nil {
		if _, err := bcd.Parse(s.BCD); err != nil {
			return err
		}
	}
	_, err := bcd.Ramdisk(s.Store)
	return err
}

// Rule changes the settings of some machines. Empty fields match all.
type Rule struct {
	Archs []Arch
	MAC   net.HardwareAddr
	UUID  string
	Set   Change
}

func (r *Rule) machine() bool { return len(r.MAC) > 0 || r.UUID != "" }

func (r *Rule) matches(c Client) bool {
	switch {
	case len(r.Archs) > 0 && !slices.Contains(r.Archs, FirmwareArch(c)):
		return false
	case r.machine():
		return len(r.MAC) > 0 && bytes.Equal(r.MAC, c.MAC) || r.UUID != "" && r.UUID == c.UUID
	}
	return true
}

// ResolverConfig is what [NewResolver] needs.
type ResolverConfig struct {
	// Base holds for all machines.
	Base Settings
	// Rules change it in order: first those for all machines and for
	// architectures, then those for single machines.
	Rules []Rule
	// Device, when set, has the last word: what the record of a machine says. It
	// must be fast and safe for concurrent use.
	Device func(Client) Change
	Log    *zap.Logger
}

// Resolver says what holds for a machine: the one place where settings for all,
// for an architecture and for one machine are put together. Safe for concurrent
// use; a nil one gives the zero Settings.
type Resolver struct {
	cfg ResolverConfig
}

// NewResolver checks the settings, with each rule for itself over the base.
func NewResolver(cfg ResolverConfig) (*Resolver, error) {
	if err := cfg.Base.check(); err != nil {
		return nil, fmt.Errorf("boot settings: %w", err)
	}
	for _, r := range cfg.Rules {
		s := cfg.Base
		r.Set.apply(&s)
		if err := s.check(); err != nil {
			return nil, fmt.Errorf("boot settings of a rule: %w", err)
		}
	}
	// Machines go last, whatever the order on the command line.
	cfg.Rules = slices.Clone(cfg.Rules)
	slices.SortStableFunc(cfg.Rules, func(a, b Rule) int { return rank(a) - rank(b) })
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	return &Resolver{cfg}, nil
}

func rank(r Rule) int {
	switch {
	case r.machine():
		return 2
	case len(r.Archs) > 0:
		return 1
	}
	return 0
}

// For is what holds for a machine.
func (r *Resolver) For(c Client) Settings {
	if r == nil {
		return Settings{}
	}
	s := r.cfg.Base
	for i := range r.cfg.Rules {
		if rule := &r.cfg.Rules[i]; rule.matches(c) {
			rule.Set.apply(&s)
		}
	}
	if r.cfg.Device == nil {
		return s
	}
	own := s
	r.cfg.Device(c).apply(&own)
	if err := own.check(); err != nil {
		r.cfg.Log.Error("boot settings of a device are not usable", zap.Inline(c), zap.Error(err))
		return s
	}
	return own
}
