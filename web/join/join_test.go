package join

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSourceOfIPv6IsItsNetwork(t *testing.T) {
	a, b := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2:3:4:5")
	c := netip.MustParseAddr("2001:db8:0:1::1")
	if source(a) != source(b) || source(a) == source(c) {
		t.Error(source(a), source(b), source(c))
	}
	if source(netip.MustParseAddr("::ffff:192.0.2.1")) != netip.MustParseAddr("192.0.2.1") {
		t.Error("a mapped address is IPv4")
	}
}

func TestIdentity(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	first, err := LoadIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	second, err := LoadIdentity(dir)
	if err != nil || first.Pin != second.Pin {
		t.Error("the identity does not last", err)
	}
	path := filepath.Join(dir, identityFile)
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Error(st.Mode(), err)
	}
	if err := os.WriteFile(path, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadIdentity(dir); err == nil || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
}
