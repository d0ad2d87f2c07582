package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// Check says all that a lab with machines of these firmwares lacks on this host, with
// the Debian packages that have it.
func Check(firmware ...Firmware) error {
	if os.Geteuid() != 0 {
		return errors.New("a lab is made of network namespaces and needs root")
	}
	var missing, packages []string
	need := func(there bool, what, in string) {
		if there || slices.Contains(missing, what) {
			return
		}
		missing = append(missing, what)
		if !slices.Contains(packages, in) {
			packages = append(packages, in)
		}
	}
	program := func(name string) bool {
		_, err := exec.LookPath(name)
		return err == nil
	}
	file := func(path string) bool {
		_, err := os.Stat(path)
		return err == nil
	}
	need(program("ip"), "ip", "iproute2")
	need(program("ethtool"), "ethtool", "ethtool")
	need(program("qemu-system-x86_64"), "qemu-system-x86_64", "qemu-system-x86")
	for _, f := range firmware {
		switch f {
		case BIOS:
			need(file(biosROM), biosROM, "ipxe-qemu")
		case UEFI:
			need(file(ovmfCode), ovmfCode, "ovmf")
		case UEFISecure:
			need(file(ovmfSecureCode), ovmfSecureCode, "ovmf")
			// What this firmware starts is signed by Microsoft and by a distribution.
			need(file(shim), shim, "shim-signed")
			need(file(signedGRUB), signedGRUB, "grub-efi-amd64-signed")
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("the lab lacks %s; on Debian and Ubuntu: apt-get install %s", strings.Join(missing, ", "), strings.Join(packages, " "))
}

// The signed chain of Debian and Ubuntu.
const (
	shim       = "/usr/lib/shim/shimx64.efi.signed"
	signedGRUB = "/usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed"
)

// biosROM is what QEMU puts into its network card for BIOS machines.
const biosROM = "/usr/lib/ipxe/qemu/efi-virtio.rom"
