package main

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
	"testing"
)

func TestObject(t *testing.T) {
	for arch, machine := range map[string]uint16{"amd64": pe.IMAGE_FILE_MACHINE_AMD64, "arm64": pe.IMAGE_FILE_MACHINE_ARM64} {
		b, err := object(arch, "castagent", "v1.2.3-45-gabcdef")
		if err != nil {
			t.Fatal(err)
		}
		f, err := pe.NewFile(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		s := f.Section(".rsrc")
		if f.Machine != machine || s == nil || len(f.Sections) != 1 || len(s.Relocs) != 1 || len(f.Symbols) != 1 || f.Symbols[0].Name != ".rsrc" {
			t.Fatalf("%s: %+v", arch, f)
		}
		data, err := s.Data()
		if err != nil {
			t.Fatal(err)
		}
		at := binary.LittleEndian.Uint32(data[s.Relocs[0].VirtualAddress:])
		size := binary.LittleEndian.Uint32(data[s.Relocs[0].VirtualAddress+4:])
		info := data[at : at+size]
		if int(binary.LittleEndian.Uint16(info)) != len(info) {
			t.Errorf("%s: the version says that it has %d bytes of %d", arch, binary.LittleEndian.Uint16(info), len(info))
		}
		for _, text := range []string{"VS_VERSION_INFO", "StringFileInfo", "040904b0", "v1.2.3-45-gabcdef", "castagent.exe", "Translation"} {
			if !bytes.Contains(info, units(text)) {
				t.Errorf("%s: no %q", arch, text)
			}
		}
	}
	if _, err := object("mips", "x", "1"); err == nil {
		t.Error("mips was accepted")
	}
}

func TestFileVersion(t *testing.T) {
	for in, want := range map[string][4]uint16{
		"v1.2.3-45-gabcdef-dirty": {1, 2, 3, 45}, "1.2": {1, 2}, "v3": {3}, "9186bb9-dirty": {}, "unknown": {}, "": {}, "v1.99999": {1, 65535},
	} {
		if got := fileVersion(in); got != want {
			t.Errorf("%q: %v, want %v", in, got, want)
		}
	}
}
