package platform

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Tuning of bringing the network up.
const (
	networkLook    = time.Second
	networkGiveUp  = 5 * time.Minute
	networkRestart = 30 * time.Second // before drivers are looked for again
	linkPatience   = 8 * time.Second  // cards take some seconds to find their link
	renewInterval  = 15 * time.Second // spanning tree takes up to 50 s to pass DHCP on
	wantedPatience = 20 * time.Second // for the card that booted, while another has an address
)

// networkSystem is what bringing the network up needs of a system.
type networkSystem interface {
	cards() ([]Card, error)
	// driverless lists network devices without driver.
	driverless() ([]string, error)
	// start loads drivers and protocols.
	start(ctx context.Context) error
	// renew asks DHCP again.
	renew(ctx context.Context) error
}

// bringUp waits until a card has an address, and does what helps: starting the
// network while there is no card, asking DHCP again while one has a link and no
// address. What stands in the way is said, each reason once.
func bringUp(ctx context.Context, s networkSystem, mac string, say func(string)) ([]Card, error) {
	began := time.Now()
	mac = strings.ToLower(mac)
	var started, renewed time.Time
	said := map[string]bool{}
	once := func(format string, args ...any) string {
		text := fmt.Sprintf(format, args...)
		if !said[text] {
			said[text] = true
			say(text)
		}
		return text
	}
	linkSince := map[string]time.Time{}
	for {
		all, err := s.cards()
		if err != nil {
			return nil, fmt.Errorf("list network cards: %w", err)
		}
		now := time.Now()
		if c := ready(all, mac, now.Sub(began)); c != nil {
			if mac != "" && c.MAC != mac {
				once("the network card %s, from which this machine booted, has no address; going on with %s", mac, c.MAC)
			}
			return all, nil
		}
		var why string
		switch card := pick(all, mac); {
		case card == nil:
			if started.IsZero() || now.Sub(started) > networkRestart {
				started = now
				if err := s.start(ctx); err != nil {
					once("the network did not start: %v", err)
				}
			}
			why = explainNoCard(s, once)
		case !card.Link:
			why = fmt.Sprintf("no link on %s (%s): check the cable and the switch port", card.Name, card.MAC)
			if now.Sub(began) > linkPatience {
				once("%s", why)
			}
		default:
			if linkSince[card.MAC].IsZero() {
				linkSince[card.MAC] = now
				renewed = now // DHCP asks by itself when the link comes
				once("asking for an address on %s (%s)", card.Name, card.MAC)
			}
			why = fmt.Sprintf("no DHCP server has answered on %s (%s)", card.Name, card.MAC)
			if now.Sub(renewed) > renewInterval {
				once("%s; asking again", why)
				if err := s.renew(ctx); err != nil {
					once("asking again failed: %v", err)
				}
				renewed = time.Now()
			}
		}
		if now.Sub(began) > networkGiveUp {
			return nil, fmt.Errorf("this machine has no network after %s: %s", networkGiveUp, why)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("interrupted while waiting for the network: %s", why)
		case <-time.After(networkLook):
		}
	}
}

// ready is a card with an address: the wanted one, or any after a while.
func ready(all []Card, mac string, waited time.Duration) *Card {
	var any *Card
	for i := range all {
		if _, ok := all[i].usable(); !ok {
			continue
		}
		if mac == "" || all[i].MAC == mac {
			return &all[i]
		}
		any = &all[i]
	}
	if waited < wantedPatience {
		return nil
	}
	return any
}

// pick is the card to wait for: the wanted one, one with a link, any.
func pick(all []Card, mac string) *Card {
	var best *Card
	for i := range all {
		c := &all[i]
		switch {
		case mac != "" && c.MAC == mac:
			return c
		case best == nil, c.Link && !best.Link:
			best = c
		}
	}
	return best
}

// explainNoCard names the network devices that the boot image has no driver for.
func explainNoCard(s networkSystem, once func(string, ...any) string) string {
	list, err := s.driverless()
	switch {
	case err != nil:
		return once("no network card, and the devices cannot be listed: %v", err)
	case len(list) == 0:
		return once("no network card is there: is it switched off in the firmware?")
	}
	return once("this boot image has no driver for %s; attach it on the server: castpoint content attach IMAGE --drivers FOLDER", strings.Join(list, ", "))
}

// networkDevice says whether hardware ids are those of a network controller, and
// gives the shortest that names the device. Windows lists them from the most to
// the least special: PCI\VEN_8086&DEV_15F3&SUBSYS_00008086&REV_03, ...,
// PCI\VEN_8086&DEV_15F3&CC_020000. Class 02 is a network controller (PCI Code and
// ID Assignment Specification).
func networkDevice(ids []string) (id string, ok bool) {
	for _, s := range ids {
		s = strings.ToUpper(s)
		if _, class, found := strings.Cut(s, "&CC_"); found && strings.HasPrefix(class, "02") {
			ok = true
		}
		if vendor, rest, found := strings.Cut(s, "&DEV_"); found && id == "" && strings.HasPrefix(vendor, `PCI\VEN_`) {
			device, _, _ := strings.Cut(rest, "&")
			id = vendor + "&DEV_" + device
		}
	}
	return id, ok && id != ""
}
