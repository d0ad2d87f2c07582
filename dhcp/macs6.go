package dhcp

import (
	"net"
	"sync"
)

// macs remembers the MACs of clients by their DUID: EDK2 asks on port 4011 from
// its new address, by which it is known as little as by its DUID, a UUID. Memory
// is bounded by two generations, as in limiter.
type macs struct {
	mu         sync.Mutex
	young, old map[string]net.HardwareAddr
}

func newMACs() *macs { return &macs{young: make(map[string]net.HardwareAddr)} }

// note returns the client's MAC: the one given, which it remembers, else the one
// it was given last.
func (m *macs) note(duid []byte, mac net.HardwareAddr) net.HardwareAddr {
	if len(duid) == 0 {
		return mac
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	key := string(duid)
	if mac == nil {
		if mac = m.young[key]; mac == nil {
			mac = m.old[key]
		}
		return mac
	}
	if len(m.young) >= limitClients {
		m.old, m.young = m.young, make(map[string]net.HardwareAddr)
	}
	m.young[key] = mac
	return mac
}
