package host

import (
	"bytes"
	"net"
	"testing"
)

func TestWakePacket(t *testing.T) {
	mac := net.HardwareAddr{0x52, 0x54, 0, 1, 2, 3}
	p := wakePacket(mac)
	if len(p) != 102 || !bytes.Equal(p[:6], []byte{255, 255, 255, 255, 255, 255}) || !bytes.Equal(p[96:], mac) {
		t.Errorf("% x", p)
	}
	if err := SendWake([]string{"no such interface"}, mac); err == nil {
		t.Error("sent by an interface that is not there")
	}
}
