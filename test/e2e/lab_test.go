package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"castpoint/internal/lab"
)

// bed is castpoint lab up, by its command line, with a TMPDIR of its own: castpoint lab
// down removes this lab and no other.
type bed struct {
	program, dir string
	said         lab.Transcript
	up           *exec.Cmd
	ended        chan error
	limit        time.Duration // of each wait
}

// labUp starts castpoint lab up; out is where it writes to, b.said if nil.
func labUp(t *testing.T, out *os.File, args ...string) *bed {
	t.Helper()
	program, err := filepath.Abs(*binary)
	if err != nil {
		t.Fatal(err)
	}
	// Short, for the paths of sockets.
	dir, err := os.MkdirTemp("", "lab")
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{program: program, dir: dir, ended: make(chan error, 1), limit: 3 * patience}
	b.up = b.command("up", args...)
	b.up.Stdout, b.up.Stderr = &b.said, &b.said
	if out != nil {
		b.up.Stdin, b.up.Stdout, b.up.Stderr = out, out, out
		b.up.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	}
	if err := b.up.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { b.ended <- b.up.Wait() }()
	t.Cleanup(func() {
		_ = b.up.Process.Kill() // its janitor removes what is left
		if out, err := b.command("down").CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("left are %v, %v", left, err)
		}
		_ = os.RemoveAll(dir)
	})
	return b
}

func (b *bed) command(name string, args ...string) *exec.Cmd {
	c := exec.Command(b.program, append([]string{"lab", name}, args...)...)
	c.Env = append(os.Environ(), "TMPDIR="+b.dir)
	return c
}

// do runs a command of castpoint lab, which must end with that exit code, and returns
// what it says.
func (b *bed) do(t *testing.T, code int, name string, args ...string) string {
	t.Helper()
	out, err := b.command(name, args...).CombinedOutput()
	if got := exitOf(err); got != code {
		t.Fatalf("castpoint lab %s %v: exit code %d, want %d: %s", name, args, got, code, out)
	}
	return string(out)
}

func exitOf(err error) int {
	if err == nil {
		return 0
	}
	if e := (*exec.ExitError)(nil); errors.As(err, &e) {
		return e.ExitCode()
	}
	return -1
}

// labState is what tests read of castpoint lab status --json.
type labState struct {
	Ready  bool
	Dir    string
	Server struct{ Data, Console, User, Password, Log string }
	Hosts  []string

	Machines []struct {
		Name, MAC, Stage, Line, Disk string
		On                           bool
		Pid                          int
	}
}

