package format

import (
	"bytes"
	"fmt"
	"io"
	"unicode/utf8"
)

// signature is a byte string at a fixed place that tells a file format.
type signature struct {
	offset int64
	bytes  string
	what   string
}

// signatures lists formats that people mistake for a WIM or a kernel, the more
// specific before the more general.
var signatures = []signature{
	{0, MagicWIM, "a WIM file"},
	{0, MagicPipable, "a pipable WIM file"},
	{0x8001, "CD001", "an ISO 9660 image (the WIM is inside it, in the folder sources)"},
	{0x8001, "BEA01", "a UDF image (the WIM is inside it, in the folder sources)"},
	{0, "vhdxfile", "a VHDX disk image"},
	{0, "conectix", "a VHD disk image"},
	{0, "KDMV", "a VMDK disk image"},
	{0, "# Disk DescriptorFile", "a VMDK disk descriptor"},
	{0, "QFI\xfb", "a qcow2 disk image"},
	{0x40, "\x7f\x10\xda\xbe", "a VDI disk image"},
	{0x202, "HdrS", "a Linux kernel for x86"},
	{0x38, "ARM\x64", "a Linux kernel for arm64"},
	{0x200, "EFI PART", "a disk image with a GPT partition table"},
	{0x3, "NTFS    ", "an NTFS file system image"},
	{0, "PK\x03\x04", "a zip archive"},
	{0, "\x1f\x8b", "gzip-compressed data"},
	{0, "\xfd7zXZ\x00", "xz-compressed data"},
	{0, "\x28\xb5\x2f\xfd", "zstd-compressed data"},
	{0, "\x02\x21\x4c\x18", "lz4-compressed data"},
	{0, "\x04\x22\x4d\x18", "lz4-compressed data"},
	{0, "BZh", "bzip2-compressed data"},
	{0, "7z\xbc\xaf\x27\x1c", "a 7-Zip archive"},
	{0, "Rar!\x1a\x07", "a RAR archive"},
	{0, "MSCF", "a cabinet file"},
	{0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an MSI or Office file"},
	{0, "070701", "a cpio archive"},
	{0, "070702", "a cpio archive"},
	{0x101, "ustar", "a tar archive"},
	{0, "!<arch>\n", "a Debian package or ar archive"},
	{0, "\xed\xab\xee\xdb", "an RPM package"},
	{0, "hsqs", "a squashfs image"},
	{0, "\x7fELF", "an ELF program"},
	{0, "MZ", "a Windows or EFI program (PE)"},
	{0, "regf", "a registry hive or BCD store"},
	{0, "%PDF", "a PDF document"},
	{0, "version https://git-lfs", "a Git LFS pointer, not the file it stands for"},
}

// sniffSize reaches the ISO 9660 volume descriptor.
const sniffSize = 0x8001 + 16

// Sniff says in words for a person what a file looks like by its first bytes,
// such as "an ISO 9660 image", or that it is unknown.
func Sniff(r io.ReaderAt, size int64) string {
	if size <= 0 {
		return "empty"
	}
	b := make([]byte, min(size, sniffSize))
	n, _ := r.ReadAt(b, 0)
	b = b[:n]
	for _, s := range signatures {
		if int64(len(b)) > s.offset && bytes.HasPrefix(b[s.offset:], []byte(s.bytes)) {
			return s.what
		}
	}
	if size >= 512 {
		// A fixed VHD has its footer in the last 512 bytes and nothing in front.
		var footer [8]byte
		if n, _ := r.ReadAt(footer[:], size-512); n == 8 && string(footer[:]) == "conectix" {
			return "a VHD disk image"
		}
	}
	head := b[:min(len(b), 512)]
	if len(bytes.Trim(head, "\x00")) == 0 {
		return "all zeros where it begins: an unfinished download or copy"
	}
	trimmed := bytes.ToLower(bytes.TrimSpace(head))
	if bytes.HasPrefix(trimmed, []byte("<!doctype html")) || bytes.HasPrefix(trimmed, []byte("<html")) {
		return "an HTML page: the download gave an error or login page"
	}
	if printable(head) {
		return "a text file"
	}
	return fmt.Sprintf("of unknown format, beginning with % x", head[:min(len(head), 8)])
}

// printable says whether b is text, allowing a rune cut off at the end.
func printable(b []byte) bool {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			return len(b) < utf8.UTFMax && !utf8.FullRune(b)
		}
		if r < ' ' && r != '\n' && r != '\r' && r != '\t' && r != '\f' {
			return false
		}
		b = b[n:]
	}
	return true
}
