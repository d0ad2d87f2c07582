package boot

import "net/netip"

// Plan is the answer to "what does this client get now, and why".
type Plan struct {
	// Serve is false when castpoint stays silent; Reason says why.
	Serve bool
	// Reason is one sentence for a person: the rule that decided.
	Reason string

	// File is the boot file name for the header's file field and option 67: a
	// TFTP path for PXE firmware, an absolute URL for iPXE and HTTP boot.
	File string
	// NextServer is where File is fetched from by TFTP: siaddr and option 66.
	NextServer netip.Addr
	// BCDPath goes into option 252 when the loader is a Windows boot manager;
	// empty otherwise.
	BCDPath string
	// HTTPClient asks the reply to carry option 60 "HTTPClient" (UEFI HTTP boot
	// firmware drops offers without it).
	HTTPClient bool
	// Local asks the reply to send PXE firmware on to its own disk: a boot menu
	// of one item, which is taken at once. File is empty then.
	Local bool
	// Ask asks the reply for a boot menu of the firmware that goes on to the disk
	// unless somebody chooses the network, where the loader does not ask by itself.
	Ask bool
}

// Planner decides what a client boots. Plan must be safe for concurrent use
// and fast: it runs once for each DHCP packet.
type Planner interface {
	Plan(Client) Plan
}
