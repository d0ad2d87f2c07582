package lab

import (
	"context"
	"os"
	"path/filepath"
	"time"
)

// softwareAccel translates the machine's code; it works everywhere.
const softwareAccel = "tcg,thread=multi"

// Accelerator finds out how virtual machines run best here: by KVM when it
// boots a UEFI firmware, else by software emulation. Looking for /dev/kvm is not
// enough: KVM inside a virtual machine may be there and fail at the first
// unusual instruction.
func (n *Network) Accelerator(ctx context.Context) string {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return softwareAccel
	}
	f.Close()
	vm, err := n.Boot(ctx, Machine{Name: "probe", Firmware: UEFI, Memory: 256, Accel: "kvm"})
	if err != nil {
		return softwareAccel
	}
	defer vm.Kill()
	defer os.RemoveAll(filepath.Dir(vm.monitor))
	said, err := vm.Output.WaitFor(ctx, `(BdsDxe|Start PXE)|KVM internal error|emulation failure|failed to initialize`, 10*time.Second)
	if err != nil || said[1] == "" {
		return softwareAccel
	}
	return "kvm"
}
