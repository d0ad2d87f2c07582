package host

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

func TestNeighbours(t *testing.T) {
	path := filepath.Join(t.TempDir(), "arp")
	text := "IP address       HW type     Flags       HW address            Mask     Device\n" +
		"192.0.2.7        0x1         0x2         52:54:00:00:00:07     *        eth0\n" +
		"192.0.2.8        0x1         0x0         00:00:00:00:00:00     *        eth0\nnonsense\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got := Neighbours(path)
	if len(got) != 1 || got[netip.MustParseAddr("192.0.2.7")] != "52:54:00:00:00:07" {
		t.Errorf("%v", got)
	}
	if got := Neighbours(path + "x"); len(got) != 0 {
		t.Errorf("%v", got)
	}
}
