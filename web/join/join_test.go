package join

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A machine with an old token keeps no other machine of its network out; who guesses
// passwords has one allowance for all addresses of its network.
func TestFailuresOfIPv6(t *testing.T) {
	var f failures
	a, b := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2:3:4:5")
	other := netip.MustParseAddr("2001:db8:0:1::1")
	for range failBurst {
		f.note(a)
	}
	if f.blocked(a) == nil {
		t.Error("an address may fail as often as it likes")
	}
	if err := f.blocked(b); err != nil {
		t.Errorf("its neighbour: %v", err)
	}
	for i := range failBurst {
		if _, err := f.guess(netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 15: byte(i)})); err != nil {
			t.Fatal(i, err)
		}
	}
	if _, err := f.guess(b); err == nil {
		t.Error("a network may guess as often as it likes")
	}
	if _, err := f.guess(other); err != nil {
		t.Errorf("another network: %v", err)
	}
	if host(netip.MustParseAddr("::ffff:192.0.2.1")) != network(netip.MustParseAddr("192.0.2.1")) {
		t.Error("a mapped address is not IPv4")
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
