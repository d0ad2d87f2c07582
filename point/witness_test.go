package point

import (
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"castpoint/boot"
	"castpoint/dhcp"
	"castpoint/internal/calendar"
	"castpoint/internal/config"
	"castpoint/internal/event"
	"castpoint/tftp"
	"castpoint/web/metrics"
)

// TestWitness: what the servers tell becomes events of the right machine.
func TestWitness(t *testing.T) {
	cfg := config.Default()
	cfg.DevicesUnknown = "approve"
	clock, err := calendar.OpenWatch(filepath.Join(t.TempDir(), fileClock), nil)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := openRecords(t.Context(), t.TempDir(), &cfg, clock, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = kept.close() }()
	w := &witness{metrics: metrics.New(metrics.Config{Read: func() metrics.State { return metrics.State{} }}), timeline: kept.timeline, devices: kept.devices}
	const uuid = "4c4c4544-0042-3510-8052-b3c04f4b4e32"
	mac, _ := net.ParseMAC("52:54:00:00:00:01")
	addr := netip.MustParseAddr("198.51.100.7")
	c := boot.Client{MAC: mac, UUID: uuid, PXE: true}
	w.dhcp(dhcp.Event{Client: c, Asked: "DISCOVER", Answer: "OFFER", File: "x.efi", Reason: "because", Address: addr})
	w.dhcp(dhcp.Event{Client: c, Asked: "DISCOVER", Reason: "nothing for it"})
	w.dhcp(dhcp.Event{Client: boot.Client{MAC: mac}, Asked: "DISCOVER", Answer: "OFFER"}) // no netboot
	peer := tftp.Request{Path: "x.efi", Peer: netip.AddrPortFrom(addr, 2000)}
	w.tftp(tftp.Event{Kind: tftp.Started, Request: peer})
	w.tftp(tftp.Event{Kind: tftp.Finished, Request: peer, Stats: tftp.Stats{Bytes: 1e6, Duration: time.Second}})
	w.tftp(tftp.Event{Kind: tftp.Aborted, Request: peer, Err: errors.New("the client went away")})
	remote := netip.AddrPortFrom(addr, 3000)
	for range 3 { // it asks again and again
		w.http(boot.Request{Client: boot.Client{MAC: mac, UUID: uuid, IPXE: true}, Remote: remote, Method: "GET", Name: "/ipxe/bios/52-54-00-00-00-01/" + uuid, Status: 200})
	}
	for range 5 { // in pieces
		w.http(boot.Request{Client: w.asker(addr), Remote: remote, Method: "GET", Name: "/boot/1/boot.wim", Status: 206, Bytes: 1})
	}
	if err := kept.timeline.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, f := range []event.Filter{{MACs: []string{mac.String()}}, {UUIDs: []string{uuid}}} {
		p, err := kept.timeline.Query(t.Context(), f, 0, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range p.Events {
			mark := ""
			if e.Trouble {
				mark = "!"
			}
			got = append(got, mark+string(e.Kind))
		}
		if text := strings.Join(got, " "); text != "dhcp !dhcp tftp !tftp !record boot http" {
			t.Errorf("%+v: %s: %+v", f, text, p.Events)
		}
	}
}
