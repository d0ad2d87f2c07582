//go:build !linux

package dhcp

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/net/ipv4"
)

func openUDP(_ context.Context, name string, port uint16) (*ipv4.PacketConn, error) {
	return nil, fmt.Errorf("listen on UDP port %d of interface %s: %w", port, name, errors.ErrUnsupported)
}

type frames struct{}

func openFrames() (*frames, error) {
	return nil, fmt.Errorf("open packet socket: %w", errors.ErrUnsupported)
}

func (*frames) send(int, []byte) error { return errors.ErrUnsupported }
func (*frames) close() error           { return nil }
