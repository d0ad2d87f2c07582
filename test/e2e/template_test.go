package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"castpoint/internal/lab"
	"castpoint/test/point"
)

// command runs castpoint as a person does.
func command(t *testing.T, p *point.Point, args ...string) string {
	t.Helper()
	out, err := p.Run(t.Context(), append(args, "--data", p.Data)...)
	if err != nil {
		t.Fatalf("castpoint %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// template writes a template that castpoint prints into a file, after edit has
// changed it.
func template(t *testing.T, p *point.Point, name string, edit func(string) string) string {
	t.Helper()
	out, err := p.Run(t.Context(), "sequence", "template", name)
	if err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		out = edit(out)
	}
	file := filepath.Join(p.Network.Dir, name+".yaml")
	if err := os.WriteFile(file, []byte(out), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// Each template that castpoint prints is one that it takes: nothing is wrong with it,
// nothing is doubtful, and it becomes a sequence.
func TestTemplates(t *testing.T) {
	p := newPoint(t, lab.Config{Offload: true})
	serve(t, p, "--dhcp", "off", "--tftp=false")
	out, err := p.Run(t.Context(), "sequence", "template")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(out) {
		if words := strings.Fields(line); len(words) > 0 && strings.Contains(words[0], "-") {
			names = append(names, words[0])
		}
	}
	if len(names) < 6 {
		t.Fatalf("templates: %s", out)
	}
	for _, name := range names {
		file := template(t, p, name, nil)
		if out, err := p.Run(t.Context(), "sequence", "check", file); err != nil || strings.Contains(out, "warning") {
			t.Errorf("check %s: %v: %s", name, err, out)
		}
		command(t, p, "sequence", "add", file)
		if out := command(t, p, "sequence", "show", name); !strings.Contains(out, name) {
			t.Errorf("show %s: %s", name, out)
		}
	}
}

// nvmeErase is what somebody puts before the step Erase of the template wipe-disk: a
// drive erases itself, a disk that cannot says so, and how much is left on the drive
// goes into the record.
const nvmeErase = `  - name: The drive erases itself
    wipe-disk: {disk: /dev/nvme0n1, method: secure-erase}

  - name: No such command
    continue-on-error: true
    wipe-disk: {disk: /dev/vda, method: secure-erase}

  - name: What is left
    run-command: {command: "tr -d '\\0' </dev/nvme0n1 | wc -c; head -c 17 /dev/vda"}

`

// A machine that leaves: the template wipe-disk is fetched, changed, checked, added and
// deployed as people do, and the machine erases both its disks, the NVMe drive by the
// drive's own command first. Nothing is left on them.
func TestWipeDiskTemplate(t *testing.T) {
	takesMinutes(t)
	p := newPoint(t, lab.Config{Offload: true})
	dir := p.Network.Dir
	if _, err := p.AddBootEnvironment(t.Context(), "--from", "host"); err != nil {
		t.Fatal(err)
	}
	serve(t, p, "--dhcp", "server", "--pool", point.Pool, "--kernel-args", "console=ttyS0")
	file := template(t, p, "wipe-disk", func(text string) string {
		return strings.Replace(text, "  - name: Erase\n", nvmeErase+"  - name: Erase\n", 1)
	})
	command(t, p, "sequence", "check", file)
	command(t, p, "sequence", "add", file)

	full := func(name string) string {
		disk := filepath.Join(dir, name)
		if err := os.WriteFile(disk, bytes.Repeat([]byte("what nobody reads"), 32<<20/17+1)[:32<<20], 0o600); err != nil {
			t.Fatal(err)
		}
		return disk
	}
	disks := []string{full("vda"), full("nvme")}
	vm := bootVM(t, p, lab.Machine{Name: "leaves", Firmware: lab.BIOS, Disk: disks[0], NVMe: disks[1]})
	command(t, p, "device", "add", "--mac", vm.MAC, "--name", "leaves")
	command(t, p, "device", "set", "leaves", "--variable", "Confirmation=the board")
	command(t, p, "collection", "add", "old", "--device", "leaves")
	command(t, p, "deployment", "add", "wipe", "--sequence", "wipe-disk", "--collection", "old", "--purpose", "required", "--after", "poweroff")
	run := runsOnce(t, p, vm)
	output := make(map[string]string)
	var states []string
	for _, s := range run.Steps {
		states = append(states, s.Name+" "+s.State)
		output[s.Name] = s.Output + s.Message
	}
	if got, want := strings.Join(states, ", "), "Who asked for it done, The drive erases itself done, No such command failed, What is left done, Erase done, Keep the logs done"; got != want {
		t.Errorf("steps %s, want %s", got, want)
	}
	for step, want := range map[string]string{
		"Who asked for it": "allowed by the board", "No such command": "secure-erase of disk /dev/vda: it hangs on virtio", "What is left": "0\nwhat nobody reads",
	} {
		if !strings.Contains(output[step], want) {
			t.Errorf("step %s: %q, want %q in it", step, output[step], want)
		}
	}
	for _, disk := range disks {
		f, err := os.Open(disk)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		f.Close()
		if err != nil || len(b) != 32<<20 || bytes.Count(b, []byte{0}) != len(b) {
			t.Errorf("%s: %v, %d of %d bytes are left", disk, err, len(b)-bytes.Count(b, []byte{0}), len(b))
		}
	}
}

// A reference machine with a Linux: the template prepare-capture makes a WIM of its
// volume, with owners and modes, on a second disk.
func TestCaptureTemplate(t *testing.T) {
	takesMinutes(t)
	p := newPoint(t, lab.Config{Offload: true})
	dir := p.Network.Dir
	if _, err := p.AddBootEnvironment(t.Context(), "--from", "host"); err != nil {
		t.Fatal(err)
	}
	serve(t, p, "--dhcp", "server", "--pool", point.Pool, "--kernel-args", "console=ttyS0")
	file := template(t, p, "prepare-capture", nil)
	command(t, p, "sequence", "check", file)
	command(t, p, "sequence", "add", file)

	reference := filepath.Join(dir, "reference")
	program := referenceRoot(t, reference)
	disk, to := blankDisk(t, filepath.Join(dir, "vda"), 64<<20), blankDisk(t, filepath.Join(dir, "nvme"), 64<<20)
	for _, args := range [][]string{{"mkfs.ext4", "-q", "-d", reference, disk}, {"mkfs.ext4", "-q", to}} {
		if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", args[0], err, out)
		}
	}
	vm := bootVM(t, p, lab.Machine{Name: "reference", Firmware: lab.BIOS, Disk: disk, NVMe: to})
	command(t, p, "device", "add", "--mac", vm.MAC, "--name", "reference")
	command(t, p, "device", "set", "reference", "--variable", "Volume=/dev/vda", "--variable", "To=/dev/nvme0n1")
	command(t, p, "collection", "add", "references", "--device", "reference")
	command(t, p, "deployment", "add", "capture", "--sequence", "prepare-capture", "--collection", "references", "--purpose", "required", "--after", "poweroff")
	runsOnce(t, p, vm)

	checkCaptured(t, p, to, program)
}

// runsOnce waits until a machine has run its sequence and switched itself off.
func runsOnce(t *testing.T, p *point.Point, vm *lab.VM) runRecord {
	t.Helper()
	if _, err := vm.Output.WaitFor(t.Context(), "done, powering off|FAILED:", 10*time.Minute); err != nil {
		t.Fatalf("%v; the console:\n%s", err, vm.Output.Tail(60))
	}
	eventually(t, vm.Name+" is off, or has failed", func() bool {
		select {
		case <-vm.Done():
			return true
		default:
			all := newAdmin(p).runs(t, vm.Name)
			return len(all) > 0 && all[0].State == "failed"
		}
	})
	all := newAdmin(p).runs(t, vm.Name)
	if len(all) != 1 || all[0].State != "succeeded" {
		t.Fatalf("runs %+v; the console:\n%s", all, vm.Output.Tail(60))
	}
	return all[0]
}

// The templates prepare-capture and wipe-disk on a machine in namespaces: its first
// partition becomes a WIM on its second one, then all of the disk is erased.
func TestTemplatesOnFile(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 1, Offload: true})
	dir := p.Network.Dir
	if _, err := p.AddBootEnvironment(t.Context(), "--from", "host"); err != nil {
		t.Fatal(err)
	}
	serve(t, p, "--dhcp", "off", "--tftp=false")
	for _, name := range []string{"prepare-capture", "wipe-disk"} {
		file := template(t, p, name, nil)
		command(t, p, "sequence", "check", file)
		command(t, p, "sequence", "add", file)
	}
	const size = 96 << 20
	b := newBody(t, p, p.Network.Clients[0], filepath.Join(dir, "bootenv"), size)
	program := referenceRoot(t, filepath.Join(dir, "reference"))
	tool := func(input string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
		cmd.Stdin = strings.NewReader(input)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
	tool("label: gpt\nstart=1MiB, size=32MiB\nstart=40MiB, size=48MiB\n", "sfdisk", "--quiet", b.disk)
	tool("", "mkfs.ext4", "-q", "-d", filepath.Join(dir, "reference"), "-E", "offset=1048576", b.disk, "32M")
	const to = 40 << 20
	tool("", "mkfs.ext4", "-q", "-E", "offset=41943040", b.disk, "48M")

	command(t, p, "device", "add", "--mac", bodyMAC, "--name", "body")
	command(t, p, "device", "set", "body", "--variable", "Volume=/dev/sda1", "--variable", "To=/dev/sda2", "--variable", "Confirmation=the board")
	command(t, p, "collection", "add", "all", "--device", "body")
	run := func(name string, number int) runRecord {
		t.Helper()
		command(t, p, "deployment", "add", name, "--sequence", name, "--collection", "all", "--purpose", "required", "--after", "poweroff")
		if err := b.power(t.Context()); err != nil {
			t.Fatal(err)
		}
		wait(t, b.agent)
		said := b.agent.Output.Tail(40)
		b.off()
		all := newAdmin(p).runs(t, "body")
		if len(all) != number || all[number-1].State != "succeeded" {
			t.Fatalf("runs %+v; the machine said:\n%s", all, said)
		}
		return all[number-1]
	}
	run("prepare-capture", 1)
	checkCaptured(t, p, fmt.Sprintf("%s?offset=%d", b.disk, to), program)

	done := run("wipe-disk", 2)
	if s := done.Steps[0]; !strings.Contains(s.Output, "allowed by the board") {
		t.Errorf("step %+v", s)
	}
	disk, err := os.ReadFile(b.disk)
	if err != nil || len(disk) != size || bytes.Count(disk, []byte{0}) != size {
		t.Errorf("%v: %d of %d bytes are left", err, size-bytes.Count(disk, []byte{0}), size)
	}
}

// referenceRoot makes what a reference machine has, and returns the path of a program
// in it.
func referenceRoot(t *testing.T, dir string) string {
	t.Helper()
	const name = "usr/bin/program"
	program := filepath.Join(dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(program), 0o755), os.WriteFile(program, []byte("#!/bin/sh\n"), 0o600), os.Chown(program, 17, 18),
		os.Chmod(program, 0o751), os.Symlink("program", filepath.Join(filepath.Dir(program), "link"))); err != nil {
		t.Fatal(err)
	}
	return name
}

// checkCaptured looks at captured.wim on a file system in a file: it has what the
// reference machine has, and the library takes it.
func checkCaptured(t *testing.T, p *point.Point, fs, program string) {
	t.Helper()
	wim, got := filepath.Join(p.Network.Dir, "captured.wim"), filepath.Join(p.Network.Dir, "got")
	if out, err := exec.CommandContext(t.Context(), "debugfs", "-R", "dump /captured.wim "+wim, fs).CombinedOutput(); err != nil {
		t.Fatalf("debugfs: %v: %s", err, out)
	}
	wimlib(t, "verify", wim)
	wimlib(t, "apply", wim, "Reference", got, "--unix-data")
	st, err := os.Stat(filepath.Join(got, program))
	if err != nil {
		t.Fatal(err)
	}
	if owner := st.Sys().(*syscall.Stat_t); st.Mode().Perm() != 0o751 || owner.Uid != 17 || owner.Gid != 18 {
		t.Errorf("the program has mode %v and is of %d:%d", st.Mode(), owner.Uid, owner.Gid)
	}
	if to, err := os.Readlink(filepath.Join(got, filepath.Dir(program), "link")); err != nil || to != "program" {
		t.Errorf("the link leads to %q: %v", to, err)
	}
	if _, err := p.Add(t.Context(), "os-image", wim, "--name", "reference"); err != nil {
		t.Error(err)
	}
}
