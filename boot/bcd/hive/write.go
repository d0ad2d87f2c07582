package hive

import (
	"encoding/binary"
	"fmt"
	"sort"
	"strings"
)

// writer lays cells out in bins, one after the other. A cell never crosses
// a bin; what is left of a bin becomes one free cell.
type writer struct {
	bins     []byte // all bins so far
	next     int    // where the next cell of the open bin goes
	modified uint64 // FILETIME for all keys
	security uint32 // the one security cell, shared by all keys
	keys     uint32 // how many keys use it
}

// The longest value data that is written: far above what any element has, far
// below what would need several cells.
const maxValueData = bigDataSegment

// The longest name that is written, in bytes: the registry's limit for keys.
const maxName = 255

// Append appends the hive to dst, as a file called BCD. Keys in another order
// give the same bytes. It fails when two keys in one have the same name, or when
// a name or a value does not fit.
func (h *Hive) Append(dst []byte) ([]byte, error) {
	w := &writer{modified: filetime(h.Modified)}
	root := h.Root

	// The root key comes first, then the security cell; both are filled in last,
	// when their contents are known.
	rootAt := w.alloc(keyHeaderSize + len(root.Name))
	w.security = w.addSecurity()
	if err := w.fillKey(rootAt, root, noCell, keyFlagRoot); err != nil {
		return nil, err
	}
	w.put32(w.security+12, w.keys)
	w.closeBin()

	base := make([]byte, baseBlockSize)
	le := binary.LittleEndian
	copy(base, "regf")
	le.PutUint32(base[4:], 1) // two equal sequence numbers: closed cleanly
	le.PutUint32(base[8:], 1)
	le.PutUint64(base[12:], w.modified)
	le.PutUint32(base[20:], 1) // version 1.3
	le.PutUint32(base[24:], 3)
	le.PutUint32(base[32:], 1) // format: direct memory load
	le.PutUint32(base[36:], rootAt)
	le.PutUint32(base[40:], uint32(len(w.bins)))
	le.PutUint32(base[44:], 1) // clustering factor
	for i, c := range "BCD" {
		le.PutUint16(base[48+2*i:], uint16(c))
	}
	le.PutUint32(base[checksumAt:], checksum(base))
	return append(append(dst, base...), w.bins...), nil
}

// alloc makes a used cell for n bytes and returns its offset in the hive.
func (w *writer) alloc(n int) uint32 {
	size := (cellHeader + n + cellAlign - 1) &^ (cellAlign - 1)
	if w.next+size > len(w.bins) {
		w.closeBin()
		binSize := (binHeaderSize + size + binAlign - 1) &^ (binAlign - 1)
		at := len(w.bins)
		w.bins = append(w.bins, make([]byte, binSize)...)
		bin := w.bins[at:]
		copy(bin, "hbin")
		binary.LittleEndian.PutUint32(bin[4:], uint32(at))
		binary.LittleEndian.PutUint32(bin[8:], uint32(binSize))
		if at == 0 {
			binary.LittleEndian.PutUint64(bin[20:], w.modified)
		}
		w.next = at + binHeaderSize
	}
	at := w.next
	binary.LittleEndian.PutUint32(w.bins[at:], uint32(-int32(size)))
	w.next += size
	return uint32(at)
}

// closeBin makes a free cell of what is left of the open bin.
func (w *writer) closeBin() {
	if left := len(w.bins) - w.next; left > 0 {
		binary.LittleEndian.PutUint32(w.bins[w.next:], uint32(left))
	}
	w.next = len(w.bins)
}

// cell is the contents of a cell, up to the end of the bins.
func (w *writer) cell(at uint32) []byte { return w.bins[at+cellHeader:] }

// put32 writes a number into the bins; at counts from the start of a cell's
// contents.
func (w *writer) put32(at, v uint32) {
	binary.LittleEndian.PutUint32(w.bins[at+cellHeader:], v)
}

// addSecurity writes the security descriptor of all keys: Administrators and
// SYSTEM may do everything, also below. Boot managers do not look at it;
// Windows does when the store is loaded.
func (w *writer) addSecurity() uint32 {
	const keyAllAccess = 0x000f003f
	le := binary.LittleEndian
	administrators := []byte{1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 0x02, 0, 0} // S-1-5-32-544
	system := []byte{1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0}                           // S-1-5-18

	var acl []byte
	entries := [][]byte{administrators, system}
	for _, sid := range entries {
		acl = append(acl, 0, 2) // access allowed, inherited by sub-keys
		acl = le.AppendUint16(acl, uint16(8+len(sid)))
		acl = le.AppendUint32(acl, keyAllAccess)
		acl = append(acl, sid...)
	}
	const headerSize, aclHeaderSize = 20, 8
	dacl := headerSize + len(administrators) + len(system)

	desc := []byte{1, 0}                                                 // revision
	desc = le.AppendUint16(desc, 0x8004)                                 // self-relative, has a DACL
	desc = le.AppendUint32(desc, headerSize)                             // owner: administrators
	desc = le.AppendUint32(desc, uint32(headerSize+len(administrators))) // group: system
	desc = le.AppendUint32(desc, 0)                                      // no SACL
	desc = le.AppendUint32(desc, uint32(dacl))
	desc = append(desc, administrators...)
	desc = append(desc, system...)
	desc = append(desc, 2, 0) // ACL revision
	desc = le.AppendUint16(desc, uint16(aclHeaderSize+len(acl)))
	desc = le.AppendUint16(desc, uint16(len(entries)))
	desc = le.AppendUint16(desc, 0)
	desc = append(desc, acl...)

	at := w.alloc(20 + len(desc))
	sk := w.cell(at)
	copy(sk, "sk")
	le.PutUint32(sk[4:], at) // a list of one, linked to itself
	le.PutUint32(sk[8:], at)
	// [12] is the number of keys that use it, filled in at the end.
	le.PutUint32(sk[16:], uint32(len(desc)))
	copy(sk[20:], desc)
	return at
}

