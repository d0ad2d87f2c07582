package e2e

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"castpoint/internal/lab"
	"castpoint/test/point"
)

// device is what the test needs of castpoint device list --json.
type device struct {
	ID    string   `json:"id"`
	Name  string   `json:"name"`
	UUID  string   `json:"uuid"`
	MACs  []string `json:"macs"`
	State string   `json:"state"`
}

func devices(t *testing.T, p *point.Point, args ...string) (list []device) {
	t.Helper()
	out, err := p.Run(t.Context(), append([]string{"device", "list", "--json", "--data", p.Data}, args...)...)
	if err == nil {
		err = json.Unmarshal([]byte(out), &list)
	}
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// Two machines that nobody knows, one with UEFI firmware and one with iPXE in its
// option ROM, wait. The one that is approved boots and joins; the one that is denied
// goes on to its next boot device. What happened is in the timeline.
func TestUnknownMachineWaitsForApproval(t *testing.T) {
	p := newPoint(t, lab.Config{Offload: true})
	_, content := addWIM(t, p, 1<<20)
	if _, err := p.AddBootEnvironment(t.Context()); err != nil {
		t.Fatal(err)
	}
	serve(t, p, "--dhcp", "server", "--pool", point.Pool, "--devices-unknown", "approve",
		"--assign", content.ID, "--after", "poweroff", "--kernel-args", "console=ttyS0")
	start := time.Now()
	var vms []*lab.VM
	for _, m := range []lab.Machine{{Name: "wanted", Firmware: lab.UEFI}, {Name: "stray", Firmware: lab.BIOS}} {
		vm, err := p.Network.Boot(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		vms = append(vms, vm)
	}
	wanted, stray := vms[0], vms[1]
	for _, vm := range vms {
		for _, text := range []string{"waiting for approval", "this device: " + strings.ReplaceAll(vm.MAC, ":", "-") + "/" + vm.UUID, "device approve " + strings.ReplaceAll(vm.MAC, ":", "-")} {
			if _, err := vm.Output.WaitFor(t.Context(), text, patience); err != nil {
				t.Fatalf("%v; the console:\n%s", err, vm.Output.Tail(40))
			}
		}
	}
	t.Logf("both wait after %.0f s", time.Since(start).Seconds())
	if list := devices(t, p, "--state", "waiting"); len(list) != 2 {
		t.Fatalf("waiting: %+v", list)
	}
	status, err := p.Run(t.Context(), "status", "--data", p.Data)
	if err != nil || !strings.Contains(status, "2 waiting for approval") {
		t.Errorf("%v: %s", err, status)
	}
	_, err = p.Run(t.Context(), "explain", "--mac", wanted.MAC, "--uuid", wanted.UUID, "--arch", "x64", "--data", p.Data)
	if err != nil {
		t.Error(err)
	}
	for _, args := range [][]string{{"approve", wanted.MAC, "--name", "pc-17"}, {"deny", stray.UUID}} {
		if _, err := p.Run(t.Context(), append(append([]string{"device"}, args...), "--data", p.Data)...); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{"This machine was denied", "next boot device", "(?i)no bootable device|boot failed"} {
		if _, err := stray.Output.WaitFor(t.Context(), text, patience); err != nil {
			t.Fatalf("%v; the console:\n%s", err, stray.Output.Tail(40))
		}
	}
	// Nothing more comes of it, and the other one needs the processor.
	if _, err := stray.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := wanted.Output.WaitFor(t.Context(), "boot environment, kernel", 3*time.Minute); err != nil {
		t.Fatalf("%v; the console:\n%s", err, wanted.Output.Tail(40))
	}
	t.Logf("Linux after %.0f s", time.Since(start).Seconds())
	if code := wait(t, wanted.Process); code != 0 {
		t.Errorf("the machine ended with %d", code)
	}
	t.Logf("off after %.0f s, %.0f s of processor", time.Since(start).Seconds(), wanted.CPU().Seconds())
	timeline, err := p.Run(t.Context(), "device", "timeline", "pc-17", "--data", p.Data)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("its timeline:\n%s", timeline)
	rest := timeline
	for _, text := range []string{"dhcp", "DISCOVER of firmware", "waits for approval", "fetched snponly.efi", "DISCOVER of iPXE", "shows that the machine waits", "approved", "has its script", "fetched vmlinuz", "fetched initrd", "joined the session", "done"} {
		_, after, ok := strings.Cut(rest, text)
		if !ok {
			t.Errorf("no %q, or not in its place, in\n%s", text, timeline)
			continue
		}
		rest = after
	}
	if got := devices(t, p, "--search", "pc-17"); len(got) != 1 || got[0].State != "known" || got[0].UUID != wanted.UUID || len(got[0].MACs) != 1 || got[0].MACs[0] != wanted.MAC {
		t.Errorf("on record: %+v", got)
	}
	if _, err := p.Run(t.Context(), "explain", "--mac", stray.MAC, "--arch", "bios", "--data", p.Data); point.Code(err) != 3 || !strings.Contains(err.Error(), "denied") {
		t.Errorf("explain the denied one: %v", err)
	}
}
