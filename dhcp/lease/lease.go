package lease

import (
	"net/netip"
	"time"
)

// Lease is one address and the client it was given to.
type Lease struct {
	Address  netip.Addr `json:"address"`
	Key      string     `json:"key"` // who holds it: "mac:..." or "id:..."
	MAC      string     `json:"mac,omitempty"`
	UUID     string     `json:"uuid,omitempty"`
	Hostname string     `json:"hostname,omitempty"` // as the client said
	Expires  time.Time  `json:"expires"`
	Declined bool       `json:"declined,omitempty"` // taken out of use until Expires: somebody else answers there
}

// Store keeps leases over a restart. The leases of IPv4 and of IPv6 call it at
// the same time.
type Store interface {
	// Load gives every lease that was put and not deleted, in any order.
	Load() ([]Lease, error)
	// Put returns when the lease would outlive the death of this process.
	Put(Lease) error
	Delete(netip.Addr) error
}
