package config

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Pool is a range of addresses to give.
type Pool struct {
	Network  netip.Prefix // invalid: that of the interface
	From, To netip.Addr
}

// Reservation keeps an address for one machine, known by one of MAC, UUID and
// ClientID.
type Reservation struct {
	MAC      net.HardwareAddr
	UUID     string
	ClientID string // option 61 in hexadecimal
	Address  netip.Addr
	Hostname string
}

// Quirk is a row of the quirk table; zero fields match everything.
type Quirk struct {
	Name   string
	Archs  []uint16 // numbers of option 93
	Vendor string   // beginning of option 60
	MACs   []string // beginnings
	Style  string   // complete, redirect, menu or raspberry-pi
	As     *uint16  // the architecture that it is instead
}

// checkDHCP checks what concerns DHCP and DHCPv6.
func (c *Config) checkDHCP() error {
	if (c.DHCP == "server") != (len(c.Pool) > 0) {
		return errors.New("pool: dhcp server needs one, as in 192.0.2.100-192.0.2.199, and the other modes give no addresses")
	}
	if _, err := c.Pools(); err != nil {
		return err
	}
	if _, err := c.Pools6(); err != nil {
		return err
	}
	for _, s := range []struct {
		name string
		list List
		v4   bool
	}{{"router", c.Router, true}, {"dns", c.DNS, true}, {"ntp", c.NTP, true}, {"dns6", c.DNS6, false}} {
		for _, a := range s.list {
			ip, err := netip.ParseAddr(a)
			switch {
			case s.v4 && (err != nil || !ip.Is4()):
				return fmt.Errorf("%s %q: want an IPv4 address", s.name, a)
			case !s.v4 && (err != nil || !ip.Is6()):
				return fmt.Errorf("%s %q: want an IPv6 address", s.name, a)
			}
		}
	}
	with := func(name string, set bool) error {
		if set && len(c.Pool) == 0 {
			return fmt.Errorf("%s is handed out with a pool only", name)
		}
		return nil
	}
	for name, set := range map[string]bool{
		"router": len(c.Router) > 0, "dns": len(c.DNS) > 0, "ntp": len(c.NTP) > 0, "domain": c.Domain != "",
		"lease": c.Lease != 0, "reserve": len(c.Reserve) > 0, "match-client-id": c.MatchClientID,
	} {
		if err := with(name, set); err != nil {
			return err
		}
	}
	switch {
	case !c.DHCP6 && (len(c.Pool6) > 0 || len(c.DNS6) > 0):
		return errors.New("pool6 and dns6 need dhcp6")
	case len(c.Pool6) > 0 && c.DHCP != "server":
		return errors.New("pool6: the modes other than dhcp server give no addresses")
	case c.DHCP6 && c.DHCP == "off":
		return errors.New("dhcp6: not with dhcp off")
	case len(c.DNS6) > 0 && len(c.Pool6) == 0:
		return errors.New("dns6 is handed out with a pool6 only")
	case c.Share && c.DHCP != "proxy":
		return errors.New("share: only with dhcp proxy, two servers would answer every client")
	case c.Delay < 0 || c.Delay > 30*time.Second:
		return fmt.Errorf("delay %s: want 0 to 30s", c.Delay)
	case c.MenuWait < 0 || c.MenuWait > 254*time.Second || c.MenuWait%time.Second != 0:
		return fmt.Errorf("menu-wait %s: want whole seconds, 0 to 254s", c.MenuWait)
	case len(c.Menu) > 60 || !printable(c.Menu):
		return fmt.Errorf("menu %q: want up to 60 ASCII characters", c.Menu)
	}
	if err := within(duration("lease", c.Lease, time.Minute, 365*24*time.Hour)); err != nil {
		return err
	}
	for _, s := range []struct {
		name string
		list List
	}{{"allow", c.Allow}, {"deny", c.Deny}} {
		for _, entry := range s.list {
			if !machineEntry.MatchString(entry) {
				return fmt.Errorf("%s %q: want a UUID, a MAC or the beginning of a MAC, as in 52:54:00", s.name, entry)
			}
		}
	}
	if _, err := c.Reservations(); err != nil {
		return err
	}
	_, err := c.QuirkRows()
	return err
}

// machineEntry is a UUID, or a MAC or a beginning of one by whole bytes.
var machineEntry = regexp.MustCompile(`(?i)^([0-9a-f]{2}([:-][0-9a-f]{2}){0,5}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$`)

