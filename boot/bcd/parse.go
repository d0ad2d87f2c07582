package bcd

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// Parse reads any store, whoever made it. It never trusts the input. Errors are
// ErrNotHive, ErrNotBCD and *CorruptError; anything that leaves the rest
// readable ends up in Notes, and values that cannot be understood in Raw.
//
// Log files beside a store (BCD.LOG1, BCD.LOG2) are not read: Notes say when
// the store may need them.
func Parse(b []byte) (*Store, error) {
	root, modified, notes, err := readHive(b)
	if err != nil {
		return nil, fmt.Errorf("read boot configuration: %w", err)
	}
	objects := root.find("Objects")
	if objects == nil {
		return nil, fmt.Errorf("read boot configuration: %w: a registry hive whose root %q has no Objects key",
			ErrNotBCD, root.name)
	}
	s := &Store{Modified: modified, Notes: notes}
	if root.find("Description") == nil {
		s.note("the root has no Description key: boot managers refuse such a store")
	}
	known := make(map[GUID]bool, len(objects.keys))
	for _, key := range objects.keys {
		s.parseObject(key, known)
	}
	return s, nil
}

func (s *Store) note(format string, args ...any) {
	s.Notes = append(s.Notes, fmt.Sprintf(format, args...))
}

// parseObject adds an object; known holds the names of those before it.
func (s *Store) parseObject(key *hiveKey, known map[GUID]bool) {
	id, err := ParseGUID(key.name)
	if err != nil {
		s.note("an object is called %q, which is not a GUID: passed over", key.name)
		return
	}
	if known[id] {
		s.note("object %s is there twice: the second is passed over", id)
		return
	}
	known[id] = true
	o := Object{ID: id}
	if desc := key.find("Description"); desc == nil {
		s.note("object %s has no Description key", id)
	} else if v, ok := desc.value("Type"); !ok || v.typ != regDword || len(v.data) != 4 {
		s.note("object %s has no type", id)
	} else {
		o.Type = ObjectType(binary.LittleEndian.Uint32(v.data))
		if v, ok := desc.value("FirmwareVariable"); ok {
			o.FirmwareVariable = v.data
		}
	}
	if elements := key.find("Elements"); elements != nil {
		for _, e := range elements.keys {
			s.parseElement(&o, e)
		}
	}
	s.Objects = append(s.Objects, o)
}

func (s *Store) parseElement(o *Object, key *hiveKey) {
	n, err := strconv.ParseUint(key.name, 16, 32)
	if err != nil || len(key.name) != 8 {
		s.note("object %s: an element is called %q, want eight hexadecimal digits: passed over", o.ID, key.name)
		return
	}
	id := ElementID(n)
	v, ok := key.value("Element")
	if !ok {
		s.note("object %s: element %s has no value: passed over", o.ID, id)
		return
	}
	value, note := decodeValue(id, v)
	if note != "" {
		s.note("object %s: element %s: %s", o.ID, id, note)
	}
	o.Elements = append(o.Elements, Element{ID: id, Value: value})
}

// find returns the key directly below k with that name in any case, or nil.
func (k *hiveKey) find(name string) *hiveKey {
	for _, sub := range k.keys {
		if strings.EqualFold(sub.name, name) {
			return sub
		}
	}
	return nil
}

// value returns the value of k with that name in any case.
func (k *hiveKey) value(name string) (hiveValue, bool) {
	for _, v := range k.values {
		if strings.EqualFold(v.name, name) {
			return v, true
		}
	}
	return hiveValue{}, false
}
