//go:build !linux

package dhcp

import (
	"context"
	"errors"
	"net"
	"net/netip"
)

func probeARP(context.Context, Arrival, netip.Addr) (net.HardwareAddr, bool, error) {
	return nil, false, errors.ErrUnsupported
}
