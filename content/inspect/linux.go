package inspect

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"castpoint/content"
	"castpoint/content/wim/format"
)

// inspectLinux checks kernel and initramfs of a Linux boot image.
func inspectLinux(kernelPath, initrdPath string, c *content.Content) ([]Source, error) {
	kernel, k, err := describeKernelFile(kernelPath)
	if err != nil {
		return nil, err
	}
	initrd, err := checkInitrdFile(initrdPath)
	if err != nil {
		return nil, err
	}
	if err := setArch(c, k.arch, kernelPath); err != nil {
		return nil, err
	}
	if c.Version == "" {
		c.Version = k.version
	}
	if c.Name == "" {
		c.Name = baseName(kernelPath)
		if k.version != "" {
			c.Name = "Linux"
		}
	}
	return []Source{*kernel, *initrd}, nil
}

// kernel is what a Linux kernel says about itself.
type kernel struct {
	arch    string
	version string // "6.8.0-45-generic"; "" where the format does not say
}

// kernelHead is as much of a kernel as describeKernel looks at: version strings
// lie within the setup sectors, of which there are at most 64, behind the boot
// sector.
const kernelHead = 65 * 512

func describeKernelFile(path string) (*Source, kernel, error) {
	f, info, err := OpenFile(path)
	if err != nil {
		return nil, kernel{}, err
	}
	defer f.Close()
	head := make([]byte, min(info.Size(), kernelHead))
	if _, err := io.ReadFull(f, head); err != nil {
		return nil, kernel{}, fmt.Errorf("read kernel %s: %w", path, err)
	}
	k, ok := describeKernel(head)
	if !ok {
		looks := format.Sniff(f, info.Size())
		if strings.Contains(looks, "-compressed data") {
			looks += ": decompress it first, firmware does not"
		}
		return nil, kernel{}, fmt.Errorf("%w kernel %s: not a Linux kernel, it is %s", content.ErrFile, path, looks)
	}
	s := SourceOf(content.RoleKernel, path, info)
	return &s, k, nil
}

// describeKernel knows the three forms that firmware and loaders start:
//
//   - x86: "HdrS" at 0x202 (Documentation/arch/x86/boot.rst), for 64 bits when
//     XLF_KERNEL_64 is set in xloadflags, which exists since protocol 2.12;
//   - arm64: "ARM\x64" at 0x38 (Documentation/arch/arm64/booting.rst);
//   - any other with an EFI stub: a PE file whose subsystem is EFI application.
func describeKernel(head []byte) (k kernel, ok bool) {
	if len(head) < 0x260 {
		return k, false
	}
	if string(head[0x202:0x206]) == "HdrS" {
		k.arch = "386"
		const xlfKernel64 = 1
		protocol := binary.LittleEndian.Uint16(head[0x206:])
		if protocol >= 0x20c && binary.LittleEndian.Uint16(head[0x236:])&xlfKernel64 != 0 {
			k.arch = "amd64"
		}
		if p := int(binary.LittleEndian.Uint16(head[0x20e:])); p != 0 && p+0x200 < len(head) {
			text := head[p+0x200 : min(p+0x200+100, len(head))]
			text, _, _ = bytes.Cut(text, []byte{0})
			if words := strings.Fields(content.Printable(string(text))); len(words) > 0 {
				k.version = words[0]
			}
		}
		return k, true
	}
	if string(head[0x38:0x3c]) == "ARM\x64" {
		return kernel{arch: "arm64"}, true
	}
	pe := binary.LittleEndian.Uint32(head[0x3c:])
	const subsystemEFIApplication = 10
	// Subsystem is at 68 of the optional header, which is at 24.
	if string(head[:2]) != "MZ" || uint64(pe)+24+70 > uint64(len(head)) || string(head[pe:pe+4]) != "PE\x00\x00" ||
		binary.LittleEndian.Uint16(head[pe+24+68:]) != subsystemEFIApplication {
		return k, false
	}
	switch binary.LittleEndian.Uint16(head[pe+4:]) {
	case 0x014c:
		k.arch = "386"
	case 0x01c0, 0x01c2, 0x01c4:
		k.arch = "arm"
	case 0x8664:
		k.arch = "amd64"
	case 0xaa64:
		k.arch = "arm64"
	default:
		return k, false
	}
	return k, true
}

// initrdMagics are the beginnings that the kernel accepts (init/initramfs.c and
// lib/decompress.c).
var initrdMagics = []string{
	"070701", "070702", // cpio, newc without and with checksums
	"\x1f\x8b",         // gzip
	"\x28\xb5\x2f\xfd", // zstd
	"\xfd7zXZ\x00",     // xz
	"\x02\x21\x4c\x18", // lz4, legacy frames
	"\x5d\x00\x00",     // lzma
	"BZh",              // bzip2
	"\x89LZO\x00",      // lzo
}

func checkInitrdFile(path string) (*Source, error) {
	f, info, err := OpenFile(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head := make([]byte, min(info.Size(), 16))
	if _, err := io.ReadFull(f, head); err != nil {
		return nil, fmt.Errorf("read initramfs %s: %w", path, err)
	}
	if string(head[:min(4, len(head))]) == "\x04\x22\x4d\x18" {
		return nil, fmt.Errorf("%w initramfs %s: it is lz4 in the frame format, and the kernel reads the legacy format only: compress it with lz4 -l", content.ErrFile, path)
	}
	for _, m := range initrdMagics {
		if bytes.HasPrefix(head, []byte(m)) {
			s := SourceOf(content.RoleInitrd, path, info)
			return &s, nil
		}
	}
	return nil, fmt.Errorf("%w initramfs %s: neither a cpio archive nor a compressed one, it is %s", content.ErrFile, path, format.Sniff(f, info.Size()))
}
