package witness

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"castpoint/boot"
	"castpoint/deploy"
	"castpoint/point/host"
)

// Bounds of what is remembered of addresses.
const (
	maxAddresses  = 16384
	addressLife   = 12 * time.Hour
	neighbourLife = 2 * time.Second // how old the kernel's table may be
)

// Whois knows which machine has an address, so that what is fetched by TFTP and
// HTTP is told of the machine. It has that from DHCP, from paths that name the
// machine, and, for a machine whose address another server gave, from the kernel's
// table of neighbours. The zero value knows nobody.
type Whois struct {
	mu         sync.Mutex
	byAddr     map[netip.Addr]resident
	uuids      map[string]string // by MAC
	devices    map[string]string // ids of records, by MAC and by UUID
	neighbours map[netip.Addr]string
	read       time.Time // when the neighbours were read
}

type resident struct {
	mac   string
	since time.Time
}

// Note remembers a machine, and its address when it is valid.
func (w *Whois) Note(c boot.Client, addr netip.Addr) {
	if len(c.MAC) != 6 {
		return
	}
	mac := c.MAC.String()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byAddr == nil || len(w.byAddr) >= maxAddresses || len(w.uuids) >= maxAddresses {
		w.byAddr, w.uuids = make(map[netip.Addr]resident), make(map[string]string)
	}
	if c.UUID != "" {
		w.uuids[mac] = c.UUID
	}
	if addr.IsValid() && !addr.IsUnspecified() {
		w.byAddr[addr.Unmap()] = resident{mac, time.Now()}
	}
}

// Know remembers whose record a machine is; "" is nobody's.
func (w *Whois) Know(c boot.Client, id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.devices == nil || len(w.devices) >= 2*maxAddresses {
		w.devices = make(map[string]string)
	}
	for _, name := range []string{c.MAC.String(), c.UUID} {
		switch {
		case name == "":
		case id == "":
			delete(w.devices, name)
		default:
			w.devices[name] = id
		}
	}
}

// knowDevice remembers a record.
func (w *Whois) knowDevice(d *deploy.Device) {
	w.Know(boot.Client{UUID: d.UUID}, d.ID)
	for _, mac := range d.MACs {
		if hw, err := net.ParseMAC(mac); err == nil {
			w.Know(boot.Client{MAC: hw}, d.ID)
		}
	}
}

// Device is the id of a machine's record, "" when it is not known.
func (w *Whois) Device(mac, uuid string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if id := w.devices[uuid]; id != "" && uuid != "" {
		return id
	}
	return w.devices[mac]
}

// At is the machine at an address: its MAC and UUID as far as they are known.
func (w *Whois) At(addr netip.Addr) (mac, uuid string) {
	addr = addr.Unmap()
	w.mu.Lock()
	defer w.mu.Unlock()
	// The kernel's table is about now, and what was heard about then.
	if now := time.Now(); now.Sub(w.read) > neighbourLife {
		w.neighbours, w.read = host.Neighbours("/proc/net/arp"), now
	}
	if mac = w.neighbours[addr]; mac == "" {
		if r, ok := w.byAddr[addr]; ok && time.Since(r.since) < addressLife {
			mac = r.mac
		}
	}
	return mac, w.uuids[mac]
}

// client completes what is known of a client by its address.
func (w *Whois) client(addr netip.Addr) boot.Client {
	mac, uuid := w.At(addr)
	c := boot.Client{UUID: uuid}
	if hw, err := net.ParseMAC(mac); err == nil {
		c.MAC = hw
	}
	return c
}
