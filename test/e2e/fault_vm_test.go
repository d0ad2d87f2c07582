package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"castpoint/internal/lab"
	"castpoint/test/point"
)

// TestPowerAndServerInSteps is TestFaultsInSteps with a whole machine: its firmware, its
// kernel and its disk. Its power is pulled in three steps, and the server killed in three
// others; then it boots from its disk.
func TestPowerAndServerInSteps(t *testing.T) {
	takesMinutes(t)
	p := newPoint(t, lab.Config{Offload: true})
	wim, source := makeWindows(t, p.Network.Dir)
	drivers := makeDrivers(t, p.Network.Dir)
	if _, err := p.Add(t.Context(), "os-image", wim, "--name", "stand-in", "--multicast", "--encrypt"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Add(t.Context(), "package", drivers, "--name", "drivers"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.AddBootEnvironment(t.Context(), "--from", "host"); err != nil {
		t.Fatal(err)
	}
	settings := []string{"--dhcp", "server", "--pool", point.Pool, "--devices-unknown", "approve", "--kernel-args", "console=ttyS0"}
	serve(t, p, settings...)
	a := newAdmin(p)
	disk := blankDisk(t, filepath.Join(p.Network.Dir, "vm.disk"), 160<<20)
	vm := bootVM(t, p, lab.Machine{Name: "pc-1", Firmware: lab.BIOS, Disk: disk, Restarts: true, Memory: 640})
	must(t, vm, "waiting for approval")
	device := devices(t, p, "--state", "waiting")[0].ID
	a.call(t, http.MethodPost, "/sequences", faultSequence, nil)
	a.call(t, http.MethodPost, "/collections", map[string]any{"name": "all", "devices": []string{device}}, nil)
	a.call(t, http.MethodPut, "/collections/all/secrets/AdminPassword", map[string]string{"value": faultPassword}, nil)
	a.call(t, http.MethodPost, "/deployments", map[string]any{"name": "faults", "sequence": "faults", "collection": "all", "purpose": "required"}, nil)
	if _, err := p.Run(t.Context(), "device", "approve", vm.MAC, "--data", p.Data); err != nil {
		t.Fatal(err)
	}
	await := func(pattern string) {
		t.Helper()
		if _, err := vm.Output.WaitFor(t.Context(), pattern, 6*time.Minute); err != nil {
			t.Fatalf("%v; the console:\n%s", err, vm.Output.Tail(60))
		}
	}
	for _, one := range []struct {
		number int
		name   string
		power  bool
	}{{2, "Disk", true}, {3, "Image", false}, {4, "Boot files", true}, {6, "Windows settings", false}, {10, "Command", true}, {11, "Data", false}} {
		await(fmt.Sprintf(`\[%d/%d\] %s`, one.number, faultSteps, one.name))
		if one.power {
			if err := vm.Reset(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		p.Server.Kill()
		serve(t, p, settings...)
	}
	await(standInWord)
	if _, err := vm.Stop(); err != nil {
		t.Error(err)
	}
	all := a.runs(t, device)
	if len(all) != 1 {
		t.Fatalf("%+v", all)
	}
	checkFaulty(t, &all[0], disk, source)
}
