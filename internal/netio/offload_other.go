//go:build !linux

package netio

import (
	"errors"
	"net"
	"net/netip"
)

func probeSegmentation(*net.UDPConn) bool { return false }

func writeSegmented(*net.UDPConn, []byte, int, netip.AddrPort) error {
	return errors.ErrUnsupported
}

func segmentationRefused(err error) bool { return errors.Is(err, errors.ErrUnsupported) }
