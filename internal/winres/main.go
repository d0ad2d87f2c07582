// Command winres writes the version resource of a Windows program as an object
// file that go build links in: what Explorer shows under Details, and what
// inventories of software read. make build runs it.
//
// The object file is COFF with one section, .rsrc ([Microsoft PE and COFF
// Specification], 4 to 6.9); in it a directory of three levels (type, name,
// language) leads to a VS_VERSIONINFO.
package main

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"unicode/utf16"
)

func main() {
	version := flag.String("version", "0", "version of the program, as git describe gives it")
	arch := flag.String("arch", "amd64", "amd64 or arm64")
	name := flag.String("name", "castagent", "name of the program")
	out := flag.String("o", "", "file to write")
	flag.Parse()
	b, err := object(*arch, *name, *version)
	if err == nil {
		err = os.WriteFile(*out, b, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "winres:", err)
		os.Exit(1)
	}
}

// Machines of COFF, and their relocation by an address relative to the image.
var machines = map[string]struct{ machine, relocation uint16 }{
	"amd64": {0x8664, 3}, // IMAGE_REL_AMD64_ADDR32NB
	"arm64": {0xaa64, 2}, // IMAGE_REL_ARM64_ADDR32NB
}

const (
	resourceVersion = 16     // RT_VERSION
	languageUS      = 0x0409 // English, United States
	codePageUTF16   = 0x04b0
	coffHeader      = 20
	sectionHeader   = 40
)

// object makes the object file.
func object(arch, name, version string) ([]byte, error) {
	m, ok := machines[arch]
	if !ok {
		return nil, fmt.Errorf("architecture %q: want amd64 or arm64", arch)
	}
	info := versionInfo(name, version)
	// Three directories of 16 bytes with one entry of 8 each, then the entry of
	// the data, whose address is filled in by the linker.
	const dataEntry = 3 * 24
	const dataAt = dataEntry + 16
	var rsrc bytes.Buffer
	put := func(values ...any) {
		for _, v := range values {
			_ = binary.Write(&rsrc, binary.LittleEndian, v) // never fails into memory
		}
	}
	for level, id := range []uint32{resourceVersion, 1, languageUS} {
		next := uint32(24*(level+1)) | 1<<31 // a directory
		if level == 2 {
			next = dataEntry
		}
		put(uint32(0), uint32(0), uint16(0), uint16(0), uint16(0), uint16(1), id, next)
	}
	put(uint32(dataAt), uint32(len(info)), uint32(0), uint32(0))
	rsrc.Write(info)
	for rsrc.Len()%4 != 0 {
		rsrc.WriteByte(0)
	}

	raw := uint32(coffHeader + sectionHeader)
	relocations := raw + uint32(rsrc.Len())
	symbols := relocations + 10
	var b bytes.Buffer
	for _, v := range []any{
		m.machine, uint16(1), uint32(0), symbols, uint32(1), uint16(0), uint16(0),
		[8]byte{'.', 'r', 's', 'r', 'c'}, uint32(0), uint32(0), uint32(rsrc.Len()), raw, relocations, uint32(0), uint16(1), uint16(0), uint32(0x40000040),
		rsrc.Bytes(),
		uint32(dataEntry), uint32(0), m.relocation,
		[8]byte{'.', 'r', 's', 'r', 'c'}, uint32(0), int16(1), uint16(0), uint8(3), uint8(0),
		uint32(4), // a string table with nothing in it
	} {
		_ = binary.Write(&b, binary.LittleEndian, v) // never fails into memory
	}
	return b.Bytes(), nil
}

var numbers = regexp.MustCompile(`^v?(\d+)(?:\.(\d+))?(?:\.(\d+))?(?:-(\d+)-g)?`)

// fileVersion takes up to four numbers out of what git describe gives:
// v1.2.3-45-gabcdef is 1.2.3.45. A bare commit has none.
func fileVersion(version string) (v [4]uint16) {
	found := numbers.FindStringSubmatch(version)
	if found == nil || !regexp.MustCompile(`^v?\d+(\.|$|-)`).MatchString(version) {
		return v
	}
	for i, s := range found[1:] {
		n, _ := strconv.ParseUint(s, 10, 16) // "" is 0, what is too large the largest
		v[i] = uint16(n)
	}
	return v
}

// versionInfo is a VS_VERSIONINFO.
func versionInfo(name, version string) []byte {
	v := fileVersion(version)
	high, low := uint32(v[0])<<16|uint32(v[1]), uint32(v[2])<<16|uint32(v[3])
	var fixed []byte
	for _, n := range []uint32{
		0xfeef04bd, 0x00010000, high, low, high, low,
		0x3f, 0, 0x00040004, 1, 0, 0, 0, // for Windows NT, a program
	} {
		fixed = binary.LittleEndian.AppendUint32(fixed, n)
	}
	text := func(key, value string) []byte {
		u := units(value)
		return block(key, 1, u, len(u)/2)
	}
	table := block(fmt.Sprintf("%04x%04x", languageUS, codePageUTF16), 1, nil, 0,
		text("CompanyName", "castpoint"), text("FileDescription", "castpoint agent"), text("FileVersion", version),
		text("InternalName", name), text("OriginalFilename", name+".exe"), text("ProductName", "castpoint"), text("ProductVersion", version))
	translation := binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, languageUS), codePageUTF16)
	return block("VS_VERSION_INFO", 0, fixed, len(fixed),
		block("StringFileInfo", 1, nil, 0, table),
		block("VarFileInfo", 1, nil, 0, block("Translation", 0, translation, len(translation))))
}

// block is the shape that all parts have: length, length of the value (in
// characters for text), kind, key, value, children, each on a multiple of 4.
func block(key string, kind uint16, value []byte, valueLength int, children ...[]byte) []byte {
	b := make([]byte, 2, 64)
	b = binary.LittleEndian.AppendUint16(b, uint16(valueLength))
	b = binary.LittleEndian.AppendUint16(b, kind)
	b = append(b, units(key)...)
	for _, part := range append([][]byte{value}, children...) {
		if len(part) > 0 {
			for len(b)%4 != 0 {
				b = append(b, 0)
			}
			b = append(b, part...)
		}
	}
	binary.LittleEndian.PutUint16(b, uint16(len(b)))
	return b
}

// units is a text in UTF-16 with its end.
func units(s string) (b []byte) {
	for _, u := range utf16.Encode([]rune(s + "\x00")) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}