// until asks for the lab's state until it is as wanted.
func (b *bed) until(t *testing.T, what string, is func(labState) bool) (s labState) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), b.limit)
	defer cancel()
	for {
		out, err := b.command("status", "--json").Output()
		if err == nil {
			if err := json.Unmarshal(out, &s); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if is(s) {
				return s
			}
		}
		select {
		case <-ctx.Done():
			for i := range s.Machines {
				text, _ := b.command("screen", fmt.Sprint(i+1)).CombinedOutput()
				t.Logf("screen of %s:\n%s", s.Machines[i].Name, text)
			}
			t.Fatalf("never %s: %+v; said:\n%s", what, s, b.said.Tail(20))
		case err := <-b.ended:
			b.ended <- err
			t.Fatalf("lab up has ended: %v: %s", err, b.said.Tail(20))
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// stage waits until all machines have reached one.
func (b *bed) stage(t *testing.T, stage string) labState {
	t.Helper()
	return b.until(t, stage, func(s labState) bool {
		for _, m := range s.Machines {
			if m.Stage != stage {
				return false
			}
		}
		return s.Ready
	})
}

// end waits for the end of lab up, which must be a good one.
func (b *bed) end(t *testing.T) {
	t.Helper()
	select {
	case err := <-b.ended:
		b.ended <- err
		if err != nil {
			t.Errorf("lab up ended with %v: %s", err, b.said.Tail(10))
		}
	case <-time.After(patience):
		t.Fatal("lab up goes on")
	}
}

// castpoint lab up boots a machine from a server of its own. Its screen, its keys and its
// power are at the other commands' hands, a second lab is refused, and all is gone after
// castpoint lab down.
func TestLabByCommand(t *testing.T) {
	b := labUp(t, nil, "--vms", "1", "--firmware", "bios", "--", "--devices-unknown", "approve")
	b.until(t, "ready", func(s labState) bool { return s.Ready })
	if out := b.do(t, 5, "up"); !regexp.MustCompile(fmt.Sprintf(`a lab is running since 20[0-9: -]+ \(process %d\)`, b.up.Process.Pid)).MatchString(out) {
		t.Errorf("a second lab: %s", out)
	}
	s := b.stage(t, "waiting for approval")
	for _, text := range []string{`its console: http://127\.0\.0\.1:\d+, user lab`, `1-bios: SeaBIOS|1-bios: .*SeaBIOS`, `1-bios: .*waiting for approval`} {
		if _, err := b.said.WaitFor(t.Context(), text, time.Second); err != nil {
			t.Error(err)
		}
	}
	if screen := b.do(t, 0, "screen", "1-bios"); !strings.Contains(screen, "castpoint device approve 52-54-00-77") || strings.Contains(screen, "\x1b") {
		t.Errorf("screen: %q", screen)
	}
	out, err := exec.Command(b.program, "device", "list", "--data", s.Server.Data).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "waiting") {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := exec.Command("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", s.Server.Console+"/login").CombinedOutput(); err != nil || string(out) != "200" {
		t.Errorf("console: %v: %s", err, out)
	}
	if out := b.do(t, 0, "exec", "server", "--", "ip", "-4", "-o", "addr", "show", "eth0"); !strings.Contains(out, "10.77.0.1/24") {
		t.Errorf("exec: %s", out)
	}
	b.do(t, 7, "exec", "switch", "--", "sh", "-c", "exit 7")
	for _, wrong := range []struct {
		code int
		says string
		args []string
	}{
		{4, `there is no machine "9": this lab has 1-bios`, []string{"screen", "9"}},
		{4, "this lab has server, switch", []string{"exec", "nowhere", "--", "true"}},
		{5, `there is no key "f99"`, []string{"key", "1", "f99"}},
		{2, "arguments of castpoint serve come after --", []string{"up", "--vms", "1", "x"}},
		{2, `--firmware "amiga": want bios, uefi`, []string{"up", "--firmware", "amiga"}},
	} {
		if out := b.do(t, wrong.code, wrong.args[0], wrong.args[1:]...); !strings.Contains(out, wrong.says) {
			t.Errorf("%v: %s", wrong.args, out)
		}
	}
	bare := b.command("check")
	bare.Env = append(os.Environ(), "PATH=/nonexistent")
	if out, err := bare.CombinedOutput(); exitOf(err) != 1 || !strings.Contains(string(out), "apt-get install iproute2 ethtool qemu-system-x86") {
		t.Errorf("without programs: %v: %s", err, out)
	}
	b.do(t, 0, "off", "1")
	if s := b.until(t, "off", func(s labState) bool { return !s.Machines[0].On }); s.Machines[0].Stage != "waiting for approval" {
		t.Errorf("%+v", s)
	}
	if out := b.do(t, 5, "key", "1", "f12"); !strings.Contains(out, "castpoint lab reboot 1-bios switches it on") {
		t.Errorf("key of a machine that is off: %s", out)
	}
	b.do(t, 0, "reboot", "1")
	// iPXE asks for this key for two seconds.
	b.until(t, "iPXE", func(s labState) bool { return s.Machines[0].On && s.Machines[0].Stage == "iPXE" })
	for range 5 {
		b.do(t, 0, "key", "1", "ctrl-b")
	}
	b.until(t, "iPXE's prompt", func(s labState) bool { return strings.HasPrefix(s.Machines[0].Line, "iPXE>") })

	if out := b.do(t, 0, "down"); !strings.Contains(out, "removed 1") {
		t.Errorf("down: %s", out)
	}
	b.end(t)
	if _, err := os.Stat(s.Dir); err == nil {
		t.Errorf("%s is still there", s.Dir)
	}
	b.do(t, 4, "status")
}

// A lab whose maker and its janitor were both killed is removed by castpoint lab down:
// machines, server, namespaces and files.
func TestLabByCommandKilled(t *testing.T) {
	b := labUp(t, nil, "--vms", "2", "--firmware", "bios")
	s := b.until(t, "ready", func(s labState) bool { return s.Ready })
	// It stops before its child is killed, so that it sees nothing of that.
	if err := b.up.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", b.up.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	janitors := 0
	for _, task := range tasks {
		children, err := os.ReadFile(task)
		if err != nil {
			continue
		}
		for _, pid := range strings.Fields(string(children)) {
			line, err := os.ReadFile("/proc/" + pid + "/cmdline")
			if err != nil || !strings.Contains(string(line), "\x00janitor\x00") {
				continue
			}
			var n int
			if _, err := fmt.Sscan(pid, &n); err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(n, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			janitors++
		}
	}
	if janitors != 1 {
		t.Fatalf("%d janitors", janitors)
	}
	if err := b.up.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-b.ended
	b.ended <- nil
	b.do(t, 4, "status")
	if out := b.do(t, 0, "down"); !strings.Contains(out, "removed 1") {
		t.Errorf("down: %s", out)
	}
	for _, m := range s.Machines {
		if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", m.Pid)); err == nil && strings.Contains(string(line), m.Name) {
			t.Errorf("machine %s still runs", m.Name)
		}
	}
	if left, _ := filepath.Glob("/run/netns/" + strings.TrimSuffix(filepath.Base(s.Dir), "dir") + "*"); len(left) > 0 {
		t.Errorf("left are %v", left)
	}
}

// terminal is one of that size: what the program sees, and what it is looked at by.
func terminal(t *testing.T, columns, rows uint16) (inside, outside *os.File) {
	t.Helper()
	outside, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = outside.Close() })
	if err := unix.IoctlSetPointerInt(int(outside.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(outside.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	resize(t, outside, columns, rows)
	inside, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return inside, outside
}

func resize(t *testing.T, f *os.File, columns, rows uint16) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(f.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}); err != nil {
		t.Fatal(err)
	}
}

// On a terminal the screens of several machines are side by side, are drawn anew for
// another size, and the terminal is as it was after Ctrl-C.
func TestLabByCommandOnTerminal(t *testing.T) {
	inside, outside := terminal(t, 200, 50)
	b := labUp(t, inside, "--vms", "3", "--firmware", "bios", "--", "--devices-unknown", "approve")
	_ = inside.Close()
	var seen lab.Transcript
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		buf := make([]byte, 1<<16)
		for {
			n, err := outside.Read(buf)
			_, _ = seen.Write(buf[:n])
			if err != nil {
				return // the last program has closed its end
			}
		}
	}()
	look := func(pattern string) {
		t.Helper()
		if _, err := seen.WaitFor(t.Context(), pattern, patience); err != nil {
			t.Fatal(err)
		}
	}
	// In one line of the screen: two columns.
	look(`(?m)^.* 1-bios  52:54:00:77:00:\S\S  \S.* 2-bios  52:54:00:77:00:\S\S  .*$`)
	look(`(?m)^ 3-bios  52:54:00:77:00`)
	look(`castpoint: waiting for approval`)
	look(`1-bios +52:54:00:77:00:\S\S  waiting for approval`)
	resize(t, outside, 70, 12)
	look(`2 more machines find no room here|1 more machines find no room here`)
	if _, err := outside.Write([]byte{3}); err != nil { // Ctrl-C
		t.Fatal(err)
	}
	b.end(t)
	<-copied
	look(`the lab is removed`)
}

