package deploy

import (
	"slices"
	"strings"
)

// Query says which devices are wanted. The zero Query wants all.
type Query struct {
	State  State
	Group  string
	Search string // part of a name, an address or the notes
	// After is Page.Next of the page before; "" for the first.
	After string
	Limit int // 0 means 100
}

// Page is a piece of the list of devices, those that wait first, then by name.
type Page struct {
	Devices []Device `json:"devices"`
	Total   int      `json:"total"` // that the query finds in all
	Next    string   `json:"next,omitempty"`
}

// DefaultLimit is the length of a page when none is named.
const DefaultLimit = 100

// MaxLimit is the longest page.
const MaxLimit = 10_000

// List finds devices.
func (d *Devices) List(q Query) Page {
	if q.Limit <= 0 {
		q.Limit = DefaultLimit
	}
	q.Limit = min(q.Limit, MaxLimit)
	q.Search = strings.ToLower(q.Search)
	type entry struct {
		key string
		one *Device
	}
	var found []entry
	p := Page{Devices: []Device{}}
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, one := range d.index.byID {
		if q.wants(one) {
			p.Total++
			if key := one.order(); key > q.After {
				found = append(found, entry{key, one})
			}
		}
	}
	slices.SortFunc(found, func(a, b entry) int { return strings.Compare(a.key, b.key) })
	for i, e := range found {
		if i == q.Limit {
			p.Next = found[i-1].key
			break
		}
		p.Devices = append(p.Devices, *e.one.clone())
	}
	return p
}

// eachAtOnce is how many devices are looked at before somebody else may change one.
const eachAtOnce = 512

// Each shows all devices to f, in no order. f must not change them, keep them or what is
// in them, or ask Devices for anything.
func (d *Devices) Each(f func(*Device)) {
	d.mu.RLock()
	all := make([]*Device, 0, len(d.index.byID))
	for _, one := range d.index.byID {
		all = append(all, one)
	}
	d.mu.RUnlock()
	for part := range slices.Chunk(all, eachAtOnce) {
		d.mu.RLock()
		for _, one := range part {
			f(one)
		}
		d.mu.RUnlock()
	}
}

// Where are the devices that keep wants, in the order of lists. keep is as f of Each.
func (d *Devices) Where(keep func(*Device) bool) []Device {
	type entry struct {
		key string
		one *Device
	}
	var found []entry
	d.Each(func(one *Device) {
		if keep(one) {
			found = append(found, entry{one.order(), one.clone()})
		}
	})
	slices.SortFunc(found, func(a, b entry) int { return strings.Compare(a.key, b.key) })
	list := make([]Device, len(found))
	for i := range found {
		list[i] = *found[i].one
	}
	return list
}

// order is where the device stands in lists.
func (d *Device) order() string {
	class := "1"
	if d.State == StateWaiting {
		class = "0"
	}
	return class + strings.ToLower(d.Label()) + " " + d.ID
}

func (q *Query) wants(d *Device) bool {
	if q.State != "" && d.State != q.State || q.Group != "" && !slices.Contains(d.Groups, q.Group) {
		return false
	}
	if q.Search == "" {
		return true
	}
	for _, text := range append([]string{d.Name, d.UUID, d.Notes, d.ID}, d.MACs...) {
		if strings.Contains(strings.ToLower(text), q.Search) {
			return true
		}
	}
	return false
}

// Count is how many devices there are of each state.
func (d *Devices) Count() map[State]int {
	n := make(map[State]int)
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, one := range d.index.byID {
		n[one.State]++
	}
	return n
}
