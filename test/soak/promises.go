package main

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"castpoint/test/client"
)

// promises are what the server has confirmed and has to keep, whatever happens to it.
type promises struct {
	mu     sync.Mutex
	leases map[netip.Addr]given
	// contents by id, true for those that have to be there and false for those that
	// may be: the answer to an addition or a removal was lost.
	contents map[string]bool
	// unsure says that an addition has begun whose id nobody knows.
	unsure int
	notes  map[string][]string // of devices, by name: what was set last, and what may be
	runs   map[string]int      // by device: runs that have ended, at least
}

// given is a confirmed lease.
type given struct {
	mac   string
	until time.Time
}

func newPromises() *promises {
	return &promises{leases: map[netip.Addr]given{}, contents: map[string]bool{}, notes: map[string][]string{}, runs: map[string]int{}}
}

// clockSlack is by how much the ends of a lease may differ: the server writes whole
// seconds to its disk.
const clockSlack = time.Second

// lease notes a confirmed address. It is an error when another machine still has it.
func (p *promises) lease(mac string, l client.Lease) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	before, taken := p.leases[l.Address]
	p.leases[l.Address] = given{mac, l.Until}
	if taken && before.mac != mac && l.Confirmed.Before(before.until.Add(-clockSlack)) {
		return fmt.Errorf("%s was given to %s until %s, and at %s to %s", l.Address, before.mac,
			before.until.Format(time.TimeOnly), l.Confirmed.Format(time.TimeOnly), mac)
	}
	return nil
}

// forget drops an address that its machine gives back or complains of. It comes
// before the message is sent.
func (p *promises) forget(a netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.leases, a)
}

// held is how many leases are valid now.
func (p *promises) held() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for a, g := range p.leases {
		if now.After(g.until) {
			delete(p.leases, a)
			continue
		}
		n++
	}
	return n
}

// keptLeases compares what the server lists, addresses with their MACs, asked for
// at the given time.
func (p *promises) keptLeases(listed map[string]string, at time.Time) (broken []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for a, g := range p.leases {
		if g.until.Add(-clockSlack).After(at) && listed[a.String()] != g.mac {
			broken = append(broken, fmt.Sprintf("the lease of %s by %s until %s: the server has %q", a, g.mac, g.until.Format(time.TimeOnly), listed[a.String()]))
		}
	}
	return broken
}

// content notes a content; sure is false when the answer was lost.
func (p *promises) content(id string, sure bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.contents[id] = sure
}

// unsureContent notes an addition whose answer was lost.
func (p *promises) unsureContent() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unsure++
}

// gone notes that a content was removed.
func (p *promises) gone(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.contents, id)
}

// keptContents compares what the library lists.
func (p *promises) keptContents(listed []string) (broken []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, sure := range p.contents {
		if sure && !slices.Contains(listed, id) {
			broken = append(broken, fmt.Sprintf("content %s is not there any more", id))
		}
	}
	unknown := 0
	for _, id := range listed {
		if _, known := p.contents[id]; !known {
			unknown++
		}
	}
	if unknown > p.unsure {
		broken = append(broken, fmt.Sprintf("%d contents are there that were not added, or were removed; %d may be", unknown, p.unsure))
	}
	return broken
}

// note notes what a device is set to; sure is false when the answer was lost.
func (p *promises) note(device, text string, sure bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if sure {
		p.notes[device] = nil
	}
	p.notes[device] = append(p.notes[device], text)
}

// keptNotes compares the notes of the devices that the server lists.
func (p *promises) keptNotes(listed map[string]string) (broken []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, device := range slices.Sorted(maps.Keys(p.notes)) {
		got, there := listed[device]
		switch may := p.notes[device]; {
		case !there:
			broken = append(broken, fmt.Sprintf("device %s is not there any more", device))
		case !slices.Contains(may, got):
			broken = append(broken, fmt.Sprintf("device %s has the note %q, and was given %q", device, got, may))
		}
	}
	return broken
}

// ran notes a run that has ended well.
func (p *promises) ran(device string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.runs[device]++
}

// keptRuns compares how many runs have succeeded by device; the answer to the last
// word of a run may have been lost, so there may be more.
func (p *promises) keptRuns(listed map[string]int) (broken []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, device := range slices.Sorted(maps.Keys(p.runs)) {
		if listed[device] < p.runs[device] {
			broken = append(broken, fmt.Sprintf("%d runs of %s have succeeded, and %d are on record", p.runs[device], device, listed[device]))
		}
	}
	return broken
}
