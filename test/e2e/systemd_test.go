package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"castpoint/internal/lab"
	"castpoint/test/image"
	"castpoint/test/point"
)

// debian is a Debian system whose first process is systemd, in namespaces on a host of
// the lab.
type debian struct {
	*lab.Process
	host *lab.Host
	init string // process id of its systemd
}

// enter makes a root file system, which is the first argument, that of a new system and
// starts systemd in it, as container managers do.
const enter = `set -e
mount --make-rprivate /
mount --bind "$1" "$1"
cd "$1"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
for node in null zero full random urandom tty; do
  touch dev/$node
  mount --bind /dev/$node dev/$node
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
mount -t tmpfs tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
mount -t tmpfs -o mode=755 tmpfs run
mkdir -p .host
pivot_root . .host
umount -l .host
rmdir .host
exec env -i container=lxc PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --log-target=console
`

// startDebian makes a Debian system with files in it, and starts it.
func startDebian(t *testing.T, h *lab.Host, files map[string]string) *debian {
	t.Helper()
	root := bootstrap(t, "systemd-sysv", "ipxe", "ca-certificates")
	if err := os.WriteFile(filepath.Join(root, "etc/hostname"), []byte("debian\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, from := range files {
		copyTo(t, from, filepath.Join(root, name))
	}
	// Its control groups are below one of its own, wherever this machine has them.
	groups := filepath.Join(t.TempDir(), "cgroup")
	mount(t, groups, "-t", "cgroup2", "cgroup2")
	group := filepath.Join(groups, filepath.Base(filepath.Dir(filepath.Dir(root))))
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Its processes end after the first one has.
		out, err := exec.Command("bash", "-c", `for i in $(seq 100); do find "$1" -depth -type d -exec rmdir {} + && exit; sleep 0.1; done 2>/dev/null; exit 1`, "rmdir", group).CombinedOutput()
		if err != nil {
			t.Errorf("control groups of %s are left, %v: %s", group, err, out)
		}
	})
	proc, err := h.Start(lab.Command{Args: []string{"bash", "-c", `echo $$ >"$1/cgroup.procs"; exec unshare --mount --pid --fork --kill-child --uts --ipc --cgroup bash -c "$2" enter "$3"`, "start", group, enter, root}})
	if err != nil {
		t.Fatal(err)
	}
	d := &debian{Process: proc, host: h}
	t.Cleanup(func() {
		d.Kill()
		<-d.Done()
	})
	eventually(t, "systemd runs", func() bool {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", proc.Pid(), proc.Pid()))
		if d.init = strings.TrimSpace(string(b)); err != nil || d.init == "" {
			return false
		}
		out, _, err := d.try(t, "systemctl is-system-running")
		return err == nil && (out == "running" || out == "degraded")
	})
	return d
}

