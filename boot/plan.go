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
	// Image is the id of the content that the loader boots, where File is made for
	// it; empty where the loader runs a script that names one.
	Image string
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

// LocalPlan sends a machine on to its own disk. why is the reason.
//
// BIOS gets a program that gives control back, because ROMs differ in what they
// make of a menu without network. UEFI gets a menu: there a program would have to
// be signed, and silence costs the time that firmware waits for an answer. UEFI
// HTTP boot knows no menu, and gives up at once when the file that it is told to
// fetch is not there.
func LocalPlan(c Client, fw Firmware, url func(string) string, why string) Plan {
	why = "It boots from its own disk: " + why
	switch {
	case c.HTTPBoot || fw.HTTP:
		return Plan{Serve: true, File: url(NothingToDo), HTTPClient: true, NextServer: c.Server, Reason: why}
	case fw.Machine == MachineBIOS:
		return Plan{Serve: true, File: LocalProgram, NextServer: c.Server, Reason: why}
	}
	return Plan{Serve: true, Local: true, NextServer: c.Server, Reason: why}
}

// NoAskByHTTP is why a machine that is to be asked for a key does not boot unasked.
// Firmware that got no key at its PXE menu goes on to HTTP boot before the disk.
const NoAskByHTTP = "UEFI HTTP boot has no menu to ask for a key with."

// DefaultHTTPPort is the TCP port of the boot HTTP server.
const DefaultHTTPPort = 8080
