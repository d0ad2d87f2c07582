//go:build !linux

package socket

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
)

func OpenUDP(_ context.Context, name string, port uint16) (Transport, error) {
	return nil, fmt.Errorf("listen on UDP port %d of interface %s: %w", port, name, errors.ErrUnsupported)
}

func OpenUDP6(_ context.Context, name string, port uint16, _ ...netip.Addr) (Transport, error) {
	return nil, fmt.Errorf("listen on UDP port %d of interface %s by IPv6: %w", port, name, errors.ErrUnsupported)
}

func OpenRaw6(_ context.Context, name string, port uint16, _ ...netip.Addr) (Transport, error) {
	return nil, fmt.Errorf("listen beside UDP port %d of interface %s by IPv6: %w", port, name, errors.ErrUnsupported)
}

type Tap struct{}

func OpenTap(name string, port uint16, _ bool) (*Tap, error) {
	return nil, fmt.Errorf("listen beside UDP port %d of interface %s: %w", port, name, errors.ErrUnsupported)
}

func OpenTap6(name string, port uint16) (*Tap, error) { return OpenTap(name, port, false) }

func (*Tap) Receive(func([]byte, Received) []byte) error { return errors.ErrUnsupported }
func (*Tap) Transmit([]byte, netip.AddrPort, netip.AddrPort, int) error {
	return errors.ErrUnsupported
}
func (*Tap) Close() error { return nil }

type Frames struct{}

func OpenFrames() (*Frames, error) {
	return nil, fmt.Errorf("open packet socket: %w", errors.ErrUnsupported)
}

func (*Frames) Send(int, []byte) error { return errors.ErrUnsupported }
func (*Frames) Close() error           { return nil }
