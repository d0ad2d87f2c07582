package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"castpoint/internal/lab"
	"castpoint/test/image"
)

// block is a fenced block of a page.
type block struct {
	line     int // of its first line
	language string
	text     string
	notRun   string   // why a test does not run it
	with     []string // what it takes for granted
}

var (
	notRun  = regexp.MustCompile(`^<!-- not run: (.+) -->$`)
	runWith = regexp.MustCompile(`^<!-- run with: (.+) -->$`)
)

// blocks reads the fenced blocks of a page.
func blocks(page string) (all []block) {
	var open *block
	before := ""
	var with []string
	for i, line := range strings.Split(page, "\n") {
		line = strings.TrimSpace(line)
		language, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && open == nil:
			open = &block{line: i + 2, language: language, with: with}
			with = nil
			if m := notRun.FindStringSubmatch(before); m != nil {
				open.notRun = m[1]
			}
		case fence:
			all = append(all, *open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		}
		if m := runWith.FindStringSubmatch(line); m != nil {
			with = append(with, strings.Fields(m[1])...)
		}
		before = line
	}
	return all
}

// shims are the programs that the pages call, for a machine that is not theirs: the
// server goes to the background, what would go on for ever ends, systemd is not there.
var shims = map[string]string{
	"castpoint": `#!/bin/bash
stop() { [ ! -e "$PAGE/pid" ] || { kill "$(cat "$PAGE/pid")" && tail --pid="$(cat "$PAGE/pid")" -f /dev/null; rm "$PAGE/pid"; }; }
case " $* " in
" serve "*)
  stop
  "$CASTPOINT" "$@" >"$PAGE/serve.log" 2>&1 </dev/null &
  echo $! >"$PAGE/pid"
  for i in $(seq 600); do
    grep -q 'sha256:' "$PAGE/serve.log" && exit
    kill -0 "$(cat "$PAGE/pid")" 2>/dev/null || break
    sleep 0.1
  done
  cat "$PAGE/serve.log"; exit 1;;
*" --follow "*|*" --watch "*)
  timeout -s INT 2 "$CASTPOINT" "$@"; code=$?
  [ $code -eq 0 ] || [ $code -eq 124 ] || [ $code -eq 130 ] || exit $code;;
" doctor "*)
  "$CASTPOINT" "$@"; code=$?
  [ $code -eq 0 ] || [ $code -eq 3 ] || exit $code;; # something needs attention: no systemd, a closed network
" stop ")
  stop;;
*)
  "$CASTPOINT" "$@" <<<'correct horse battery staple';;
esac
`,
	"sudo": "#!/bin/sh\nexec \"$@\"\n",
	"systemctl": `#!/bin/sh
case "$*" in
"enable --now castpoint.socket castpoint") castpoint serve;;
"reload castpoint") castpoint reload;;
*) echo "the test knows no systemctl $*"; exit 1;;
esac
`,
}

// given are what a page takes for granted.
var given = map[string]string{
	"server":  "castpoint serve\n",
	"win11":   "castpoint content add os-image install.wim --name win11 --multicast\n",
	"winpe":   "castpoint content add boot-image boot.wim --name winpe\n",
	"pc-1":    "castpoint device add --name pc-1 --mac 52:54:00:12:34:56\n",
	"pc-2":    "castpoint device add --name pc-2 --mac 52:54:00:12:34:57\n",
	"realtek": "castpoint content add driver-package realtek --name realtek\n",
	"sequence": "castpoint sequence template install-windows > install-windows.yaml\n" +
		"castpoint sequence template install-windows-from-linux > install.yaml\n",
	"deployment": "castpoint sequence template install-windows-from-linux > install.yaml\ncastpoint sequence add install.yaml\n" +
		"castpoint collection add room-101 --rule 'name=pc-*'\ncastpoint deployment add room-101 --sequence install-windows-from-linux --collection room-101\n",
	"session":    "castpoint session start win11\n",
	"named-pc-1": "castpoint device set 52:54:00:12:34:56 --name pc-1\n",
	"request":    "busybox udhcpc -i near -f -n -q -t 1 -T 1 -B -V PXEClient:Arch:00007:UNDI:003016 -s /bin/true >/dev/null 2>&1 || true\n",
}

