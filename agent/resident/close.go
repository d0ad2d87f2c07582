package resident

import "encoding/binary"

// descriptor is a security descriptor (self-relative, MS-DTYP 2.4.6) that lets the
// system and administrators do everything, and nobody else anything, whatever the
// folder above says.
func descriptor(folder bool) []byte {
	const (
		headerSize, aclHeaderSize = 20, 8
		allRights                 = 0x001f01ff // FILE_ALL_ACCESS
		control                   = 0x9004     // self-relative, with a DACL, which inherits nothing
		inherited                 = 3          // by files and folders in it
	)
	administrators := []byte{1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 0x02, 0, 0} // S-1-5-32-544
	system := []byte{1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0}                           // S-1-5-18
	le := binary.LittleEndian
	var acl []byte
	for _, sid := range [][]byte{system, administrators} {
		flags := byte(0)
		if folder {
			flags = inherited
		}
		acl = append(acl, 0, flags) // access allowed
		acl = le.AppendUint16(acl, uint16(8+len(sid)))
		acl = le.AppendUint32(acl, allRights)
		acl = append(acl, sid...)
	}
	d := []byte{1, 0}
	d = le.AppendUint16(d, control)
	d = le.AppendUint32(d, headerSize)                             // owner: administrators
	d = le.AppendUint32(d, uint32(headerSize+len(administrators))) // group: system
	d = le.AppendUint32(d, 0)                                      // no SACL
	d = le.AppendUint32(d, uint32(headerSize+len(administrators)+len(system)))
	d = append(append(d, administrators...), system...)
	d = append(d, 2, 0) // revision of the ACL
	d = le.AppendUint16(d, uint16(aclHeaderSize+len(acl)))
	d = le.AppendUint16(d, 2) // entries
	d = le.AppendUint16(d, 0)
	return append(d, acl...)
}
