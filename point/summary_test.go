package point

import (
	"net"
	"strings"
	"testing"
)

// TestSummaryOfAdmin: the summary says how the admin listener is reached.
func TestSummaryOfAdmin(t *testing.T) {
	for _, c := range []struct{ address, scheme, note string }{
		{"127.0.0.1:8069", "http://", "this host only"},
		{"0.0.0.0:8069", "https://", fileBootCA},
	} {
		data := t.TempDir()
		p := newAPIPoint(t, data, "admin: "+c.address+"\n")
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		p.admin = l // closed with the point
		row := p.adminRow()
		if row[1] != c.scheme+l.Addr().String() || !strings.Contains(row[2], c.note) {
			t.Errorf("%s: %v", c.address, row)
		}
	}
}