var uuidText = regexp.MustCompile(`(?i)^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// Pools is Pool, parsed.
func (c *Config) Pools() ([]Pool, error) { return parsePools("pool", c.Pool, false) }

// Pools6 is Pool6, parsed.
func (c *Config) Pools6() ([]Pool, error) { return parsePools("pool6", c.Pool6, true) }

func parsePools(name string, list List, v6 bool) ([]Pool, error) {
	example := "192.0.2.100-192.0.2.199"
	if v6 {
		example = "2001:db8::100-2001:db8::1ff"
	}
	var pools []Pool
	for _, text := range list {
		wrong := fmt.Errorf("%s %q: want FROM-TO, as in %s, with /BITS for a network behind a relay", name, text, example)
		span, bits, hasBits := strings.Cut(text, "/")
		from, to, err := addressRange(span)
		if err != nil || from.Is6() != v6 {
			return nil, wrong
		}
		p := Pool{From: from, To: to}
		if hasBits {
			n, err := strconv.Atoi(bits)
			if err != nil {
				return nil, wrong
			}
			if p.Network, err = from.Prefix(n); err != nil || !p.Network.Contains(to) {
				return nil, wrong
			}
		}
		pools = append(pools, p)
	}
	return pools, nil
}

// addressRange reads FROM-TO; both are of one family and in order.
func addressRange(text string) (from, to netip.Addr, err error) {
	a, b, ok := strings.Cut(text, "-")
	if !ok {
		return from, to, errors.New("want FROM-TO")
	}
	if from, err = netip.ParseAddr(strings.TrimSpace(a)); err != nil {
		return from, to, err
	}
	if to, err = netip.ParseAddr(strings.TrimSpace(b)); err != nil {
		return from, to, err
	}
	if from.Is4() != to.Is4() || to.Less(from) || from.Zone() != "" || from.Is4In6() {
		return from, to, errors.New("the last comes before the first")
	}
	return from, to, nil
}

// portRange reads FROM-TO; "" is 0 and 0.
func portRange(name, text string) (from, to uint16, err error) {
	if text == "" {
		return 0, 0, nil
	}
	a, b, ok := strings.Cut(text, "-")
	if !ok {
		b = a
	}
	x, errFrom := strconv.ParseUint(strings.TrimSpace(a), 10, 16)
	y, errTo := strconv.ParseUint(strings.TrimSpace(b), 10, 16)
	if errFrom != nil || errTo != nil || x == 0 || y < x {
		return 0, 0, fmt.Errorf("%s %q: want FROM-TO, as in 7800-7899", name, text)
	}
	return uint16(x), uint16(y), nil
}

// Reservations is Reserve, parsed.
func (c *Config) Reservations() ([]Reservation, error) {
	var all []Reservation
	for _, text := range c.Reserve {
		wrong := func(what string) error {
			return fmt.Errorf("reserve %q: %s; want MACHINE=ADDRESS[=HOSTNAME], as in 52:54:00:12:34:56=192.0.2.10=pc-17 (MACHINE is a MAC, a UUID, or id:HEX for option 61)", text, what)
		}
		parts := strings.Split(text, "=")
		if len(parts) < 2 || len(parts) > 3 {
			return nil, wrong("not two or three parts")
		}
		r := Reservation{}
		var err error
		switch id, isID := strings.CutPrefix(parts[0], "id:"); {
		case isID:
			if b, err := hex.DecodeString(id); err != nil || len(b) == 0 {
				return nil, wrong("the identifier is not hexadecimal")
			}
			r.ClientID = strings.ToLower(id)
		case uuidText.MatchString(parts[0]):
			r.UUID = strings.ToLower(parts[0])
		default:
			if r.MAC, err = net.ParseMAC(parts[0]); err != nil || len(r.MAC) != 6 {
				return nil, wrong(strconv.Quote(parts[0]) + " is no machine")
			}
		}
		if r.Address, err = netip.ParseAddr(parts[1]); err != nil || !r.Address.Is4() {
			return nil, wrong(strconv.Quote(parts[1]) + " is no IPv4 address")
		}
		if len(parts) == 3 {
			if r.Hostname = parts[2]; !hostName.MatchString(r.Hostname) {
				return nil, wrong(strconv.Quote(parts[2]) + " is no host name")
			}
		}
		all = append(all, r)
	}
	return all, nil
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)

// QuirkRows is Quirks, parsed. A row is words of the form key=value: mac (may be
// repeated), arch (may be repeated), vendor, style, as, name.
func (c *Config) QuirkRows() ([]Quirk, error) {
	var rows []Quirk
	for i, text := range c.Quirks {
		wrong := func(what string) error {
			return fmt.Errorf("quirk %q: %s; want words such as mac=00:11:22 arch=7 vendor=PXEClient style=redirect as=9 name=lab", text, what)
		}
		q := Quirk{Name: fmt.Sprintf("setting-%d", i+1), Style: "complete"}
		matches, follows := false, false
		for _, word := range strings.Fields(text) {
			key, value, ok := strings.Cut(word, "=")
			if !ok || value == "" {
				return nil, wrong(strconv.Quote(word) + " is not key=value")
			}
			n, err := strconv.ParseUint(value, 0, 16)
			arch := uint16(n)
			switch key {
			case "mac":
				if !machineEntry.MatchString(value) || uuidText.MatchString(value) {
					return nil, wrong(strconv.Quote(value) + " is no beginning of a MAC")
				}
				q.MACs, matches = append(q.MACs, value), true
			case "arch":
				if err != nil {
					return nil, wrong(strconv.Quote(value) + " is no number of option 93")
				}
				q.Archs, matches = append(q.Archs, arch), true
			case "vendor":
				q.Vendor, matches = value, true
			case "style":
				switch value {
				case "complete", "redirect", "menu", "raspberry-pi":
				default:
					return nil, wrong("style is complete, redirect, menu or raspberry-pi")
				}
				q.Style, follows = value, true
			case "as":
				if err != nil {
					return nil, wrong(strconv.Quote(value) + " is no number of option 93")
				}
				q.As, follows = &arch, true
			case "name":
				q.Name = value
			default:
				return nil, wrong("there is no key " + strconv.Quote(key))
			}
		}
		if !matches || !follows {
			return nil, wrong("a row needs something to match and something to do")
		}
		rows = append(rows, q)
	}
	return rows, nil
}
