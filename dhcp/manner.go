package dhcp

import (
	"slices"
	"time"

	"castpoint/boot"
	"castpoint/dhcp/dhcp4"
)

// manner is the part of a Config that changes while a server runs: whom it answers,
// and how.
type manner struct {
	allow, deny []string
	delay       time.Duration
	quirks      []dhcp4.Quirk // those of the settings, then the table
	noProbe     bool
	menu        func(boot.Client, boot.Plan) *dhcp4.Menu
}

func newManner(c *Config) *manner {
	return &manner{
		allow: c.Allow, deny: c.Deny, delay: c.Delay, quirks: append(slices.Clone(c.Quirks), dhcp4.Quirks()...), noProbe: c.NoProbe, menu: c.Menu,
	}
}

// Reload takes Allow, Deny, Delay, Quirks, NoProbe and Menu of other settings, from
// the next packet on; the rest of them has no effect. The settings are checked
// first, as New does it, and when they cannot be, nothing changes.
func (s *Server) Reload(c Config) error {
	c.Planner = s.config.Planner
	if _, err := New(c); err != nil {
		return err
	}
	s.manner.Store(newManner(&c))
	return nil
}
