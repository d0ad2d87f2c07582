package dhcp

import (
	"time"

	"castpoint/boot"
	"castpoint/dhcp/dhcp4"
)

// DeviceTerms are what one machine has instead of the general terms. The zero
// value changes nothing.
type DeviceTerms struct {
	Name  string         // of the machine, for events
	Style dhcp4.Style    // of ProxyDHCP; "" is that of the quirk table
	Delay *time.Duration // nil is Config.Delay
}

// device is the row of the quirk table with what the machine's own terms change,
// and how long a DISCOVER of it waits.
func (s *Server) device(c boot.Client, q dhcp4.Quirk) (dhcp4.Quirk, time.Duration) {
	delay := s.manner.Load().delay
	if s.config.Device == nil {
		return q, delay
	}
	own := s.config.Device(c)
	if own.Style != "" && own.Style.Validate() == nil {
		q.Name, q.Style, q.Evidence = "device "+own.Name, own.Style, "the record of the device"
	}
	if own.Delay != nil {
		delay = min(max(*own.Delay, 0), maxDelay)
	}
	return q, delay
}
