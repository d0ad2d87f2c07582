package witness

import (
	"slices"
	"strings"
	"sync"
	"time"

	"castpoint/dhcp"
	"castpoint/dhcp/dhcp4"
)

// keepDecisions is how many DHCP decisions are remembered.
const keepDecisions = 1024

// Decision is one packet that DHCP answered, or why it did not.
type Decision struct {
	Time      time.Time `json:"time"`
	MAC       string    `json:"mac,omitempty"`
	UUID      string    `json:"uuid,omitempty"`
	Interface string    `json:"interface"`
	Port      uint16    `json:"port"`
	Asked     string    `json:"asked"`
	Answer    string    `json:"answer,omitempty"` // "" when it stayed silent
	Reason    string    `json:"reason,omitempty"`
	File      string    `json:"file,omitempty"`
	Address   string    `json:"address,omitempty"`
}

// Decisions remembers the last decisions about machines that netboot.
type Decisions struct {
	mu   sync.Mutex
	ring []Decision
	next int
}

// note takes an event of the DHCP server. Requests of machines that do not
// netboot are left out: on a busy network they would push the others out.
func (d *Decisions) note(e dhcp.Event) {
	if !dhcp4.Netboots(e.Client) {
		return
	}
	one := Decision{
		Time: e.Time.UTC(), MAC: e.Client.MAC.String(), UUID: e.Client.UUID, Interface: e.Client.Interface, Port: e.Port,
		Asked: e.Asked, Answer: e.Answer, Reason: e.Reason, File: e.File,
	}
	if e.Address.IsValid() {
		one.Address = e.Address.String()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.ring) < keepDecisions {
		d.ring = append(d.ring, one)
		return
	}
	d.ring[d.next] = one
	d.next = (d.next + 1) % keepDecisions
}

// Of are the last n decisions about a machine, oldest first. Without MAC and
// UUID there are none.
func (d *Decisions) Of(mac, uuid string, n int) []Decision {
	d.mu.Lock()
	defer d.mu.Unlock()
	var found []Decision
	for i := range d.ring {
		one := d.ring[(d.next+len(d.ring)-1-i)%len(d.ring)]
		if mac != "" && one.MAC == mac || uuid != "" && strings.EqualFold(one.UUID, uuid) {
			if found = append(found, one); len(found) == n {
				break
			}
		}
	}
	slices.Reverse(found)
	return found
}
