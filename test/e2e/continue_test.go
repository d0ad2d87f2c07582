package e2e

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"castpoint/agent/machine"
	"castpoint/agent/protocol"
	"castpoint/agent/resident"
	"castpoint/boot/bcd"
	"castpoint/deploy/sequence"
	"castpoint/internal/lab"
	"castpoint/test/client"
	"castpoint/test/point"
)

// goOnSequence goes on in the system on the disk, over a restart that a program wants.
// The boot environment's part is played by the test.
const goOnSequence = `name: go-on
environment: linux
variables:
  Secret: {secret: true, required: true}
steps:
  - {name: Prepare, run-command: {command: prepare}}
  - {name: To the disk, restart: {into: disk}}
  - {name: Which, set-variable: {name: Where, value: "${_Environment}"}}
  - {name: Install, install-package: {content: tool, command: "%[1]s", restart: [10, 3010]}}
  - {name: Use, run-command: {command: "%[2]s", variable: Said}}
  - {name: Never, when: environment == "linux", run-command: {command: exit 9}}
  - {name: Log, copy-log: {}}
`

// goOnPoint is a server with a run of goOnSequence on a machine, whose restart into
// the disk is announced. It returns what the boot environment would leave on the disk.
func goOnPoint(t *testing.T, p *point.Point, install, use string) (resident.Settings, *protocol.Run) {
	t.Helper()
	dir := p.Network.Dir
	run := func(args ...string) {
		t.Helper()
		if _, err := p.Run(t.Context(), append(args, "--data", p.Data)...); err != nil {
			t.Fatal(err)
		}
	}
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if _, err := p.AddBootEnvironment(t.Context()); err != nil {
		t.Fatal(err)
	}
	file("tool/tool.txt", "the tool")
	run("content", "add", "package", filepath.Join(dir, "tool"), "--name", "tool")
	run("sequence", "add", file("go-on.yaml", fmt.Sprintf(goOnSequence, install, use)))
	h := p.Network.Clients[0]
	run("device", "add", "--mac", h.MAC.String(), "--name", "pc")
	run("collection", "add", "lab", "--device", "pc")
	run("deployment", "add", "lab", "--sequence", "go-on", "--collection", "lab", "--purpose", "required")
	serve(t, p, "--dhcp", "off", "--tftp=false")
	newAdmin(p).call(t, http.MethodPut, "/collections/lab/secrets/Secret", map[string]string{"value": goOnSecret}, nil)

	m := client.NewAgent(h, h.MAC.String())
	r, err := m.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	call := func(path string, body any) {
		t.Helper()
		if err := m.Call(t.Context(), http.MethodPost, path, r.Ticket, body, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"1", "2"} {
		for _, state := range []string{protocol.StepStarted, protocol.StepDone} {
			call(protocol.PathStep, protocol.StepStatus{Run: r.ID, Path: path, State: state})
		}
	}
	call(protocol.PathEnd, protocol.RunEnd{Run: r.ID, State: protocol.RunRestart, Path: "3", Into: sequence.RestartDisk})
	return resident.Settings{Server: point.JoinURL, Pin: p.Pin, Ticket: r.Ticket, MAC: m.MAC, Run: r.ID}, &r
}

const goOnSecret = "correct horse"

// checkWentOn looks at what the server knows of the run at its end.
func checkWentOn(t *testing.T, p *point.Point, where string) {
	t.Helper()
	all := newAdmin(p).runs(t, "pc")
	if len(all) != 1 || all[0].State != "succeeded" {
		t.Fatalf("runs %+v", all)
	}
	var got, logs []string
	for _, s := range all[0].Steps {
		got = append(got, s.Name+" "+s.State)
		if strings.Contains(s.Output+s.Message, goOnSecret) {
			t.Errorf("step %s shows the secret: %s %s", s.Name, s.Message, s.Output)
		}
		if s.Name == "Use" && (!strings.Contains(s.Output, "the tool in "+where) || !strings.Contains(s.Output, "***")) {
			t.Errorf("step %+v, want what the tool says in %s", s, where)
		}
	}
	if all := strings.Join(got, ", "); all != "Prepare done, To the disk done, Which done, Install done, Use done, Never skipped, Log done" {
		t.Errorf("steps %s", all)
	}
	for _, l := range all[0].Logs {
		logs = append(logs, l.Name)
	}
	if !slices.Contains(logs, "sequence-disk.log") {
		t.Errorf("logs %v", logs)
	}
	timeline, err := p.Run(t.Context(), "device", "timeline", "pc", "--data", p.Data)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"restarting into the disk", "goes on at step 3, Which", "goes on at step 5, Use", "succeeded"} {
		if !strings.Contains(timeline, text) {
			t.Errorf("the timeline lacks %q:\n%s", text, timeline)
		}
	}
}