// Every command line of the documentation is run, in the order of its page, or says why
// not. A page begins with an empty server in a network of its own, beside the other
// pages; what a block takes for granted stands above it, for nobody but this test to see.
func TestDocumentedCommandsRun(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("../../docs/adr/*.md")
	if err != nil {
		t.Fatal(err)
	}
	images := t.TempDir() // that people have: the pages copy them
	if err := image.Make(t.Context(), filepath.Join(images, "install.wim"), "Windows 11", 1<<20); err != nil {
		t.Fatal(err)
	}
	makeWinPE(t, images)
	ran := 0
	for _, page := range slices.Concat([]string{"../../README.md"}, pages, more) {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		var toRun []block
		for _, one := range blocks(string(b)) {
			switch {
			case one.language == "":
				t.Errorf("%s:%d: a block without a language; sh is run, text is not", page, one.line)
			case one.language == "sh" && one.notRun == "":
				toRun = append(toRun, one)
			}
		}
		if len(toRun) == 0 {
			continue
		}
		ran += len(toRun)
		t.Run(filepath.Base(page), func(t *testing.T) {
			t.Parallel()
			runPage(t, page, images, toRun)
		})
	}
	if ran < 20 {
		t.Errorf("only %d blocks were run", ran)
	}
}

// pageTime is what a page may take, beside others: one builds a boot environment, which
// is 14 s of a processor.
const pageTime = 5 * time.Minute

// runPage runs the blocks of a page on the server of a network.
func runPage(t *testing.T, page, images string, toRun []block) {
	p := newPoint(t, lab.Config{})
	dir := filepath.Join(p.Network.Dir, "page")
	work, bin := filepath.Join(dir, "work"), filepath.Join(dir, "bin")
	for _, folder := range []string{work + "/bin", bin, dir + "/etc", dir + "/var", dir + "/work-etc", dir + "/work-var", work + "/drivers/latitude", work + "/intel-lan", work + "/realtek"} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write := func(path, text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range shims {
		write(filepath.Join(bin, name), text, 0o755)
	}
	write(work+"/bin/castpoint", "#!/bin/sh\nexec castpoint \"$@\"\n", 0o755)
	for _, driver := range []string{"drivers/latitude", "intel-lan", "realtek"} {
		write(filepath.Join(work, driver, "net.inf"), "[Version]\r\nSignature=\"$WINDOWS NT$\"\r\nClass=Net\r\n", 0o644)
	}
	write(work+"/diag.exe", "MZ", 0o644)
	write(work+"/startnet.cmd", "wpeinit\r\n", 0o644)
	for _, name := range []string{"install.wim", "boot.wim"} {
		copyTo(t, filepath.Join(images, name), filepath.Join(work, name))
	}

	var script strings.Builder
	// Everything that the commands change on the host is in folders of the test.
	fmt.Fprintf(&script, `set -e
export PAGE=%[1]s CASTPOINT=%[2]s PATH=%[1]s/bin:$PATH
mount --make-rprivate /
mount -t overlay overlay -o lowerdir=/etc,upperdir=$PAGE/etc,workdir=$PAGE/work-etc /etc
mount -t overlay overlay -o lowerdir=/var/lib,upperdir=$PAGE/var,workdir=$PAGE/work-var /var/lib
mount -t tmpfs tmpfs /mnt
mkdir -p /etc/castpoint /mnt/backup
rm -rf /var/lib/castpoint /etc/castpoint/*
trap 'castpoint stop' EXIT
# The network that the pages speak of: eth1 ends at a machine without a system.
ip link add eth1 type veth peer name near
ip address add 192.168.7.1/24 dev eth1
ip link set eth1 up
ip link set near address 52:54:00:12:34:56 up
printf 'interface: eth1\ndevices-unknown: approve\n' > /etc/castpoint/castpoint.yaml
cd $PAGE/work
`, dir, p.Binary)
	for _, one := range toRun {
		for _, name := range one.with {
			text, ok := given[name]
			if !ok {
				t.Fatalf("%s:%d: run with %s: there is no such thing", page, one.line, name)
			}
			script.WriteString("echo '@@ given " + name + "'\n" + text)
		}
		fmt.Fprintf(&script, "echo '@@ line %d'\n%s", one.line, one.text)
	}
	write(dir+"/script", script.String(), 0o644)
	proc, err := p.Network.Server.Start(lab.Command{Args: []string{"unshare", "--mount", "bash", dir + "/script"}, Env: []string{"TMPDIR=" + dir}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), pageTime)
	defer cancel()
	code, err := proc.Wait(ctx)
	if code != 0 || err != nil {
		at := "its preparation"
		if m := regexp.MustCompile(`(?m)^@@ (.+)$`).FindAllStringSubmatch(proc.Output.String(), -1); m != nil {
			at = m[len(m)-1][1]
		}
		log, _ := os.ReadFile(dir + "/serve.log")
		t.Errorf("%s, %s: exit code %d, %v:\n%s\nthe server:\n%s", page, at, code, err, proc.Output.Tail(20), log)
	}
}