// Networks of castpoint lab up --net: a VLAN with a slow cable that loses and delays, and
// dnsmasq beside castpoint.
func TestLabByCommandNet(t *testing.T) {
	for _, c := range []struct{ name, net, says string }{
		{"VLAN", "clients: 1\nsnooping: true\nmachines: {1: {vlan: 20, rate: 20mbit, delay: 5ms, jitter: 2ms, loss: 0.5%}}\n", `net0: 10\.100\.20\.1\d\d/`},
		{"dnsmasq", "dhcp: dnsmasq\nmtu: 1400\nipv6: true\n", `net0: 10\.77\.0\.2\d\d/`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "dnsmasq" {
				takesMinutes(t)
			}
			file := filepath.Join(t.TempDir(), "net.yaml")
			if err := os.WriteFile(file, []byte(c.net), 0o600); err != nil {
				t.Fatal(err)
			}
			b := labUp(t, nil, "--vms", "1", "--firmware", "bios", "--net", file, "--", "--devices-unknown", "approve")
			b.stage(t, "waiting for approval")
			if screen := b.do(t, 0, "screen", "1"); !regexp.MustCompile(c.says).MatchString(screen) {
				t.Errorf("%s", screen)
			}
			if c.name == "VLAN" {
				b.do(t, 0, "exec", "client1", "--", "busybox", "ping", "-c", "1", "10.77.0.1")
				if out := b.do(t, 0, "exec", "server", "--", "ip", "-br", "addr", "show", "vlan20"); !strings.Contains(out, "10.100.20.1/24") {
					t.Errorf("%s", out)
				}
			} else if out := b.do(t, 0, "exec", "server", "--", "sh", "-c", "cat /sys/class/net/eth0/mtu; ip -6 -br addr show eth0"); !strings.HasPrefix(out, "1400\n") || !strings.Contains(out, "fd77::1/64") {
				t.Errorf("%s", out)
			}
			b.do(t, 0, "down")
			b.end(t)
		})
	}
	b := &bed{program: *binary, dir: t.TempDir()}
	file := filepath.Join(t.TempDir(), "net.yaml")
	if err := os.WriteFile(file, []byte("rate: 1gbit\nsnoping: true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"up", "net"} {
		args := []string{file}
		if name == "up" {
			args = []string{"--net", file}
		}
		if out := b.do(t, 2, name, args...); !strings.Contains(out, `line 2: there is no setting "snoping": did you mean snooping?`) {
			t.Errorf("lab %s: %s", name, out)
		}
	}
}

// Each firmware comes as far as Linux, one of each in one lab.
func TestLabByCommandFirmware(t *testing.T) {
	takesMinutes(t)
	b := labUp(t, nil, "--vms", "4", "--firmware", "bios,uefi,uefi-http,uefi-secure", "--", "--devices-unknown", "approve")
	b.limit = 4 * patience // four machines, each with a processor of its own to be emulated
	s := b.stage(t, "waiting for approval")
	for _, m := range s.Machines {
		if out, err := exec.Command(b.program, "device", "approve", m.MAC, "--data", s.Server.Data).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	b.until(t, "Linux on all", func(now labState) bool {
		for _, m := range now.Machines {
			if m.Stage != "Linux" && m.Stage != "agent" {
				return false
			}
		}
		return true
	})
	b.do(t, 0, "down")
	b.end(t)
}