// try runs a script in the system.
func (d *debian) try(t *testing.T, script string) (out string, code int, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, code, err = d.host.Run(ctx, "nsenter", "--target", d.init, "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd",
		"env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "sh", "-c", script)
	return strings.TrimSpace(out), code, err
}

// sh runs a script that has to succeed, and returns what it says.
func (d *debian) sh(t *testing.T, script string) string {
	t.Helper()
	out, code, err := d.try(t, script)
	if err != nil || code != 0 {
		t.Fatalf("in Debian: %s: exit code %d, %v: %s\nsystemd:\n%s", script, code, err, out, d.Output.Tail(10))
	}
	return out
}

// The package on a Debian system that systemd runs: installed, enabled, serving in its
// sandbox, reloaded, killed, upgraded, restored, removed and purged, by the commands that
// an admin types.
func TestPackageUnderSystemd(t *testing.T) {
	takesMinutes(t)
	p := newPoint(t, lab.Config{Clients: 2})
	wim := filepath.Join(p.Network.Dir, "image.wim")
	if err := image.Make(t.Context(), wim, "packaged", 4<<20); err != nil {
		t.Fatal(err)
	}
	d := startDebian(t, p.Network.Server, map[string]string{"castpoint.deb": debianPackage(t), "srv/image.wim": wim})
	d.sh(t, "chmod 644 /srv/image.wim") // the server reads it itself

	// Installing starts nothing, and says what to do.
	out := d.sh(t, "apt-get install -y --no-install-recommends /castpoint.deb")
	if !strings.Contains(out, "systemctl enable --now castpoint.socket castpoint") {
		t.Errorf("what installing says:\n%s", out)
	}
	if out, _, err := d.try(t, "systemctl is-active castpoint castpoint.socket; systemctl is-enabled castpoint"); err != nil || out != "inactive\ninactive\ndisabled" {
		t.Errorf("after installing: %q, %v", out, err)
	}
	d.sh(t, `printf 'interface: eth0\ndhcp: server\npool: `+point.Pool+`\n' > /etc/castpoint/castpoint.yaml && castpoint config check`)
	if out, code, err := d.try(t, "castpoint doctor"); err != nil || code != 0 {
		t.Errorf("castpoint doctor: exit code %d, %v: %s", code, err, out)
	}

	// Type=notify: the command ends when the server is ready.
	d.sh(t, "systemctl enable --now castpoint.socket castpoint || { systemctl status castpoint; journalctl -u castpoint; exit 1; }")
	property := func(name string) string {
		t.Helper()
		return d.sh(t, "systemctl show -p "+name+" --value castpoint")
	}
	if out, code, err := d.try(t, "castpoint doctor"); err != nil || code != 0 {
		t.Errorf("castpoint doctor, while it runs: exit code %d, %v: %s", code, err, out)
	}
	pid := property("MainPID")
	status := d.sh(t, "cat /proc/"+pid+"/status")
	for _, want := range []string{`CapEff:\s0000000000002400`, `CapPrm:\s0000000000002400`, `CapBnd:\s0000000000002400`, `NoNewPrivs:\s1`, `Seccomp:\s2`} {
		if !regexp.MustCompile(want).MatchString(status) {
			t.Errorf("no %s in\n%s", want, status)
		}
	}
	if out := d.sh(t, "stat -c %U /proc/"+pid+"; stat -c '%U %a' /var/lib/castpoint /var/lib/castpoint/castpoint.db /var/lib/castpoint/tls/join.pem"); out != "castpoint\ncastpoint 700\ncastpoint 600\ncastpoint 600" {
		t.Errorf("users and modes:\n%s", out)
	}
	m := regexp.MustCompile(`castpoint\.service: (\d+\.\d+)`).FindStringSubmatch(d.sh(t, "systemd-analyze security --no-pager castpoint.service | tail -n 1"))
	if m == nil {
		t.Error("systemd-analyze says nothing")
	} else if level, err := strconv.ParseFloat(m[1], 64); err != nil || level >= 2.0 {
		t.Errorf("exposure %s, want less than 2.0", m[1])
	}

	// Everything that machines ask for comes through the sandbox.
	near, far := p.Network.Clients[0], p.Network.Clients[1]
	udhcpc(t, far, "eth0") // answered in raw frames
	sh(t, far, "cd "+p.Network.Dir+" && busybox tftp -g -r undionly.kpxe -l first "+server+" && test -s first")
	sh(t, far, "curl -fsS -o "+p.Network.Dir+"/second http://"+server+":8080/undionly.kpxe && cmp "+p.Network.Dir+"/first "+p.Network.Dir+"/second")
	d.sh(t, "castpoint content add os-image /srv/image.wim --name image --multicast --multicast-only --encrypt")
	pin := regexp.MustCompile(`sha256:[0-9a-f]{64}`).FindString(d.sh(t, "journalctl -u castpoint -o cat"))
	receives := func(what string) {
		t.Helper()
		token := regexp.MustCompile(`"token": ?"([^"]+)"`).FindStringSubmatch(d.sh(t, "castpoint token create --content image --json"))
		if token == nil {
			t.Fatal("no token")
		}
		to := filepath.Join(p.Network.Dir, what+".wim")
		proc, err := near.Start(lab.Command{Args: []string{p.Binary, "receive", "image", "--server", point.JoinURL, "--pin", pin, "--token", token[1], "--out", to}})
		if err != nil {
			t.Fatal(err)
		}
		mustReceive(t, proc, wim, to)
	}
	receives("first") // by multicast only

	// Settings are read again by both ways, without a restart.
	d.sh(t, "echo 'log-level: debug' >> /etc/castpoint/castpoint.yaml && systemctl reload castpoint")
	d.sh(t, "systemctl kill -s HUP castpoint")
	if out, code, err := d.try(t, "echo 'pool: nonsense' > /etc/castpoint/castpoint.yaml; systemctl reload castpoint"); err != nil || code == 0 {
		t.Errorf("nonsense was loaded: %v, %s", err, out)
	}
	d.sh(t, `printf 'interface: eth0\ndhcp: server\npool: `+point.Pool+`\n' > /etc/castpoint/castpoint.yaml && systemctl reload castpoint`)
	if now := property("MainPID"); now != pid {
		t.Errorf("process %s after reloading, before it was %s", now, pid)
	}

	// Nobody is refused while it restarts: systemd holds the ports.
	asking, err := far.Start(lab.Command{Args: []string{"/bin/sh", "-c",
		"for i in $(seq 60); do curl -fsS -m 20 -o /dev/null http://" + server + ":8080/undionly.kpxe || exit 1; done"}})
	if err != nil {
		t.Fatal(err)
	}
	d.sh(t, "systemctl restart castpoint")
	if code := wait(t, asking); code != 0 {
		t.Errorf("refused while castpoint restarts: %s", asking.Output.Tail(5))
	}

	// A server that dies is started again, and has everything.
	pid = property("MainPID")
	d.sh(t, "kill -9 "+pid)
	eventually(t, "systemd has started castpoint again", func() bool {
		out, _, err := d.try(t, "systemctl is-active castpoint; systemctl show -p MainPID --value castpoint")
		return err == nil && strings.HasPrefix(out, "active\n") && out != "active\n"+pid
	})
	receives("after-kill")

	// An upgrade keeps settings and data, and the server runs on the new program.
	pid = property("MainPID")
	d.sh(t, "apt-get install -y --reinstall --no-install-recommends -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold /castpoint.deb")
	if out := d.sh(t, "systemctl is-active castpoint; head -n 1 /etc/castpoint/castpoint.yaml; castpoint content list"); !strings.HasPrefix(out, "active\ninterface: eth0\n") || !strings.Contains(out, "image") {
		t.Errorf("after an upgrade:\n%s", out)
	}
	if now := property("MainPID"); now == pid {
		t.Error("the old program still runs after an upgrade")
	}
	receives("after-upgrade")

	// What goes wrong in a sandbox is in its journal.
	if out, code, err := d.try(t, "journalctl -u castpoint -o cat | grep -iE 'not permitted|permission denied|read-only file|bad system call'"); err != nil || code == 0 {
		t.Errorf("the sandbox is in the way, %v: %s", err, out)
	}

	// Stopping takes seconds. A backup that was made while it ran becomes a server.
	d.sh(t, "castpoint backup /root/backup.tar.zst")
	began := time.Now()
	d.sh(t, "systemctl stop castpoint castpoint.socket")
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("stopping took %v", took)
	}
	d.sh(t, "mv /var/lib/castpoint /root/old && rm /etc/castpoint/castpoint.yaml")
	d.sh(t, "castpoint restore /root/backup.tar.zst --objects /root/old/library/objects")
	if out := d.sh(t, "stat -c '%U:%G %a' /var/lib/castpoint /var/lib/castpoint/castpoint.db /etc/castpoint/castpoint.yaml"); out != "castpoint:castpoint 700\ncastpoint:castpoint 600\nroot:castpoint 640" {
		t.Errorf("what root has restored:\n%s", out)
	}
	d.sh(t, "systemctl start castpoint.socket castpoint")
	receives("after-restore")

	d.sh(t, "apt-get remove -y castpoint")
	if out := d.sh(t, "systemctl is-active castpoint castpoint.socket; ls /var/lib/castpoint/castpoint.db /etc/castpoint/castpoint.yaml"); !strings.HasPrefix(out, "inactive\ninactive\n") {
		t.Errorf("after removing:\n%s", out)
	}
	d.sh(t, "apt-get purge -y castpoint")
	if out, code, err := d.try(t, "ls -d /var/lib/castpoint /etc/castpoint /usr/bin/castpoint /etc/systemd/system/*/castpoint.* 2>/dev/null"); err != nil || code == 0 {
		t.Errorf("left after purging, %v: %s", err, out)
	}
}
