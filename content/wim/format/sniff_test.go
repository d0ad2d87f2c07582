package format

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// TestNotWIM names what other files are.
func TestNotWIM(t *testing.T) {
	iso := make([]byte, 40_000)
	copy(iso[0x8001:], "CD001")
	vhd := make([]byte, 4096)
	copy(vhd[len(vhd)-512:], "conectix")
	kernel := make([]byte, 4096)
	copy(kernel, "MZ")
	copy(kernel[0x202:], "HdrS")
	for name, c := range map[string]struct {
		data []byte
		text string
	}{
		"empty":      {nil, "it is empty"},
		"one byte":   {[]byte("M"), "text"},
		"ISO":        {iso, "ISO 9660"},
		"VHDX":       {[]byte("vhdxfile and more"), "VHDX"},
		"fixed VHD":  {vhd, "VHD"},
		"zip":        {[]byte("PK\x03\x04\x14\x00"), "zip"},
		"gzip":       {[]byte("\x1f\x8b\x08\x00"), "gzip"},
		"PE":         {[]byte("MZ\x90\x00"), "PE"},
		"kernel":     {kernel, "Linux kernel"},
		"zeros":      {make([]byte, 1000), "unfinished download"},
		"login page": {[]byte("\r\n<!DOCTYPE html><title>403"), "HTML"},
		"text":       {[]byte("see the wiki, die Größe\n"), "text file"},
		"pointer":    {[]byte("version https://git-lfs.github.com/spec/v1\n"), "LFS"},
		"noise":      {[]byte{0x80, 0x81, 0x00, 0xff}, "80 81 00 ff"},
		"old magic":  {[]byte("MSWIM\x00\x00\x01" + strings.Repeat("\x00", 300)), "unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ReadHeader(bytes.NewReader(c.data), int64(len(c.data)))
			if !errors.Is(err, ErrNotWIM) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("have %v, want %q", err, c.text)
			}
		})
	}
}
