package e2e

import (
	"strings"
	"testing"
	"time"

	"castpoint/internal/lab"
	"castpoint/test/point"
)

// A boot environment made of packages of Debian's mirrors, of which this machine has
// none installed as far as the build is concerned: machines with both firmwares boot
// it, and their agents register.
func TestBootEnvironmentFromDebian(t *testing.T) {
	takesMinutes(t)
	p := newPoint(t, lab.Config{Offload: true})
	if _, err := p.AddBootEnvironment(t.Context(), "--from", "debian"); err != nil {
		t.Fatal(err)
	}
	serve(t, p, "--dhcp", "server", "--pool", point.Pool, "--kernel-args", "console=ttyS0")
	var vms []*lab.VM
	for _, f := range []lab.Firmware{lab.UEFI, lab.BIOS} {
		vm := bootVM(t, p, lab.Machine{Name: "pc-" + strings.ToLower(string(f)), Firmware: f, Memory: 768})
		vms = append(vms, vm)
		command(t, p, "device", "add", "--mac", vm.MAC, "--name", vm.Name)
	}
	for _, vm := range vms {
		if _, err := vm.Output.WaitFor(t.Context(), "starting the agent", 10*time.Minute); err != nil {
			t.Fatalf("%v; the console:\n%s", err, vm.Output.Tail(60))
		}
		var said string
		eventually(t, "the agent of "+vm.Name+" has said what the machine is", func() bool {
			said = command(t, p, "device", "show", vm.Name)
			return strings.Contains(said, "QEMU")
		})
		t.Logf("%s", said)
		if !strings.Contains(said, vm.UUID) || !strings.Contains(said, "768") {
			t.Errorf("%s is on record as\n%s", vm.Name, said)
		}
		vm.Kill()
	}
}
