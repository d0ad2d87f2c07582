package bcd

import (
	"errors"
	"fmt"
	"io"
	"time"

	"castpoint/boot/bcd/hive"
)

// Append appends the store as a registry hive to dst. The same store gives the
// same bytes. It fails when two objects have the same name, an object two
// elements with the same id, or an element a value that does not fit its format.
func (s *Store) Append(dst []byte) ([]byte, error) {
	modified := s.Modified
	if modified.IsZero() {
		modified = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	root := &hive.Key{Name: "NewStoreRoot"}
	desc := root.Add("Description")
	// The name that Windows loads the store's hive under, and two marks that
	// bcdedit sets in a system's own store, which this one is not.
	name, err := hive.EncodeString("BCD00000001")
	if err != nil {
		return nil, err
	}
	desc.Set("KeyName", hive.SZ, name)
	objects := root.Add("Objects")
	for _, o := range s.Objects {
		if err := o.appendTo(objects); err != nil {
			return nil, fmt.Errorf("write boot configuration: object %s: %w", o.ID, err)
		}
	}
	b, err := (&hive.Hive{Root: root, Modified: modified}).Append(dst)
	if err != nil {
		return nil, fmt.Errorf("write boot configuration: %w", err)
	}
	return b, nil
}

// Bytes is Append to nothing.
func (s *Store) Bytes() ([]byte, error) { return s.Append(nil) }

// WriteTo writes the store as a registry hive.
func (s *Store) WriteTo(w io.Writer) (int64, error) {
	b, err := s.Bytes()
	if err != nil {
		return 0, err
	}
	n, err := w.Write(b)
	return int64(n), err
}

func (o *Object) appendTo(objects *hive.Key) error {
	if o.ID.IsZero() {
		return errors.New("it needs a GUID that is not zero")
	}
	key := objects.Add(o.ID.String())
	desc := key.Add("Description")
	typ := uint32(o.Type)
	desc.Set("Type", hive.DWord, []byte{byte(typ), byte(typ >> 8), byte(typ >> 16), byte(typ >> 24)})
	if o.FirmwareVariable != nil {
		desc.Set("FirmwareVariable", hive.Binary, o.FirmwareVariable)
	}
	elements := key.Add("Elements")
	for _, e := range o.Elements {
		if e.Value == nil {
			return fmt.Errorf("element %s has no value", e.ID)
		}
		if f := e.Value.Format(); f != 0 && f != e.ID.Format() {
			return fmt.Errorf("element %s wants format %q, its value has %q", e.ID, e.ID.Format(), f)
		}
		typ, data, err := e.Value.Encode()
		if err != nil {
			return fmt.Errorf("element %s: %w", e.ID, err)
		}
		elements.Add(e.ID.String()).Set("Element", typ, data)
	}
	return nil
}
