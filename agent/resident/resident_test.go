package resident

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"castpoint/agent/machine"
	"castpoint/boot/bcd"
	"castpoint/deploy/sequence"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err, ": go test -update writes it")
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s differs:\n%s", name, d)
	}
}

// write writes a file below a folder.
func write(t *testing.T, root, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(root, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// list is what is below a folder: modes, names, where links lead.
func list(t *testing.T, root string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		fmt.Fprintf(&b, "%s %s", info.Mode(), rel)
		if target, err := os.Readlink(path); err == nil {
			b.WriteString(" -> " + target)
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

var settings = Settings{Server: "https://192.0.2.1:8443", Pin: "sha256:00", Ticket: "t1cket", MAC: "52:54:00:00:00:01", Run: "r1"}

func fetch(_ context.Context, to string) error { return os.WriteFile(to, []byte("the agent"), 0o700) }

// recorder writes down what would be run.
type recorder struct {
	b    strings.Builder
	dir  string
	says map[string]machine.Result // by the first two words
}

func (r *recorder) Run(_ context.Context, p machine.Program) (machine.Result, error) {
	fmt.Fprintf(&r.b, "%s\n", strings.ReplaceAll(strings.Join(p.Args, " "), r.dir, "DIR"))
	if p.Input != nil {
		text, err := io.ReadAll(p.Input)
		if err != nil {
			return machine.Result{}, err
		}
		for line := range strings.Lines(string(text)) {
			r.b.WriteString("    " + line)
		}
	}
	key := strings.Join(p.Args[:min(2, len(p.Args))], " ")
	return r.says[key], nil
}

func TestLinux(t *testing.T) {
	root := t.TempDir()
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(own)
	if err != nil {
		t.Fatal(err)
	}
	write(t, root, "usr/lib/systemd/systemd", program[:4096])
	system, err := Look(root)
	if err != nil || system.Kind != Linux {
		t.Fatalf("%+v, %v", system, err)
	}
	write(t, root, "usr/lib/systemd/systemd", program)
	if system, err = Look(root); err != nil || system.Program("other") != "linux-"+runtime.GOARCH {
		t.Fatalf("%+v, %v", system, err)
	}
	o := Options{System: system, Settings: settings, Environment: sequence.EnvironmentLinux, Programs: &recorder{}, Fetch: fetch}
	for range 2 { // a step that is repeated
		if err := Put(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(filepath.Join(root, "usr/lib")); err != nil {
		t.Fatal(err)
	}
	golden(t, "linux.tree", list(t, root))
	text, err := os.ReadFile(filepath.Join(root, "etc/systemd/system/castpoint-continue.service"))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "castpoint-continue.service", string(text))
	checkUnit(t, root)
	path := filepath.Join(root, "usr/local/lib/castpoint-continue/run.json")
	if got, err := ReadSettings(path); err != nil || got != settings {
		t.Errorf("settings %+v, %v", got, err)
	}

	write(t, WorkBeside(path), "sequence-disk.log", []byte("log"))
	if err := Remove(t.Context(), Removal{Kind: Linux, Settings: path, Programs: &recorder{}}); err != nil {
		t.Fatal(err)
	}
	if left := list(t, root); strings.Contains(left, "castpoint") {
		t.Errorf("of the agent there is left:\n%s", left)
	}
	// Beside settings that are somewhere else nothing is removed.
	other := write(t, t.TempDir(), "run.json", []byte("{}"))
	kept := write(t, filepath.Dir(other), "mine", nil)
	if err := Remove(t.Context(), Removal{Kind: Linux, Settings: other, Programs: &recorder{}}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(kept); err != nil {
		t.Error(err)
	}
}

// checkUnit has systemd say what it thinks of the unit.
func checkUnit(t *testing.T, root string) {
	t.Helper()
	write(t, root, "usr/local/lib/castpoint-continue/castagent", []byte("#!/bin/sh\n"))
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", "--root="+root, "--recursive-errors=no", "--man=no", "castpoint-continue.service").CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("castpoint-continue")) {
		t.Errorf("systemd-analyze: %v: %s", err, out)
	}
}

// Links of the Linux that was applied: those in it are followed, those out of it refused.
func TestLinks(t *testing.T) {
	for _, c := range []struct{ link, to, says string }{
		{"usr/local", "../var/local", ""}, {"usr/local", "OUTSIDE", "/usr/local/lib of the Linux that was applied is a link that leads out of it"},
		{"etc/systemd", "OUTSIDE", "/etc/systemd/system/multi-user.target.wants of the Linux"},
	} {
		root, outside := t.TempDir(), t.TempDir()
		write(t, root, "var/local/x", nil)
		write(t, root, "etc/fstab", nil)
		write(t, root, "usr/x", nil)
		if err := os.Symlink(strings.Replace(c.to, "OUTSIDE", outside, 1), filepath.Join(root, c.link)); err != nil {
			t.Fatal(err)
		}
		o := Options{System: System{Root: root, Kind: Linux}, Settings: settings, Environment: sequence.EnvironmentLinux, Programs: &recorder{}, Fetch: fetch}
		err := Put(t.Context(), o)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s to %s: %v", c.link, c.to, err)
		}
		if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
			t.Errorf("outside there is %v, %v", left, err)
		}
	}
	if err := within("/", "usr/local/lib"); err != nil {
		t.Errorf("the system that runs: %v", err)
	}
}

func TestLookRefuses(t *testing.T) {
	empty, linux, old, sparc := t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()
	write(t, linux, "etc/passwd", nil)
	write(t, old, "Windows/System32/config/SYSTEM", nil)
	pe := make([]byte, 0x90)
	copy(pe, "MZ")
	pe[0x3c] = 0x80
	copy(pe[0x80:], "PE\x00\x00\x4c\x01")
	write(t, old, "Windows/System32/ntoskrnl.exe", pe)
	header := elf.Header64{Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2MSB), byte(elf.EV_CURRENT)},
		Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_SPARCV9), Version: uint32(elf.EV_CURRENT), Ehsize: 64}
	var b bytes.Buffer
	if err := binary.Write(&b, binary.BigEndian, header); err != nil {
		t.Fatal(err)
	}
	write(t, sparc, "usr/lib/systemd/systemd", b.Bytes())
	for root, want := range map[string]string{empty: "neither a Windows nor a Linux", linux: "no systemd", old: "type 0x14c", sparc: "EM_SPARCV9"} {
		if _, err := Look(root); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// hive makes a registry hive as a Windows has one, as far as it matters here: by
// hivexsh, out of a boot configuration, which is a hive, too.
func hive(t *testing.T, path string) {
	t.Helper()
	store, err := bcd.Ramdisk(bcd.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := store.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	script.WriteString("cd \\\nadd Select\ncd Select\nsetval 2\nCurrent\ndword:1\nDefault\ndword:2\ncd \\\nadd ControlSet002\ncd ControlSet002\nadd Services\ncd Services\n")
	for i := range 800 { // as many as a Windows has
		fmt.Fprintf(&script, "add svc%03d\ncd svc%03d\nsetval 1\nStart\ndword:3\ncd ..\n", i, i)
	}
	script.WriteString("commit\n")
	foreign(t, script.String(), "hivexsh", "-w", path)
}

// foreign runs a program that somebody else wrote.
func foreign(t *testing.T, input, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil { // reged is in a folder that only root's PATH has
		path = "/usr/sbin/" + name
	}
	c := exec.CommandContext(t.Context(), path, args...)
	c.Stdin = strings.NewReader(input)
	c.Dir = t.TempDir()
	out, err := c.CombinedOutput()
	if err != nil && name != "reged" { // which ends with 2 when it changed nothing
		t.Fatalf("%s: %v: %s: run test/install-tools", name, err, out)
	}
	if name == "reged" {
		if out, err = os.ReadFile(filepath.Join(c.Dir, "out.reg")); err != nil {
			t.Fatal(err)
		}
	}
	return string(out)
}

func TestWindowsFromLinux(t *testing.T) {
	root := t.TempDir()
	path := write(t, root, "WINDOWS/system32/Config/SYSTEM", nil)
	hive(t, path)
	before := foreign(t, "", "reged", "-x", path, "X", `\`, "out.reg")
	pe := make([]byte, 0x90)
	copy(pe, "MZ")
	pe[0x3c] = 0x80
	copy(pe[0x80:], "PE\x00\x00\x64\xaa")
	write(t, root, "WINDOWS/system32/ntoskrnl.exe", pe)
	system, err := Look(root)
	if err != nil || system.Program("amd64") != "windows-arm64" {
		t.Fatalf("%+v, %v", system, err)
	}
	var closed []string
	o := Options{System: system, Settings: settings, Environment: sequence.EnvironmentLinux, Programs: machine.System{}, Fetch: fetch,
		Close: func(path string) error { closed = append(closed, filepath.Base(path)); return nil }}
	for range 2 { // a step that is repeated
		if err := Put(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "windows.tree", list(t, filepath.Join(root, "WINDOWS/castpoint-continue")))
	if want := []string{"castpoint-continue", "castagent.exe", "run.json"}; fmt.Sprint(closed[:3]) != fmt.Sprint(want) {
		t.Errorf("closed to others: %v, want %v", closed, want)
	}
	key := `ControlSet002\Services\castpoint-continue`
	for name, want := range map[string]string{
		"ImagePath":  `"%SystemRoot%\castpoint-continue\castagent.exe" continue --service`,
		"Start":      "2",
		"ObjectName": "LocalSystem",
	} {
		if got := strings.TrimSpace(foreign(t, "", "hivexget", path, key, name)); got != want {
			t.Errorf("hivexget reads %s as %q, want %q", name, got, want)
		}
	}
	after := foreign(t, "", "reged", "-x", path, "X", `\`, "out.reg")
	start, end := `[X\ControlSet002\Services\castpoint-continue]`, "[X\\"
	at := strings.Index(after, start)
	if at < 0 {
		t.Fatal("reged finds no service")
	}
	rest := after[at+len(start):]
	n := strings.Index(rest, end)
	golden(t, "service.reg", strings.ReplaceAll(start+rest[:n], "\r", ""))
	// Nothing else has changed.
	if got := after[:at] + rest[n:]; got != before {
		t.Errorf("the hive has changed:\n%s", cmp.Diff(before, got))
	}

	// A hive that was not closed is left alone.
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[4]++
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Put(t.Context(), o); err == nil || !strings.Contains(err.Error(), "was not closed") {
		t.Errorf("a hive that was not closed: %v", err)
	}
	write(t, root, "WINDOWS/system32/Config/SYSTEM", []byte("nothing"))
	if err := Put(t.Context(), o); err == nil || !strings.Contains(err.Error(), "no registry hive") {
		t.Errorf("no hive: %v", err)
	}
}

// TestWindowsCommands compares with a golden file what Windows PE runs, what a running
// Windows does, and what Linux tells hivexsh.
func TestWindowsCommands(t *testing.T) {
	root := t.TempDir()
	path := write(t, root, "Windows/System32/config/SYSTEM", nil)
	hive(t, path)
	system, err := Look(root)
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{dir: root, says: map[string]machine.Result{
		"reg query":       {Tail: "\r\nHKEY_LOCAL_MACHINE\\castpoint-system\\Select\r\n    Default    REG_DWORD    0x1\r\n\r\n"},
		"hivexsh " + path: {Tail: "1\n"},
	}}
	for _, environment := range []string{sequence.EnvironmentWindowsPE, sequence.EnvironmentWindows, sequence.EnvironmentLinux} {
		fmt.Fprintf(&r.b, "--- in %s\n", environment)
		if err := Put(t.Context(), Options{System: system, Settings: settings, Environment: environment, Programs: r, Fetch: fetch,
			Close: func(string) error { return nil }}); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "windows.commands", r.b.String())
}
