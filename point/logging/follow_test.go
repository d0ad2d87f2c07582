package logging

import (
	"net"
	"net/netip"
	"sync/atomic"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"castpoint/boot"
	"castpoint/point/witness"
)

// Lines that name a machine by what a part of the program knows of it have its MAC and
// the id of its record.
func TestFollow(t *testing.T) {
	core, seen := observer.New(zapcore.InfoLevel)
	var who atomic.Pointer[witness.Whois]
	log := Follow(zap.New(core), &who)
	const id, mac, uuid = "2a7bcdcb9d", "52:54:00:00:00:01", "11111111-2222-4333-8444-555555555555"
	hw, _ := net.ParseMAC(mac)
	client := boot.Client{MAC: hw, UUID: uuid, IPXE: true}

	log.Info("too soon", zap.String("mac", mac))
	w := &witness.Whois{}
	who.Store(w)
	w.Know(client, id)
	w.Note(client, netip.MustParseAddr("192.0.2.7"))
	for _, c := range []struct {
		name   string
		logger string
		fields []zap.Field
		want   map[string]any // nil values are fields that must not be there
	}{
		{"client", "dhcp", []zap.Field{zap.Inline(client)}, map[string]any{"device": id, "mac": mac, "uuid": uuid, "firmware": "iPXE"}},
		{"address with port", "tftp", []zap.Field{zap.Stringer("peer", netip.MustParseAddrPort("192.0.2.7:1069"))}, map[string]any{"device": id, "mac": mac}},
		{"address as text", "join", []zap.Field{zap.String("peer", "192.0.2.7")}, map[string]any{"device": id, "mac": mac}},
		{"admin", "admin", []zap.Field{zap.String("peer", "192.0.2.7")}, map[string]any{"device": nil, "mac": nil}},
		{"mac", "join", []zap.Field{zap.String("mac", mac)}, map[string]any{"device": id}},
		{"member", "session", []zap.Field{zap.String("name", "52-54-00-00-00-01")}, map[string]any{"device": id}},
		{"stranger", "tftp", []zap.Field{zap.String("peer", "192.0.2.8:5")}, map[string]any{"device": nil, "mac": nil}},
		{"known by itself", "rollout", []zap.Field{zap.String("device", "other"), zap.String("mac", mac)}, map[string]any{"device": "other"}},
	} {
		log.Named(c.logger).Info(c.name, c.fields...)
		all := seen.FilterMessage(c.name).All()
		if len(all) != 1 {
			t.Fatalf("%s: %d lines", c.name, len(all))
		}
		got := all[0].ContextMap()
		for key, want := range c.want {
			if value, ok := got[key]; ok != (want != nil) || ok && value != want {
				t.Errorf("%s: %s is %v, want %v", c.name, key, value, want)
			}
		}
	}
	log.With(zap.String("mac", mac)).Info("with")
	if got := seen.FilterMessage("with").All()[0].ContextMap(); got["device"] != id {
		t.Errorf("%v", got)
	}
	log.Debug("below the level", zap.String("mac", mac))
	if seen.FilterMessage("below the level").Len() != 0 {
		t.Error("the level does not count")
	}
	if got := seen.FilterMessage("too soon").All()[0].ContextMap(); got["device"] != nil {
		t.Errorf("%v", got)
	}
	w.Know(client, "")
	log.Info("removed", zap.String("mac", mac))
	if got := seen.FilterMessage("removed").All()[0].ContextMap(); got["device"] != nil {
		t.Errorf("%v", got)
	}
}
