package sender

import (
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
	})
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
// server.
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
		if st := a.r.Stats(); slices.Contains(st.Injectors, simnet.Source) || st.Injected == 0 {
			t.Errorf("somebody else is taken to be the server: %+v", st)
		}
	})
}
