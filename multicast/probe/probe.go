// Package probe measures the way from the server to one machine, for castpoint doctor
// multicast. The machine asks over HTTPS for trains of datagrams, the server sends
// each to a group of its own, and the machine looks at what arrives: it has
// everything it needs without feedback by UDP. Datagrams are sealed with a key that
// only this machine has, so that nobody else can answer for the server.
package probe

import (
	"fmt"
	"net/netip"
	"time"

	"castpoint/multicast/block"
	"castpoint/multicast/seal"
	"castpoint/multicast/wire"
)

// Paths of probes on the join listener; authorised by "Authorization: Bearer" with a
// token that a person has made, used or not.
const (
	Path      = "/v1/probe"       // POST, answers Offer; DELETE + id ends it
	PathTrain = "/v1/probe/train" // POST Train, answers Sent when it has been sent
)

// Offer is what a machine needs to listen to a probe.
type Offer struct {
	ID    uint32         `json:"id"`
	Group netip.AddrPort `json:"group"`
	// Source is where the datagrams come from.
	Source netip.AddrPort `json:"source"`
	Key    seal.Key       `json:"key"`
	MTU    int            `json:"mtu"`      // of the server's interface, bytes
	Rate   float64        `json:"rate"`     // bits per second: no train may be faster
	Capped bool           `json:"capped"`   // Rate is the server's setting, not its link
	Others int            `json:"sessions"` // that are running meanwhile
}

// Train asks for Count datagrams in bursts of Burst, whose mean is Rate.
type Train struct {
	ID    uint32  `json:"id"`    // of the probe
	Train uint32  `json:"train"` // chosen by the machine
	Count int     `json:"count"`
	Size  int     `json:"size"`  // of the IP packet that a datagram travels in, bytes
	Burst int     `json:"burst"` // 0 means 1
	Rate  float64 `json:"rate"`  // bits per second, of IP packets
	// Unicast sends to the machine's own address, at the group's port.
	Unicast bool `json:"unicast,omitempty"`
}

// Sent says how a train was sent.
type Sent struct {
	Count   int     `json:"count"`
	Seconds float64 `json:"seconds"`
}

// Limits of trains.
const (
	maxCount = 400_000
	maxTime  = 10 * time.Second
	// ipHeaders are those of IPv4 and UDP; ip6Headers those of IPv6 and UDP.
	ipHeaders  = 20 + 8
	ip6Headers = 40 + 8
)

// Overhead is how much longer the IP packet of a datagram to the address is than the
// datagram.
func Overhead(to netip.Addr) int {
	if to.Is4() {
		return ipHeaders
	}
	return ip6Headers
}

// SessionPacket is the size of the IP packets of sessions to the address, in bytes.
func SessionPacket(to netip.Addr) int {
	return wire.HeaderSize + block.DefaultSymbolSize + wire.TagSize + Overhead(to)
}

// Check refuses trains that are none, or more than a probe may ask for.
func (t *Train) Check(o *Offer) error {
	least := wire.ProbeSize + wire.TagSize + Overhead(o.Group.Addr())
	switch {
	case t.Count < 1 || t.Count > maxCount:
		return fmt.Errorf("train of %d datagrams: 1 to %d are possible", t.Count, maxCount)
	case t.Burst < 0 || t.Burst > t.Count:
		return fmt.Errorf("bursts of %d in a train of %d datagrams", t.Burst, t.Count)
	case t.Size < least || t.Size > o.MTU:
		return fmt.Errorf("packets of %d bytes: %d to %d are possible", t.Size, least, o.MTU)
	case !(t.Rate >= 1 && t.Rate <= o.Rate):
		return fmt.Errorf("train of %.0f bits per second: 1 to %.0f are possible", t.Rate, o.Rate)
	case float64(t.Count*t.Size*8)/t.Rate > maxTime.Seconds():
		return fmt.Errorf("train of %d packets of %d bytes at %.0f bits per second takes longer than %s", t.Count, t.Size, t.Rate, maxTime)
	}
	return nil
}
