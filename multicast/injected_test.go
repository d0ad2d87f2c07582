package multicast

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"castpoint/internal/simnet"
	"castpoint/multicast/block"
	"castpoint/multicast/wire"
	"castpoint/test/objects"
)

var rogueAddress = netip.MustParseAddr("192.0.2.66")

// TestInjected has a member that sends rubbish with the group key from its own address:
// it costs the others nothing, and they say where it came from.
func TestInjected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 12, 20*objects.BlockSize, nil)
		l.net.SetUplink(200e6)
		a := l.join("a", simnet.Link{}, simnet.Link{}, nil)
		l.s.mu.Lock()
		key := l.s.keys.Current()
		l.s.mu.Unlock()
		wrong := make([]byte, block.DefaultSymbolSize)
		for i := range uint16(2000) {
			h := wire.Header{Type: wire.TypeSymbol, Session: 1, Symbol: i % 128, Block: uint32(i % 20), Epoch: key.Epoch, Number: wire.PacketNumber(1e9 + uint64(i)), Object: l.s.g.Tag}
			a.conn.InjectFrom(rogueAddress, key.Seal(h.Append(nil), wrong, uint64(h.Number)))
		}
		l.verify(a)
		l.close()
		st := a.r.Stats()
		if st.Poisoned != 0 || st.Forged != 0 || st.Injected != 2000 || !slices.Equal(st.Injectors, []netip.Addr{rogueAddress}) {
			t.Errorf("%+v", st)
		}
		if a.r.highest >= 1e9 {
			t.Errorf("a made-up packet number %d was believed", a.r.highest)
		}
	})
}

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
	if st := v.r.stats; st.Injected != 1000 || len(st.Injectors) != maxInjectors || told != maxInjectors || st.Datagrams != 0 || v.aead.opened != 0 {
		t.Errorf("%d are told, %d opened: %+v", told, v.aead.opened, st)
	}
}

// TestSourceIsTranslated: a session that comes from another address than the server said
// is found by its signed beacons, and its members say so.
func TestSourceIsTranslated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 12, 20*objects.BlockSize, nil)
		l.net.SetSource(netip.MustParseAddr("203.0.113.9"))
		a := l.join("a", simnet.Link{}, simnet.Link{}, nil)
		l.verify(a)
		l.close()
		if a.took > 5*time.Second {
			t.Errorf("it took %s", a.took)
		}
	})
}

// A member that passes the server's beacons on from its own address is not taken for the
// server, and unsigned ones never are.
func TestBeaconsPassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 12, 200*objects.BlockSize, nil)
		l.net.SetUplink(50e6)
		a := l.join("a", simnet.Link{Loss: 0.2}, simnet.Link{}, nil)
		l.net.SetTap(func(d []byte) bool {
			if h, err := wire.ParseHeader(d); err == nil && h.Type == wire.TypeBeacon {
				a.conn.InjectFrom(rogueAddress, d)
			}
			return true
		})
		l.verify(a)
		l.close()
		if a.r.source != simnet.Source || a.r.Stats().Injected == 0 {
			t.Errorf("the server is taken to be %s: %+v", a.r.source, a.r.Stats())
		}
	})
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
