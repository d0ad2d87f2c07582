package platform

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// fakeNetwork is a system whose cards change with time.
type fakeNetwork struct {
	began time.Time
	at    func(after time.Duration, f *fakeNetwork) []Card
	none  []string // devices without driver
	calls []string
}

func (f *fakeNetwork) cards() ([]Card, error)        { return f.at(time.Since(f.began), f), nil }
func (f *fakeNetwork) driverless() ([]string, error) { return f.none, nil }
func (f *fakeNetwork) call(name string) error {
	f.calls = append(f.calls, fmt.Sprintf("%s %v", name, time.Since(f.began)))
	return nil
}
func (f *fakeNetwork) start(context.Context) error { return f.call("start") }
func (f *fakeNetwork) renew(context.Context) error { return f.call("renew") }

const (
	mac1 = "52:54:00:00:00:01"
	mac2 = "52:54:00:00:00:02"
)

func card(mac string, link bool, addresses ...string) Card {
	c := Card{Name: "Ethernet " + mac[len(mac)-1:], MAC: mac, Link: link}
	for _, a := range addresses {
		c.Addresses = append(c.Addresses, netip.MustParseAddr(a))
	}
	return c
}

func TestBringUp(t *testing.T) {
	for _, c := range []struct {
		name  string
		mac   string
		none  []string
		at    func(time.Duration, *fakeNetwork) []Card
		says  []string
		calls []string
		took  time.Duration
		fails string
	}{
		{
			name: "there already", mac: strings.ToUpper(mac1),
			at: func(time.Duration, *fakeNetwork) []Card {
				return []Card{card(mac2, false), card(mac1, true, "192.0.2.7")}
			},
		},
		{
			name: "driver comes with the network's start", mac: mac1,
			at: func(d time.Duration, f *fakeNetwork) []Card {
				if len(f.calls) == 0 || d < 3*time.Second {
					return nil
				}
				return []Card{card(mac1, true, "fe80::1", "192.0.2.7")}
			},
			says: []string{"no network card is there: is it switched off in the firmware?"}, calls: []string{"start 0s"}, took: 3 * time.Second,
		},
		{
			name: "no driver at all", none: []string{`PCI\VEN_8086&DEV_15F3 (Ethernet Controller)`, `PCI\VEN_10EC&DEV_8125`},
			at:    func(time.Duration, *fakeNetwork) []Card { return nil },
			says:  []string{`this boot image has no driver for PCI\VEN_8086&DEV_15F3 (Ethernet Controller), PCI\VEN_10EC&DEV_8125; attach it on the server: castpoint content attach IMAGE --drivers FOLDER`},
			calls: []string{"start 0s", "start 31s", "start 1m2s", "start 1m33s", "start 2m4s", "start 2m35s", "start 3m6s", "start 3m37s", "start 4m8s", "start 4m39s"},
			took:  301 * time.Second, fails: "this machine has no network after 5m0s: this boot image has no driver for",
		},
		{
			name: "cable comes late, spanning tree holds DHCP", mac: mac1,
			at: func(d time.Duration, _ *fakeNetwork) []Card {
				switch {
				case d < 20*time.Second:
					return []Card{card(mac1, false)}
				case d < 55*time.Second:
					return []Card{card(mac1, true, "169.254.7.8")} // Windows gave itself one
				}
				return []Card{card(mac1, true, "192.0.2.7")}
			},
			says: []string{
				"no link on Ethernet 1 (" + mac1 + "): check the cable and the switch port",
				"asking for an address on Ethernet 1 (" + mac1 + ")",
				"no DHCP server has answered on Ethernet 1 (" + mac1 + "); asking again",
			},
			calls: []string{"renew 36s", "renew 52s"}, took: 55 * time.Second,
		},
		{
			name: "another card than the one that booted", mac: mac1,
			at: func(time.Duration, *fakeNetwork) []Card {
				return []Card{card(mac1, false), card(mac2, true, "2001:db8::7")}
			},
			says: []string{
				"no link on Ethernet 1 (" + mac1 + "): check the cable and the switch port",
				"the network card " + mac1 + ", from which this machine booted, has no address; going on with " + mac2,
			},
			took: 20 * time.Second,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeNetwork{began: time.Now(), at: c.at, none: c.none}
				var says []string
				cards, err := bringUp(t.Context(), f, c.mac, func(s string) { says = append(says, s) })
				if c.fails == "" && (err != nil || len(cards) == 0) || c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)) {
					t.Errorf("%v, %v", cards, err)
				}
				if !slices.Equal(says, c.says) || !slices.Equal(f.calls, c.calls) || time.Since(f.began) != c.took {
					t.Errorf("after %v said %q, called %q; want %v, %q, %q", time.Since(f.began), says, f.calls, c.took, c.says, c.calls)
				}
			})
		})
	}
}

func TestBringUpEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f := &fakeNetwork{began: time.Now(), at: func(time.Duration, *fakeNetwork) []Card { return nil }}
	if _, err := bringUp(ctx, f, "", func(string) {}); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestNetworkDevice(t *testing.T) {
	for _, c := range []struct {
		ids []string
		id  string
		ok  bool
	}{
		{[]string{`PCI\VEN_8086&DEV_15F3&SUBSYS_00008086&REV_03`, `PCI\VEN_8086&DEV_15F3&CC_020000`}, `PCI\VEN_8086&DEV_15F3`, true},
		{[]string{`pci\ven_10ec&dev_8125&cc_0200`}, `PCI\VEN_10EC&DEV_8125`, true},
		{[]string{`PCI\VEN_8086&DEV_2723&CC_028000`}, `PCI\VEN_8086&DEV_2723`, true}, // wireless
		{[]string{`PCI\VEN_8086&DEV_A0E0&CC_078000`}, `PCI\VEN_8086&DEV_A0E0`, false},
		{[]string{`USB\VID_0BDA&PID_8153`}, "", false},
		{[]string{"", "&DEV_", "&CC_02"}, "", false},
		{nil, "", false},
	} {
		if id, ok := networkDevice(c.ids); ok != c.ok || ok && id != c.id {
			t.Errorf("%q: %q, %v", c.ids, id, ok)
		}
	}
}

func TestAddressOf(t *testing.T) {
	cards := []Card{card(mac2, true, "169.254.0.1"), card(mac2, true, "192.0.2.8"), card(mac1, true, "192.0.2.7")}
	if got := AddressOf(cards, mac1); got != "192.0.2.7 on Ethernet 1" {
		t.Error(got)
	}
	if got := AddressOf(cards[:2], mac1); got != "192.0.2.8 on Ethernet 2" {
		t.Error(got)
	}
	if got := AddressOf(nil, mac1); got != "" {
		t.Error(got)
	}
	if _, err := listCards(); err != nil {
		t.Error(err)
	}
}
