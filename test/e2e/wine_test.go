package e2e

import (
	"context"
	"debug/pe"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"castpoint/internal/lab"
	"castpoint/test/image"
)

var windowsTests = flag.String("windows-tests", "../../bin/test", "folder of the test programs of castpoint's packages for Windows")

// Debian's Wine has no links in the path.
const (
	wineProgram = "/usr/lib/wine/wine64"
	wineServer  = "/usr/lib/wine/wineserver64"
)

// Programs that the agent for Windows finds in Windows PE, and a library of
// Windows that Debian's Wine (8.0) lacks: Go's runtime takes random numbers from
// there.
var windowsParts = map[string]string{
	"bcryptprimitives.dll": `
#include <windows.h>
BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE p, SIZE_T n) { return SystemFunction036(p, (ULONG)n); }`,
	"wpeinit.exe": sayParts("wpeinit"),
	"wpeutil.exe": sayParts("wpeutil"),
	"drvload.exe": sayParts("drvload"),
}

// sayParts is a program that says how it was called.
func sayParts(name string) string {
	return `
#include <stdio.h>
int main(int n, char **v) { printf("called: ` + name + `"); for (int i = 1; i < n; i++) printf(" %s", v[i]); printf("\n"); return 0; }`
}

// wine is Windows on a host of the lab: its sockets are those of the host.
type wine struct {
	host *lab.Host
	env  []string
	c    string // drive C:
}

// newWine makes drive C: with Windows on it.
func newWine(t *testing.T, dir string, h *lab.Host) *wine {
	t.Helper()
	prefix := filepath.Join(dir, "wine")
	w := &wine{host: h, c: filepath.Join(prefix, "drive_c"), env: []string{
		"WINEPREFIX=" + prefix, "WINEDEBUG=-all", "WINEDLLOVERRIDES=mscoree=;mshtml=;winemenubuilder.exe=d", "DISPLAY=",
	}}
	w.must(t, "wineboot", "-i")
	for name, source := range windowsParts {
		build(t, filepath.Join(w.c, "windows/system32", name), source)
	}
	return w
}

// build makes a program or library for Windows.
func build(t *testing.T, out, source string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "part.c")
	if err := os.WriteFile(file, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{"-O", "-o", out, file, "-ladvapi32"}
	if strings.HasSuffix(out, ".dll") {
		args = append([]string{"-shared"}, args...)
	}
	if said, err := exec.CommandContext(t.Context(), "x86_64-w64-mingw32-gcc", args...).CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v: %s", filepath.Base(out), err, said)
	}
}

