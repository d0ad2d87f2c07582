package point

import (
	"os"

	"kernel.org/pub/linux/libs/security/libcap/cap"

	"castpoint/dhcp/dhcp4"
	"castpoint/point/host"
)

// onPorts are what serving needs as long as it runs: a socket is opened again
// when its interface has been away, and an address is probed by ARP before it is
// offered.
func onPorts() []cap.Value { return []cap.Value{cap.NET_BIND_SERVICE, cap.NET_RAW} }

// stillNeeded are the capabilities that serving uses once everything is bound.
func (p *point) stillNeeded() []cap.Value {
	var keep []cap.Value
	if os.Geteuid() == 0 {
		keep = host.AsRoot()
	}
	if p.cfg.DHCP != string(dhcp4.ModeOff) || p.cfg.DHCP6 {
		keep = append(keep, onPorts()...)
	}
	return keep
}