// addKey writes a key and all below it.
func (w *writer) addKey(k *Key, parent uint32) (uint32, error) {
	at := w.alloc(keyHeaderSize + len(k.Name))
	return at, w.fillKey(at, k, parent, keyFlagCompressed)
}

func (w *writer) fillKey(at uint32, k *Key, parent uint32, flags uint16) error {
	if !isASCII(k.Name) || k.Name == "" || len(k.Name) > maxName {
		return fmt.Errorf("key name %q: want 1 to %d ASCII characters", k.Name, maxName)
	}
	w.keys++
	valueList, err := w.addValues(k)
	if err != nil {
		return err
	}
	keyList, err := w.addKeys(k, at)
	if err != nil {
		return err
	}

	le := binary.LittleEndian
	nk := w.cell(at)
	copy(nk, "nk")
	le.PutUint16(nk[2:], flags)
	le.PutUint64(nk[4:], w.modified)
	le.PutUint32(nk[16:], parent)
	if parent == noCell {
		le.PutUint32(nk[16:], 0)
	}
	le.PutUint32(nk[20:], uint32(len(k.Keys)))
	le.PutUint32(nk[28:], keyList)
	le.PutUint32(nk[32:], noCell) // volatile keys
	le.PutUint32(nk[36:], uint32(len(k.Values)))
	le.PutUint32(nk[40:], valueList)
	le.PutUint32(nk[44:], w.security)
	le.PutUint32(nk[48:], noCell) // class name
	// The longest names and data below, in bytes; names as UTF-16.
	for _, sub := range k.Keys {
		le.PutUint32(nk[52:], max(le.Uint32(nk[52:]), uint32(2*len(sub.Name))))
	}
	for _, v := range k.Values {
		le.PutUint32(nk[60:], max(le.Uint32(nk[60:]), uint32(2*len(v.Name))))
		le.PutUint32(nk[64:], max(le.Uint32(nk[64:]), uint32(len(v.Data))))
	}
	le.PutUint16(nk[72:], uint16(len(k.Name)))
	copy(nk[76:], k.Name)
	return nil
}

// addKeys writes the keys below k and the list of them, sorted by upper-case
// name as the registry looks them up.
func (w *writer) addKeys(k *Key, at uint32) (uint32, error) {
	if len(k.Keys) == 0 {
		return noCell, nil
	}
	keys := append([]*Key(nil), k.Keys...)
	sort.SliceStable(keys, func(i, j int) bool {
		return strings.ToUpper(keys[i].Name) < strings.ToUpper(keys[j].Name)
	})
	offsets := make([]uint32, len(keys))
	for i, sub := range keys {
		if i > 0 && strings.EqualFold(keys[i-1].Name, sub.Name) {
			return 0, fmt.Errorf("two keys %s in %s", sub.Name, k.Name)
		}
		var err error
		if offsets[i], err = w.addKey(sub, at); err != nil {
			return 0, err
		}
	}

	le := binary.LittleEndian
	var lists []uint32
	for first := 0; first < len(keys); first += keysPerList {
		last := min(first+keysPerList, len(keys))
		list := w.alloc(4 + 8*(last-first))
		lf := w.cell(list)
		copy(lf, "lf")
		le.PutUint16(lf[2:], uint16(last-first))
		for i := first; i < last; i++ {
			entry := lf[4+8*(i-first):]
			le.PutUint32(entry, offsets[i])
			copy(entry[4:8], keys[i].Name) // hint: the first four characters
		}
		lists = append(lists, list)
	}
	if len(lists) == 1 {
		return lists[0], nil
	}
	if len(lists) > 0xffff {
		return 0, fmt.Errorf("%d keys in %s are too many", len(keys), k.Name)
	}
	at = w.alloc(4 + 4*len(lists))
	ri := w.cell(at)
	copy(ri, "ri")
	le.PutUint16(ri[2:], uint16(len(lists)))
	for i, list := range lists {
		le.PutUint32(ri[4+4*i:], list)
	}
	return at, nil
}

// addValues writes the values of k and the list of them.
func (w *writer) addValues(k *Key) (uint32, error) {
	if len(k.Values) == 0 {
		return noCell, nil
	}
	le := binary.LittleEndian
	list := w.alloc(4 * len(k.Values))
	for i, v := range k.Values {
		if !isASCII(v.Name) || len(v.Name) > maxName {
			return 0, fmt.Errorf("value name %q of %s: want at most %d ASCII characters", v.Name, k.Name, maxName)
		}
		if len(v.Data) > maxValueData {
			return 0, fmt.Errorf("value %s of %s has %d bytes, at most %d fit",
				v.Name, k.Name, len(v.Data), maxValueData)
		}
		at := w.alloc(valueHeaderSize + len(v.Name))
		w.put32(list+uint32(4*i), at)
		size := uint32(len(v.Data))
		var data uint32 // where the data is, or the data itself
		if len(v.Data) <= 4 {
			var inline [4]byte
			copy(inline[:], v.Data)
			size |= dataInline
			data = le.Uint32(inline[:])
		} else {
			data = w.alloc(len(v.Data))
			copy(w.cell(data), v.Data)
		}
		vk := w.cell(at)
		copy(vk, "vk")
		le.PutUint16(vk[2:], uint16(len(v.Name)))
		le.PutUint32(vk[4:], size)
		le.PutUint32(vk[8:], data)
		le.PutUint32(vk[12:], uint32(v.Type))
		le.PutUint16(vk[16:], valueFlagASCII)
		copy(vk[20:], v.Name)
	}
	return list, nil
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