// start starts a program on drive C:.
func (w *wine) start(t *testing.T, args ...string) *lab.Process {
	t.Helper()
	p, err := w.host.Start(lab.Command{Args: append([]string{wineProgram}, args...), Dir: w.c, Env: w.env})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// end ends all that runs on drive C:, Windows itself too.
func (w *wine) end(t *testing.T) {
	t.Helper()
	p, err := w.host.Start(lab.Command{Args: []string{wineServer, "-k"}, Env: w.env})
	if err != nil {
		t.Fatal(err)
	}
	wait(t, p) // 1 when nothing runs
}

func (w *wine) must(t *testing.T, args ...string) {
	t.Helper()
	if err := os.MkdirAll(w.c, 0o755); err != nil {
		t.Fatal(err)
	}
	p := w.start(t, args...)
	if code := wait(t, p); code != 0 {
		t.Fatalf("%s ended with exit code %d:\n%s", strings.Join(args, " "), code, p.Output.Tail(60))
	}
}

// The agent for Windows does under Wine what it does in Windows PE: the script in
// the machine's WIM starts it, it finds its settings beside itself, joins,
// receives by encrypted multicast with loss, verifies, and says what comes next.
// The tests of the packages that have Windows code of their own run there, too.
func TestWindowsAgent(t *testing.T) {
	const loss = 0.01 // but for the packages' tests
	p := newPoint(t, lab.Config{Clients: 1, Loss: loss})
	h := p.Network.Clients[0]
	if err := p.Network.SetLoss(t.Context(), h, 0); err != nil {
		t.Fatal(err)
	}
	// The lab has no IPv6 of its own.
	enable := "for i in all lo eth0; do echo 0 >/proc/sys/net/ipv6/conf/$i/disable_ipv6; done; ip addr add fd77::11/64 dev eth0 nodad"
	if out, code, err := h.Run(t.Context(), "sh", "-c", enable); err != nil || code != 0 {
		t.Fatal(err, out)
	}
	w := newWine(t, p.Network.Dir, h)

	for name, run := range map[string]string{
		// Without fuzz targets, and without those that remove folders (agent/receive, some of agent/target):
		// Wine does not know the call that Go's os.RemoveAll makes.
		"netio": "^Test", "agent": "^Test", "client": "^Test", "diagnose": "^Test", "facts": "^Test", "run": "^Test", "target": "TestState|TestTarget", "platform": "^Test",
		// The others need Linux' programs, or take long.
		"machine": "TestWindows|TestReal|TestFind", "step": "TestWindows|TestInstall|TestFaults|TestRestart"} {
		t.Run(name, func(t *testing.T) {
			program, err := filepath.Abs(filepath.Join(*windowsTests, name+".test.exe"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(program); err != nil {
				t.Fatal(err, ": make e2e builds it")
			}
			w.must(t, program, "-test.v", "-test.timeout=1m", "-test.run="+run)
		})
	}

	// Windows PE has no runtime libraries, and every machine loads the program.
	t.Run("program", func(t *testing.T) {
		for _, arch := range []string{"amd64", "arm64"} {
			path := filepath.Join(filepath.Dir(p.Binary), "castagent-windows-"+arch+".exe")
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if info.Size() >= 12_000_000 {
				t.Errorf("%s has %d bytes", path, info.Size())
			}
			f, err := pe.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			libraries, err := f.ImportedLibraries()
			for _, l := range libraries {
				if !strings.EqualFold(l, "kernel32.dll") {
					t.Errorf("%s needs %s", path, l)
				}
			}
			if err != nil || f.Section(".rsrc") == nil {
				t.Errorf("%s has no version: %v", path, err)
			}
		}
	})

	// Without a card, and on a screen: a terminal of 25 lines, whose keys Wine takes
	// for those of a Windows console. Wine's services belong to the network in which
	// the first program was started.
	t.Run("no network card", func(t *testing.T) {
		w.end(t)
		defer w.end(t)
		fake := filepath.Join(w.c, "fake")
		if err := os.Mkdir(fake, 0o755); err != nil {
			t.Fatal(err)
		}
		build(t, filepath.Join(fake, "cmd.exe"), `
#include <stdio.h>
int main(void) { FILE *f = fopen("C:\\prompt.txt", "w"); fputs("opened", f); return fclose(f); }`)
		conf := "castpoint.server=https://10.77.0.1:8443\r\ncastpoint.pin=sha256:" + strings.Repeat("0", 64) + "\r\ncastpoint.token=none\r\ncastpoint.prompt\r\n"
		if err := os.WriteFile(filepath.Join(w.c, "boot.conf"), []byte(conf), 0o644); err != nil {
			t.Fatal(err)
		}
		agent, err := filepath.Abs(filepath.Join(filepath.Dir(p.Binary), "castagent-windows-amd64.exe"))
		if err != nil {
			t.Fatal(err)
		}
		keys := filepath.Join(p.Network.Dir, "keys")
		if err := syscall.Mkfifo(keys, 0o600); err != nil {
			t.Fatal(err)
		}
		proc, err := h.Start(lab.Command{
			Args: []string{"unshare", "--net", "sh", "-c", "exec script -qec \"stty rows 25 cols 80; " + wineProgram + " " + agent +
				" run --from-cmdline --cmdline 'C:\\boot.conf'\" /dev/null <" + keys},
			Dir: w.c, Env: append(w.env, "TERM=xterm", `WINEPATH=C:\fake`),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer proc.Kill()
		keyboard, err := os.OpenFile(keys, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer keyboard.Close()
		for _, says := range []string{`Step +waiting for the network`, `no network card is there: is it switched off in the firmware\?`, `F8 +command prompt`} {
			if _, err := proc.Output.WaitFor(t.Context(), says, patience); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := keyboard.WriteString("\x1b[19~"); err != nil { // F8
			t.Fatal(err)
		}
		eventually(t, "F8 opens a command prompt", func() bool {
			b, err := os.ReadFile(filepath.Join(w.c, "prompt.txt"))
			return err == nil && string(b) == "opened"
		})
	})

	t.Run("receive", func(t *testing.T) {
		if err := p.Network.SetLoss(t.Context(), h, loss); err != nil {
			t.Fatal(err)
		}
		source, assigned := addWIM(t, p, 8<<20)
		winpe, _ := makeWinPE(t, p.Network.Dir)
		if _, err := p.Add(t.Context(), "boot-image", winpe, "--name", "pe"); err != nil {
			t.Fatal(err)
		}
		serve(t, p, "--assign", assigned.ID, "--after", "poweroff")
		own := filepath.Join(p.Network.Dir, "own.wim")
		fetch(t, h, own, "curl", "-sS", "--fail", "-o", own,
			"http://"+server+":8080/winpe/efi-x64/"+strings.ReplaceAll(h.MAC.String(), ":", "-")+"/boot.wim")
		wimlib(t, "extract", own, "1", "/castpoint", "--dest-dir="+w.c, "--no-acls")

		proc := w.start(t, "cmd", "/c", `C:\castpoint\start.cmd`)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if _, err := proc.Output.WaitFor(ctx, `called: wpeutil (\S+)`, patience); err != nil {
			t.Fatalf("%v:\n%s", err, proc.Output.Tail(60))
		}
		proc.Kill() // what follows is a minute of waiting for the end of the machine
		said := proc.Output.String()
		t.Log(said)
		for _, want := range []string{`called: wpeinit`, `joined session [0-9a-f]{8}`, `, 0 by unicast`, `sha256 [0-9a-f]{64}, every block verified`, `called: wpeutil shutdown`} {
			if !regexp.MustCompile(want).MatchString(said) {
				t.Errorf("start.cmd and agent do not say %q", want)
			}
		}
		if err := image.Same(source, filepath.Join(w.c, "run", assigned.ID+".wim")); err != nil {
			t.Error(err)
		}
		if after, err := os.ReadFile(filepath.Join(w.c, "run/castpoint/after")); err != nil || string(after) != "poweroff\n" {
			t.Errorf("what comes next: %q, %v", after, err)
		}
	})
}
