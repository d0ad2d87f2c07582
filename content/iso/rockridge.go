package iso

import "strings"

// susp is what the System Use Sharing Protocol (IEEE P1281) and Rock Ridge
// (IEEE P1282) say about a file.
type susp struct {
	name       string
	special    string // what it is, when it is no ordinary file
	relocated  bool   // a folder that belongs elsewhere
	child      int64  // block of a folder that belongs here; -1 for none
	compressed bool
}

// maxContinuations bounds the continuation areas of one record.
const maxContinuations = 16

// findRidge looks at the root folder's own record, which begins with SP when
// there are system use entries; whether they are Rock Ridge's is told by RRIP_
// in ER, RR, or PX (its predecessor has no ER).
func (v *volume9660) findRidge(root []byte) error {
	e := v.run(root)
	b, err := v.bytes("root folder", e.offset, min(e.length, sector))
	if err != nil {
		return err
	}
	if len(b) < recordHead+1 || int(b[0]) > len(b) || int(b[0]) < recordHead+1 {
		return corrupt("the root folder has no record of itself")
	}
	use := systemUseOf(b[:b[0]])
	if len(use) < 7 || string(use[:2]) != "SP" || use[4] != 0xbe || use[5] != 0xef {
		return nil
	}
	v.skip = int(use[6])
	return v.entries("", use, func(tag string, data []byte) error {
		switch tag {
		case "PX", "RR":
			v.ridge = true
		case "ER":
			v.ridge = v.ridge || strings.Contains(string(data), "RRIP_1991A") || strings.Contains(string(data), "IEEE_P1282") || strings.Contains(string(data), "IEEE_1282")
		}
		return nil
	})
}

// systemUseOf is what follows the name in a record.
func systemUseOf(record []byte) []byte {
	at := recordHead + int(record[32])
	if record[32]%2 == 0 {
		at++ // padded
	}
	if at >= len(record) {
		return nil
	}
	return record[at:]
}

// systemUse reads the Rock Ridge entries of a record.
func (v *volume9660) systemUse(dir string, record []byte) (susp, error) {
	s := susp{child: -1}
	use := systemUseOf(record)
	if v.skip > len(use) {
		return s, nil
	}
	err := v.entries(dir, use[v.skip:], func(tag string, data []byte) error {
		switch {
		case tag == "NM" && len(data) >= 1:
			const current, parent = 1 << 1, 1 << 2
			if data[0]&(current|parent) == 0 {
				s.name += string(data[1:])
			}
			if len(s.name) > maxPath {
				return corrupt("folder %q holds a name of more than %d bytes", dir, maxPath)
			}
		case tag == "PX" && len(data) >= 4:
			s.special = specialOf(le.Uint32(data))
		case tag == "SL":
			s.special = "symbolic link"
		case tag == "RE":
			s.relocated = true
		case tag == "CL" && len(data) >= 4:
			s.child = int64(le.Uint32(data))
		case tag == "ZF":
			s.compressed = true
		}
		return nil
	})
	s.name = strings.ToValidUTF8(s.name, "_")
	return s, err
}

// specialOf names what a POSIX file mode stands for.
func specialOf(mode uint32) string {
	switch mode & 0o170000 {
	case 0o100000, 0o040000, 0:
		return ""
	case 0o120000:
		return "symbolic link"
	}
	return "special file"
}

// entries calls f for each system use entry, in continuation areas too.
func (v *volume9660) entries(dir string, b []byte, f func(tag string, data []byte) error) error {
	for range maxContinuations {
		var next []byte
		for len(b) >= 4 {
			n := int(b[2])
			if n < 4 || n > len(b) {
				break // padding, or something else's bytes
			}
			tag, data := string(b[:2]), b[4:n]
			if tag == "ST" {
				break
			}
			if tag == "CE" && len(data) >= 24 {
				block, offset, length := int64(le.Uint32(data)), int64(le.Uint32(data[8:])), int64(le.Uint32(data[16:]))
				if length > sector {
					return corrupt("folder %q: a continuation of %d bytes", dir, length)
				}
				var err error
				if next, err = v.bytes("continuation", block*v.block+offset, length); err != nil {
					return err
				}
			} else if err := f(tag, data); err != nil {
				return err
			}
			b = b[n:]
		}
		if next == nil {
			return nil
		}
		b = next
	}
	return corrupt("folder %q: a name goes on for ever", dir)
}
