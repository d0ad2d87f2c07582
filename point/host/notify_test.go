package host

import (
	"net"
	"path/filepath"
	"testing"
)

func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenPacket("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	if err := Notify(t.Context(), "READY=1"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 64)
	if n, _, err := l.ReadFrom(b); err != nil || string(b[:n]) != "READY=1" {
		t.Errorf("%q %v", b[:n], err)
	}
	t.Setenv("NOTIFY_SOCKET", "")
	if err := Notify(t.Context(), "READY=1"); err != nil {
		t.Error(err)
	}
}
