package witness

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"castpoint/boot"
	"castpoint/boot/httpboot"
	"castpoint/deploy"
	"castpoint/dhcp"
	"castpoint/internal/config"
	"castpoint/internal/event"
	"castpoint/internal/store"
	"castpoint/point/settings"
	"castpoint/tftp"
	"castpoint/tftp/flow"
	"castpoint/web/metrics"
)

// TestWitness: what the servers tell becomes events of the right machine.
func TestWitness(t *testing.T) {
	cfg := config.Default()
	cfg.DevicesUnknown = "approve"
	records, err := store.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = records.Close() }()
	timeline, err := event.New(event.Config{Store: records})
	if err != nil {
		t.Fatal(err)
	}
	defer timeline.Close()
	dc := settings.Devices(&cfg)
	dc.Store, dc.Note = records, timeline.Record
	devices, err := deploy.Open(t.Context(), dc)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = devices.Close() }()
	w := New(metrics.New(metrics.Config{Read: func() metrics.State { return metrics.State{} }}), timeline, devices)
	const uuid = "4c4c4544-0042-3510-8052-b3c04f4b4e32"
	mac, _ := net.ParseMAC("52:54:00:00:00:01")
	addr := netip.MustParseAddr("198.51.100.7")
	c := boot.Client{MAC: mac, UUID: uuid, PXE: true}
	w.DHCP(dhcp.Event{Client: c, Asked: "DISCOVER", Answer: "OFFER", File: "x.efi", Reason: "because", Address: addr})
	w.DHCP(dhcp.Event{Client: c, Asked: "DISCOVER", Reason: "nothing for it"})
	w.DHCP(dhcp.Event{Client: boot.Client{MAC: mac}, Asked: "DISCOVER", Answer: "OFFER"}) // no netboot
	peer := tftp.Request{Path: "x.efi", Peer: netip.AddrPortFrom(addr, 2000)}
	w.TFTP(tftp.Event{Kind: tftp.Started, Request: peer})
	w.TFTP(tftp.Event{Kind: tftp.Finished, Request: peer, Stats: flow.Stats{Bytes: 1e6, Duration: time.Second}})
	w.TFTP(tftp.Event{Kind: tftp.Aborted, Request: peer, Err: errors.New("the client went away")})
	remote := netip.AddrPortFrom(addr, 3000)
	for range 3 { // it asks again and again
		w.HTTP(httpboot.Request{Client: boot.Client{MAC: mac, UUID: uuid, IPXE: true}, Remote: remote, Method: "GET", Name: "/ipxe/bios/52-54-00-00-00-01/" + uuid, Status: 200})
	}
	for range 5 { // in pieces
		w.HTTP(httpboot.Request{Client: w.Asker(addr), Remote: remote, Method: "GET", Name: "/boot/1/boot.wim", Status: 206, Bytes: 1})
	}
	if err := timeline.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, f := range []event.Filter{{MACs: []string{mac.String()}}, {UUIDs: []string{uuid}}} {
		p, err := timeline.Query(t.Context(), f, 0, 0, 0)
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
