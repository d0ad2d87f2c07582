package bcd

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"castpoint/boot/bcd/element"
	"castpoint/boot/bcd/hive"
	"castpoint/boot/bcd/value"
)

// MaxSize is the longest file that Parse reads, in bytes.
const MaxSize = hive.MaxSize

// Parse reads any store, whoever made it. It never trusts the input. Errors are
// hive.ErrNotHive, ErrNotBCD and *hive.CorruptError; anything that leaves the
// rest readable ends up in Notes, and values that cannot be understood in
// value.Raw.
//
// Log files beside a store (BCD.LOG1, BCD.LOG2) are not read: Notes say when
// the store may need them.
func Parse(b []byte) (*Store, error) {
	h, err := hive.Read(b)
	if err != nil {
		return nil, fmt.Errorf("read boot configuration: %w", err)
	}
	objects := h.Root.Find("Objects")
	if objects == nil {
		return nil, fmt.Errorf("read boot configuration: %w: a registry hive whose root %q has no Objects key",
			ErrNotBCD, h.Root.Name)
	}
	s := &Store{Modified: h.Modified, Notes: h.Notes}
	if h.Root.Find("Description") == nil {
		s.note("the root has no Description key: boot managers refuse such a store")
	}
	known := make(map[value.GUID]bool, len(objects.Keys))
	for _, key := range objects.Keys {
		s.parseObject(key, known)
	}
	return s, nil
}

func (s *Store) note(format string, args ...any) {
	s.Notes = append(s.Notes, fmt.Sprintf(format, args...))
}

// parseObject adds an object; known holds the names of those before it.
func (s *Store) parseObject(key *hive.Key, known map[value.GUID]bool) {
	id, err := value.ParseGUID(key.Name)
	if err != nil {
		s.note("an object is called %q, which is not a GUID: passed over", key.Name)
		return
	}
	if known[id] {
		s.note("object %s is there twice: the second is passed over", id)
		return
	}
	known[id] = true
	o := Object{ID: id}
	if desc := key.Find("Description"); desc == nil {
		s.note("object %s has no Description key", id)
	} else if v, ok := desc.Value("Type"); !ok || v.Type != hive.DWord || len(v.Data) != 4 {
		s.note("object %s has no type", id)
	} else {
		o.Type = ObjectType(binary.LittleEndian.Uint32(v.Data))
		if v, ok := desc.Value("FirmwareVariable"); ok {
			o.FirmwareVariable = v.Data
		}
	}
	if elements := key.Find("Elements"); elements != nil {
		for _, e := range elements.Keys {
			s.parseElement(&o, e)
		}
	}
	s.Objects = append(s.Objects, o)
}

func (s *Store) parseElement(o *Object, key *hive.Key) {
	n, err := strconv.ParseUint(key.Name, 16, 32)
	if err != nil || len(key.Name) != 8 {
		s.note("object %s: an element is called %q, want eight hexadecimal digits: passed over", o.ID, key.Name)
		return
	}
	id := element.ID(n)
	v, ok := key.Value("Element")
	if !ok {
		s.note("object %s: element %s has no value: passed over", o.ID, id)
		return
	}
	val, note := value.Decode(id, v)
	if note != "" {
		s.note("object %s: element %s: %s", o.ID, id, note)
	}
	o.Elements = append(o.Elements, Element{ID: id, Value: val})
}
