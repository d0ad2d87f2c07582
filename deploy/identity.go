package deploy

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"castpoint/boot"
)

// index finds devices by what they are known by. The caller holds its lock.
type index struct {
	byID   map[string]*Device
	byUUID map[string]*Device
	byMAC  map[string]*Device
	byName map[string]*Device // lower case

	sharedMACs []string // MACs and beginnings of MACs, as in "00:e0:4c"
	sharedIDs  map[string]bool
}

func newIndex(sharedMACs, sharedUUIDs []string) (*index, error) {
	x := &index{
		byID: make(map[string]*Device), byUUID: make(map[string]*Device), byMAC: make(map[string]*Device), byName: make(map[string]*Device),
		sharedIDs: make(map[string]bool),
	}
	for _, entry := range sharedMACs {
		text := strings.ReplaceAll(strings.ToLower(strings.TrimSpace(entry)), "-", ":")
		whole := text
		for n := strings.Count(text, ":"); n < 5; n++ {
			whole += ":00"
		}
		if _, err := net.ParseMAC(whole); err != nil || len(whole) != 17 {
			return nil, fmt.Errorf("%w: shared MAC %q: want a MAC or the beginning of one, as in 00:e0:4c", ErrInvalid, entry)
		}
		x.sharedMACs = append(x.sharedMACs, text)
	}
	for _, entry := range sharedUUIDs {
		uuid, err := ParseUUID(entry)
		if err != nil {
			return nil, err
		}
		x.sharedIDs[uuid] = true
	}
	return x, nil
}

func (x *index) add(d *Device) {
	x.byID[d.ID] = d
	if d.UUID != "" {
		x.byUUID[d.UUID] = d
	}
	for _, mac := range d.MACs {
		x.byMAC[mac] = d
	}
	if d.Name != "" {
		x.byName[strings.ToLower(d.Name)] = d
	}
}

func (x *index) remove(d *Device) {
	delete(x.byID, d.ID)
	delete(x.byUUID, d.UUID)
	delete(x.byName, strings.ToLower(d.Name))
	for _, mac := range d.MACs {
		delete(x.byMAC, mac)
	}
}

// clash says what of d another device has already.
func (x *index) clash(d *Device) error {
	taken := func(what string, other *Device) error {
		if other == nil || other.ID == d.ID {
			return nil
		}
		return fmt.Errorf("%w: %s belongs to device %s (%s)", ErrExists, what, other.Label(), other.ID)
	}
	if d.Name != "" {
		if err := taken("name "+d.Name, x.byName[strings.ToLower(d.Name)]); err != nil {
			return err
		}
	}
	if d.UUID != "" {
		if x.sharedUUID(d.UUID) {
			return fmt.Errorf("%w: UUID %s is one that many machines have", ErrInvalid, d.UUID)
		}
		for _, u := range []string{d.UUID, otherOrder(d.UUID)} {
			if err := taken("UUID "+u, x.byUUID[u]); err != nil {
				return err
			}
		}
	}
	for _, mac := range d.MACs {
		if entry := x.sharedMAC(mac); entry != "" {
			return fmt.Errorf("%w: MAC %s is on the list of shared MACs (%s): it identifies no machine", ErrInvalid, mac, entry)
		}
		if err := taken("MAC "+mac, x.byMAC[mac]); err != nil {
			return err
		}
	}
	return nil
}

// sharedMAC is the entry of the list that a MAC is on, "" for none.
func (x *index) sharedMAC(mac string) string {
	for _, entry := range x.sharedMACs {
		if strings.HasPrefix(mac, entry) {
			return entry
		}
	}
	return ""
}

func (x *index) sharedUUID(uuid string) bool {
	return boot.SharedUUID(uuid) || boot.SharedUUID(otherOrder(uuid)) || x.sharedIDs[uuid] || x.sharedIDs[otherOrder(uuid)]
}

// match is whom a client is taken for.
type match struct {
	device *Device // nil: nobody on record
	mac    string  // that identifies; "" when there is none, or it is shared
	uuid   string  // that identifies; "" when there is none, or it is shared

	by      string  // what it was known by, for people
	other   *Device // the device that its MAC belongs to, when that is not device
	foreign bool    // other has another UUID, so it is somebody else
	ignored []string
}

// match finds the device of a client: by its UUID, in either byte order, before
// any MAC. A MAC alone does not count when its owner has another UUID.
func (x *index) match(c boot.Client) match {
	var m match
	switch uuid := strings.ToLower(c.UUID); {
	case uuid == "":
	case x.sharedUUID(uuid):
		m.ignored = append(m.ignored, "UUID "+uuid+" is one that many machines have: ignored")
	default:
		m.uuid = uuid
	}
	if len(c.MAC) == 6 {
		m.mac = c.MAC.String()
		if entry := x.sharedMAC(m.mac); entry != "" {
			m.ignored = append(m.ignored, "MAC "+m.mac+" is on the list of shared MACs ("+entry+"): ignored")
			m.mac = ""
		}
	}
	if m.uuid != "" {
		if d := x.byUUID[m.uuid]; d != nil {
			m.device, m.by = d, "UUID "+m.uuid
		} else if d := x.byUUID[otherOrder(m.uuid)]; d != nil {
			m.device, m.by = d, "UUID "+m.uuid+" in the other byte order"
		}
	}
	if m.mac == "" {
		return m
	}
	owner := x.byMAC[m.mac]
	switch {
	case owner == nil || owner == m.device:
	case m.device != nil:
		m.other = owner
	case m.uuid != "" && owner.UUID != "":
		m.other, m.foreign = owner, true
	default:
		m.device, m.by = owner, "MAC "+m.mac
	}
	return m
}

// conflict is what people have to know about a match, "" for nothing.
func (m *match) conflict() string {
	switch {
	case m.other == nil:
		return ""
	case m.foreign:
		return fmt.Sprintf("MAC %s belongs to device %s, whose UUID is %s, but this machine says %s: it counts as another machine. A dock or USB card that goes from machine to machine belongs on the list devices-shared-macs; after a change of the mainboard: castpoint device set %s --uuid %s",
			m.mac, m.other.Label(), m.other.UUID, m.uuid, m.other.ID, m.uuid)
	}
	return fmt.Sprintf("UUID %s is device %s and MAC %s is device %s: the UUID counts. If both are one machine: castpoint device remove %s; if the card goes from machine to machine, put it on the list devices-shared-macs",
		m.uuid, m.device.Label(), m.mac, m.other.Label(), m.other.ID)
}

// learn adds to the device what the client has shown beside what it was known by.
// It says whether there was something.
func (m *match) learn(d *Device) bool {
	learnt := false
	if m.mac != "" && m.other == nil && !slices.Contains(d.MACs, m.mac) && len(d.MACs) < maxMACs {
		d.MACs, learnt = append(d.MACs, m.mac), true
	}
	if m.uuid != "" && d.UUID == "" {
		d.UUID, learnt = m.uuid, true
	}
	return learnt
}
