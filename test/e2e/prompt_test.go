package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"castpoint/internal/lab"
	"castpoint/test/point"
)

// On a machine with a screen F8 opens a shell in the boot environment, where that is
// allowed, and the agent goes on behind it.
func TestCommandPromptInLinux(t *testing.T) {
	takesMinutes(t)
	p := newPoint(t, lab.Config{Offload: true})
	if _, err := p.AddBootEnvironment(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, content := addWIM(t, p, 4<<20)
	// One that waits for another machine.
	serve(t, p, "--dhcp", "server", "--pool", point.Pool, "--assign", content.ID, "--min-members", "2", "--max-wait", "10m")
	boot := filepath.Join(p.Network.Dir, "bootenv")
	vm := bootVM(t, p, lab.Machine{Name: "m", Firmware: lab.BIOS, Display: true, Linux: &lab.Linux{
		Kernel: filepath.Join(boot, "vmlinuz"), Initrd: filepath.Join(boot, "initrd"),
		// The last console is where the boot environment talks: the screen.
		CommandLine: "console=ttyS0 console=tty0 castpoint.prompt castpoint.server=" + point.JoinURL + " castpoint.pin=" + p.Pin +
			" castpoint.token=" + token(t, p, content.ID) + " castpoint.mac=52:54:00:77:00:01",
	}})
	eventually(t, "the machine joins", func() bool {
		all := sessions(t, p)
		return len(all) > 0 && len(all[0].Members) == 1
	})
	if err := vm.Press("f8"); err != nil {
		t.Fatal(err)
	}
	// The keyboard's buffer holds what the shell is not there for yet.
	time.Sleep(time.Second)
	if err := vm.Type("echo the agent is $(pidof castagent) >/dev/ttyS0\n"); err != nil {
		t.Fatal(err)
	}
	must(t, vm, `the agent is \d+`)
	if m := sessions(t, p)[0].Members; len(m) != 1 || m[0].State == "gone" {
		t.Errorf("the agent did not go on: %+v", m)
	}
}

// Two deployments are available for a machine: it asks for a key before it boots from
// the network, and the agent's menu asks which of them it is to be. The one that is
// chosen runs.
func TestChooseDeployment(t *testing.T) {
	takesMinutes(t)
	p := newPoint(t, lab.Config{Offload: true})
	if _, err := p.AddBootEnvironment(t.Context()); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) {
		t.Helper()
		if _, err := p.Run(t.Context(), append(args, "--data", p.Data)...); err != nil {
			t.Fatal(err)
		}
	}
	run("collection", "add", "strangers", "--rule", "unknown")
	for _, name := range []string{"first", "second"} {
		file := filepath.Join(p.Network.Dir, name+".yaml")
		text := fmt.Sprintf("name: %s\nsteps:\n  - run-command:\n      command: echo the sequence %s runs >/dev/ttyS0; sleep 600\n", name, name)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		run("sequence", "add", file)
		run("deployment", "add", name, "--sequence", name, "--collection", "strangers")
	}
	serve(t, p, "--dhcp", "server", "--pool", point.Pool, "--log-level", "debug",
		"--kernel-args", "console=ttyS0", "--kernel-args", "console=tty0")
	vm := bootVM(t, p, lab.Machine{Name: "m", Firmware: lab.UEFI, Memory: 1024, Display: true})
	must(t, vm, `Press F12 for network boot`)
	if err := vm.Press("f12"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Server.Output.WaitFor(t.Context(), `machine asks what to do.*2 deployments are available`, 3*time.Minute); err != nil {
		t.Fatalf("%v; the console:\n%s", err, vm.Output.Tail(20))
	}
	// The menu is on the screen a moment later.
	time.Sleep(3 * time.Second)
	if err := vm.Press("down", "ret"); err != nil {
		t.Fatal(err)
	}
	must(t, vm, `the sequence second runs`)
}