// A run goes on in the Linux on the disk: a root file system with what the boot
// environment has left there, started as systemd starts it.
func TestContinueInLinux(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 1})
	settings, run := goOnPoint(t, p, "cp tool.txt /tool && exit 10", "echo $(cat /tool) in $CP_Where; echo $CP_Secret")
	h := p.Network.Clients[0]
	root := filepath.Join(p.Network.Dir, "root")
	agent := filepath.Join(filepath.Dir(p.Binary), "castagent-linux-amd64")
	for _, dir := range []string{"bin", "dev", "etc", "proc", "run", "tmp", "usr/lib/systemd"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for from, to := range map[string]string{"/bin/busybox": "bin/busybox", agent: "usr/lib/systemd/systemd"} {
		if out, err := exec.CommandContext(t.Context(), "cp", "-L", from, filepath.Join(root, to)).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	for _, name := range []string{"sh", "cat", "cp", "echo"} {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	systemctl := "#!/bin/sh\necho $* >>/run/systemctl.log\n"
	if err := os.WriteFile(filepath.Join(root, "bin/systemctl"), []byte(systemctl), 0o755); err != nil {
		t.Fatal(err)
	}
	mountProc(t, root)
	if out, err := exec.CommandContext(t.Context(), "mknod", "-m", "666", filepath.Join(root, "dev/null"), "c", "1", "3").CombinedOutput(); err != nil {
		t.Fatalf("mknod: %v: %s", err, out)
	}
	before := tree(t, root)
	system, err := resident.Look(root)
	if err != nil {
		t.Fatal(err)
	}
	known := slices.IndexFunc(run.Agents, func(f protocol.File) bool { return f.Name == system.Program("") })
	if known < 0 {
		t.Fatalf("the server has no agent %s: %+v", system.Program(""), run.Agents)
	}
	put := func() {
		t.Helper()
		err := resident.Put(t.Context(), resident.Options{System: system, Settings: settings, Environment: sequence.EnvironmentLinux, Programs: machine.System{},
			Fetch: func(_ context.Context, to string) error {
				fetch(t, h, to, "curl", "-sS", "--fail", "--insecure", "-H", "Authorization: Bearer "+settings.Ticket, "-o", to,
					point.JoinURL+protocol.PathAgent+run.Agents[known].Name)
				return os.Chmod(to, 0o700)
			}})
		if err != nil {
			t.Fatal(err)
		}
	}
	put()
	sum, err := exec.CommandContext(t.Context(), "sha256sum", agent, filepath.Join(root, "usr/local/lib/castpoint-continue/castagent")).Output()
	if err != nil || strings.Count(string(sum), run.Agents[known].SHA256) != 2 {
		t.Errorf("the agent that the server sends is another one: %v\n%s", err, sum)
	}
	start := func() *lab.Process {
		t.Helper()
		proc, err := h.Start(lab.Command{Args: []string{"chroot", root, "/usr/local/lib/castpoint-continue/castagent", "continue"},
			Env: []string{"PATH=/bin"}})
		if err != nil {
			t.Fatal(err)
		}
		return proc
	}
	// The program that it installs wants a restart.
	proc := start()
	if _, err := proc.Output.WaitFor(t.Context(), "now: reboot", patience); err != nil {
		t.Fatalf("%v:\n%s", err, proc.Output.Tail(40))
	}
	called := func() string {
		b, _ := os.ReadFile(filepath.Join(root, "run/systemctl.log")) // it is not there yet
		return string(b)
	}
	eventually(t, "the agent restarts the system", func() bool { return called() == "reboot\n" })
	proc.Kill()
	// The server is away when the system starts.
	if _, err := p.Server.Stop(); err != nil {
		t.Fatal(err)
	}
	proc = start()
	if _, err := proc.Output.WaitFor(t.Context(), "the server is asked again", patience); err != nil {
		t.Fatalf("%v:\n%s", err, proc.Output.Tail(40))
	}
	serve(t, p, "--dhcp", "off", "--tftp=false")
	if code := wait(t, proc); code != 0 {
		t.Fatalf("the agent ended with exit code %d:\n%s", code, proc.Output.Tail(40))
	}
	said := proc.Output.String()
	if strings.Contains(said, goOnSecret) {
		t.Errorf("the agent says:\n%s", said)
	}
	if got := called(); got != "reboot\ndaemon-reload\n" {
		t.Errorf("systemctl was called with %q", got)
	}
	checkWentOn(t, p, "linux-disk")
	if got := tree(t, root); !sameBut(got, before) {
		t.Errorf("it has left:\n%s", got)
	}

	// A system of which the server knows nothing any more is left alone, too.
	put()
	proc = start()
	if code := wait(t, proc); code != 0 || !strings.Contains(proc.Output.String(), "the server has nothing more for this machine") {
		t.Fatalf("the agent ended with exit code %d:\n%s", code, proc.Output.Tail(40))
	}
	if got := tree(t, root); !sameBut(got, before) {
		t.Errorf("it has left:\n%s", got)
	}
}

// sameBut compares what a system has with what it had before, but for empty folders
// of it and what the sequence has installed.
func sameBut(got, before string) bool {
	had := strings.Split(before, "\n")
	for _, name := range strings.Split(got, "\n") {
		if !slices.Contains(had, name) && name != "tool" && !strings.HasPrefix(name, "etc/systemd") && !strings.HasPrefix(name, "usr/local") && !strings.HasPrefix(name, "run/") {
			return false
		}
	}
	return !strings.Contains(got, "castpoint-continue")
}

// tree lists the files and folders below a folder.
func tree(t *testing.T, root string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(root, path)
		if rel == "proc" {
			return fs.SkipDir
		}
		if rel != "." {
			b.WriteString(rel + "\n")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// A run goes on in Windows, or Wine: the boot environment's service starts with the
// system, does its steps as the system, restarts in between, and removes itself.
func TestContinueInWindows(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 1})
	settings, _ := goOnPoint(t, p, `copy tool.txt C:\\\\tool.txt & exit 3010`, `type C:\\\\tool.txt & echo  in %CP_Where%& echo %CP_Secret%`)
	h := p.Network.Clients[0]
	w := newWine(t, p.Network.Dir, h)
	// Windows starts when somebody uses it, and its service manager then starts what is
	// to start with it. Wine ends when nobody uses it.
	build(t, filepath.Join(w.c, "user.exe"), "#include <windows.h>\nint main(void) { Sleep(INFINITE); return 0; }")
	use := func() {
		t.Helper()
		user := w.start(t, `C:\user.exe`)
		t.Cleanup(user.Kill)
	}
	use()
	agent := filepath.Join(filepath.Dir(p.Binary), "castagent-windows-amd64.exe")
	err := resident.Put(t.Context(), resident.Options{
		System: resident.System{Root: w.c, Kind: resident.Windows}, Settings: settings, Environment: sequence.EnvironmentWindows, Programs: winePrograms{t, w},
		Fetch: func(_ context.Context, to string) error {
			b, err := os.ReadFile(agent)
			return errors.Join(err, os.WriteFile(to, b, 0o700))
		},
		Close: func(string) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(w.c, "windows/castpoint-continue")
	log := func() string {
		var all string
		for _, name := range []string{"agent.log", "work/sequence-disk.log"} {
			b, _ := os.ReadFile(filepath.Join(folder, name)) // gone at the end
			all += name + ":\n" + string(b)
		}
		return all
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the agent says:\n%s", log())
		}
	})
	restart := func() {
		t.Helper()
		w.end(t)
		use()
	}
	restart()
	eventually(t, "the agent restarts Windows", func() bool { return strings.Contains(log(), "now: reboot") })
	restart()
	a := newAdmin(p)
	eventually(t, "the run succeeds", func() bool {
		all := a.runs(t, "pc")
		return len(all) == 1 && all[0].State == "succeeded"
	})
	checkWentOn(t, p, "windows")
	// Its program goes when it has ended, which Wine does not show; nor does Wine know the
	// call that Go's os.RemoveAll makes, for the folder beside it.
	eventually(t, "the agent removes what it knows", func() bool {
		_, err := os.Stat(filepath.Join(folder, "run.json"))
		return errors.Is(err, fs.ErrNotExist)
	})
	eventually(t, "the service is gone", func() bool {
		code, err := w.start(t, "sc", "query", resident.Name).Wait(t.Context())
		return err == nil && code != 0
	})
	w.end(t)
	registry, err := os.ReadFile(filepath.Join(filepath.Dir(w.c), "system.reg"))
	if err != nil || strings.Contains(string(registry), resident.Name) {
		t.Errorf("the registry still has the service (%v)", err)
	}
	if b, err := os.ReadFile(filepath.Join(w.c, "tool.txt")); err != nil || string(b) != "the tool" {
		t.Errorf("the tool: %q, %v", b, err)
	}
}

// winePrograms runs programs of Windows under Wine.
type winePrograms struct {
	t *testing.T
	w *wine
}

func (p winePrograms) Run(ctx context.Context, program machine.Program) (machine.Result, error) {
	proc := p.w.start(p.t, program.Args...)
	code, err := proc.Wait(ctx)
	return machine.Result{Code: code, Tail: proc.Output.String()}, err
}

// What Linux writes to an NTFS volume is open to everybody, if it is not closed. The
// permissions are read by a program that had no part in it.
func TestResidentOnNTFS(t *testing.T) {
	dir := t.TempDir()
	volume, at := filepath.Join(dir, "volume"), filepath.Join(dir, "windows")
	if err := errors.Join(os.WriteFile(volume, nil, 0o600), os.Truncate(volume, 64<<20)); err != nil {
		t.Fatal(err)
	}
	command := func(input, name string, args ...string) string {
		t.Helper()
		c := exec.CommandContext(t.Context(), name, args...)
		c.Stdin = strings.NewReader(input)
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", name, err, out)
		}
		return string(out)
	}
	command("", "mkntfs", "--quick", "--force", volume)
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	command("", "ntfs-3g", volume, at)
	t.Cleanup(func() { _ = exec.Command("umount", at).Run() }) // it is unmounted before, unless the test fails
	hive := filepath.Join(at, "Windows/System32/config/SYSTEM")
	store, err := bcd.Ramdisk(bcd.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := store.Bytes()
	if err := errors.Join(err, os.MkdirAll(filepath.Dir(hive), 0o755), os.WriteFile(hive, b, 0o644)); err != nil {
		t.Fatal(err)
	}
	command("cd \\\nadd Select\ncd Select\nsetval 1\nDefault\ndword:1\ncd \\\nadd ControlSet001\ncd ControlSet001\nadd Services\ncommit\n", "hivexsh", "-w", hive)
	system, err := resident.Look(at)
	if err != nil {
		t.Fatal(err)
	}
	err = resident.Put(t.Context(), resident.Options{System: system, Environment: sequence.EnvironmentLinux, Programs: machine.System{},
		Fetch: func(_ context.Context, to string) error { return os.WriteFile(to, []byte("MZ"), 0o700) }})
	if err != nil {
		t.Fatal(err)
	}
	command("", "umount", at)
	for _, name := range []string{"", "/castagent.exe", "/run.json"} {
		said := command("", "ntfssecaudit", "-v", volume, "Windows/castpoint-continue"+name)
		if !strings.Contains(said, "mode 0700") || !strings.Contains(said, "Windows owner S-1-5-32-544") || !strings.Contains(said, "Windows group S-1-5-18") {
			t.Errorf("permissions of %q:\n%s", name, said)
		}
	}
	open := command("", "ntfssecaudit", "-v", volume, "Windows/System32")
	if !strings.Contains(open, "mode 0777") {
		t.Errorf("nothing is open to everybody without being closed: the test shows nothing:\n%s", open)
	}
}
