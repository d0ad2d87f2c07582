package e2e

import (
	"testing"
	"time"

	"castpoint/internal/lab"
	"castpoint/test/point"
)

// With Secure Boot enforced a Linux boot environment comes up by shim and GRUB
// that Debian has signed, once the machine is approved, for which GRUB says that it
// waits. An unsigned loader is refused by the same firmware.
func TestSecureBootLinux(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 1, Offload: true})
	if _, err := p.AddBootEnvironment(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The first machine of a lab has this address.
	serve(t, p, "--dhcp", "server", "--pool", point.Pool, "--kernel-args", "console=ttyS0",
		"--devices-unknown", "approve", "--chain", "52:54:00:77:00:01=ipxe", "--chain", "x64=grub", "--chain", "x64-http=grub")

	refused := bootVM(t, p, lab.Machine{Name: "refused", Firmware: lab.UEFISecure})
	must(t, refused, `NBP filename is snponly\.efi`)
	must(t, refused, `Access Denied|Security Violation`)
	refused.Kill()

	start := time.Now()
	vm := bootVM(t, p, lab.Machine{Name: "signed", Firmware: lab.UEFISecure, Memory: 768})
	must(t, vm, `NBP filename is grub/efi-x64/52-54-00-77-00-02/\S+/shimx64\.efi`)
	must(t, vm, `waiting for approval`)
	must(t, vm, `castpoint device approve 52-54-00-77-00-02`)
	waiting := time.Since(start)
	if _, err := p.Run(t.Context(), "device", "approve", vm.MAC, "--data", p.Data); err != nil {
		t.Fatal(err)
	}
	must(t, vm, `boot image: linux`)
	must(t, vm, `Loading the initramfs`)
	must(t, vm, `Kernel is locked down from EFI Secure Boot`)
	must(t, vm, `boot environment, kernel`)
	t.Logf("waiting after %.0f s, Linux after %.0f s", waiting.Seconds(), time.Since(start).Seconds())
}
