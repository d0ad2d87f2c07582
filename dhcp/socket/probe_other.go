//go:build !linux

package socket

import (
	"context"
	"errors"
	"net"
	"net/netip"
)

func ProbeARP(context.Context, int, netip.Addr) (net.HardwareAddr, bool, error) {
	return nil, false, errors.ErrUnsupported
}
