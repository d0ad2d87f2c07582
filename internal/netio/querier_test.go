//go:build linux

package netio

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
)

// FuzzQuerier: whatever comes by IGMP, only a question for all groups makes a querier.
func FuzzQuerier(f *testing.F) {
	f.Add([]byte{0x11, 100, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{0x11, 100, 0, 0, 239, 1, 2, 3})
	f.Add([]byte{0x16, 0, 0, 0, 239, 1, 2, 3})
	f.Add([]byte{0x11})
	lo, err := net.InterfaceByIndex(1)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		over := errors.New("over")
		sent := false
		q := &Queriers{heard: make(map[string]Querier), close: func() error { return nil }, read: func(buf []byte) (int, int, netip.Addr, error) {
			if sent {
				return 0, 0, netip.Addr{}, over
			}
			sent = true
			return copy(buf, b), lo.Index, netip.IPv4Unspecified(), nil
		}}
		if err := q.Serve(context.Background()); !errors.Is(err, over) {
			t.Fatal(err)
		}
		want := len(b) >= 8 && b[0] == igmpQuery && [4]byte(b[4:8]) == [4]byte{}
		if _, ok := q.Heard(lo.Name); ok != want {
			t.Errorf("% x: a querier: %v", b, ok)
		}
	})
}
