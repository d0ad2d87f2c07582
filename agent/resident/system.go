package resident

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"castpoint/agent/machine"
)

// Kinds of systems, as in the names of the agent's programs.
const (
	Linux   = "linux"
	Windows = "windows"
)

// Name is what the agent's folder and its starter are called.
const Name = "castpoint-continue"

// System is an operating system below a folder.
type System struct {
	Root         string
	Kind         string
	Architecture string // amd64, arm64; "" when it could not be told
}

// Program is the name of the agent's program for the system, on a machine of an
// architecture.
func (s *System) Program(arch string) string {
	if s.Architecture != "" {
		arch = s.Architecture
	}
	return s.Kind + "-" + arch
}

// Look says which system is below a folder.
func Look(root string) (System, error) {
	s := System{Root: root}
	if _, err := machine.Find(root, hivePath); err == nil {
		s.Kind = Windows
		s.Architecture, err = windowsArchitecture(root)
		return s, err
	}
	// Of the Linux that was applied, links lead to places of the boot environment.
	for _, path := range []string{"usr/lib/systemd/systemd", "lib/systemd/systemd"} {
		f, err := os.OpenInRoot(root, path)
		if err != nil {
			continue
		}
		defer f.Close()
		s.Kind = Linux
		s.Architecture, err = linuxArchitecture(f)
		return s, err
	}
	if _, err := os.Stat(filepath.Join(root, "etc")); err == nil {
		return s, errors.New("the Linux that was applied has no systemd, which starts the agent: let the restart be the last step")
	}
	return s, fmt.Errorf("there is neither a Windows nor a Linux in %s: apply its image first", root)
}

// Machine types of PE files and ELF files for which there are agents.
var (
	peMachines  = map[uint16]string{0x8664: "amd64", 0xaa64: "arm64"}
	elfMachines = map[elf.Machine]string{elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64"}
)

// windowsArchitecture is that of the kernel; "" when it is no program.
func windowsArchitecture(root string) (string, error) {
	path, err := machine.Find(root, "Windows/System32/ntoskrnl.exe")
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	// PE: at 0x3c stands where "PE\0\0" is, the machine type follows.
	var dos [0x40]byte
	var header [6]byte
	if _, err := io.ReadFull(f, dos[:]); err != nil || string(dos[:2]) != "MZ" {
		return "", nil //nolint:nilerr // no program says nothing
	}
	if _, err := f.ReadAt(header[:], int64(binary.LittleEndian.Uint32(dos[0x3c:]))); err != nil || string(header[:4]) != "PE\x00\x00" {
		return "", nil //nolint:nilerr // no program says nothing
	}
	kind := binary.LittleEndian.Uint16(header[4:])
	if arch := peMachines[kind]; arch != "" {
		return arch, nil
	}
	return "", fmt.Errorf("the Windows that was applied is for machines of type 0x%x: castpoint has agents for amd64 and arm64; let the restart be the last step", kind)
}

// linuxArchitecture is that of systemd; "" when it is no program.
func linuxArchitecture(f *os.File) (string, error) {
	e, err := elf.NewFile(f)
	if err != nil {
		return "", nil //nolint:nilerr // no program says nothing
	}
	if arch := elfMachines[e.Machine]; arch != "" {
		return arch, nil
	}
	return "", fmt.Errorf("the Linux that was applied is for %s: castpoint has agents for amd64 and arm64; let the restart be the last step", e.Machine)
}
