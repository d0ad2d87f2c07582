//go:build !linux

package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
)

func openUDP(_ context.Context, name string, port uint16) (transport, error) {
	return nil, fmt.Errorf("listen on UDP port %d of interface %s: %w", port, name, errors.ErrUnsupported)
}

func openUDP6(_ context.Context, name string, port uint16) (transport, error) {
	return nil, fmt.Errorf("listen on UDP port %d of interface %s by IPv6: %w", port, name, errors.ErrUnsupported)
}

func openRaw6(_ context.Context, name string, port uint16) (transport, error) {
	return nil, fmt.Errorf("listen beside UDP port %d of interface %s by IPv6: %w", port, name, errors.ErrUnsupported)
}

type tap struct{}

func openTap(name string, port uint16, _ bool) (*tap, error) {
	return nil, fmt.Errorf("listen beside UDP port %d of interface %s: %w", port, name, errors.ErrUnsupported)
}

func openTap6(name string, port uint16) (*tap, error) { return openTap(name, port, false) }

func (*tap) receive(func([]byte, received) []byte) error { return errors.ErrUnsupported }
func (*tap) transmit([]byte, netip.AddrPort, netip.AddrPort, int) error {
	return errors.ErrUnsupported
}
func (*tap) Close() error { return nil }

type frames struct{}

func openFrames() (*frames, error) {
	return nil, fmt.Errorf("open packet socket: %w", errors.ErrUnsupported)
}

func (*frames) send(int, []byte) error { return errors.ErrUnsupported }
func (*frames) close() error           { return nil }
