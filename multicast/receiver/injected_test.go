package receiver

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"castpoint/internal/simnet"
	"castpoint/multicast/wire"
)

var rogueAddress = netip.MustParseAddr("192.0.2.66")

// Who invents addresses takes no memory, and is told of a few times.
func TestInjectorsAreBounded(t *testing.T) {
	v := newVictim(t)
	v.r.source = simnet.Source
	told := 0
	v.r.cfg.Injected = func(netip.Addr) { told++ }
	d := v.symbol(0, 0)
	for i := range 1000 {
		v.r.datagram(d, netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}), time.Now())
	}
	if st := v.r.stats; st.Injected != 1000 || len(st.Injectors) != maxInjectors || told != maxInjectors || st.Datagrams != 0 || v.r.highest != 0 || v.aead.opened != 0 {
		t.Errorf("%d are told, %d opened: %+v", told, v.aead.opened, st)
	}
}

// An unsigned beacon is not believed, whoever sends it.
func TestUnsignedBeaconPassedOn(t *testing.T) {
	v := newVictim(t)
	v.r.source = simnet.Source
	v.r.cfg.Admission.Session.BeaconKey = make([]byte, 32)
	v.r.datagram(v.beacon(wire.StateEnded), rogueAddress, time.Now())
	if v.r.source != simnet.Source || v.r.beacon.State != 0 || v.r.stats.Injected != 1 {
		t.Errorf("an unsigned beacon was believed: %+v", v.r.stats)
	}
}

// When nothing comes but what somebody else sends, the error says from where.
func TestOnlyInjected(t *testing.T) {
	v := newVictim(t)
	v.r.source = simnet.Source
	v.r.datagram(v.symbol(0, 0), rogueAddress, time.Now())
	if err := v.r.nothing(); !errors.Is(err, ErrNoDatagrams) || err.Error() != "no datagram of the session has arrived from 192.0.2.1, the server; 1 came from 192.0.2.66" {
		t.Error(err)
	}
}
