package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
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

// systemdAddr is the address of the Debian machine in the lab's network.
const systemdAddr = "10.77.0.50"

// debianPatience is for an emulated machine beside others: on two processors of its own
// Debian is up in half a minute.
const debianPatience = 5 * time.Minute

// debian is a machine with Debian's own kernel and systemd, whose root shell answers
// at a TCP port.
type debian struct {
	*lab.VM
	from *lab.Host // where the shell is asked from
}

// remote is what the machine has beside Debian's packages: its address, and a shell
// for each connection to port 9999, which says the exit code at the end.
var remote = map[string]string{
	"etc/systemd/network/10-lab.network": "[Match]\nName=eth0\n[Network]\nAddress=" + systemdAddr + "/24\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n",
	"etc/systemd/system/remote.socket":   "[Socket]\nListenStream=9999\nAccept=yes\n[Install]\nWantedBy=sockets.target\n",
	"etc/systemd/system/remote@.service": "[Service]\nExecStart=/remote\nStandardInput=socket\nStandardOutput=socket\nStandardError=socket\n",
	"remote":                             "#!/bin/sh\nscript=$(cat)\ncd /root\nPATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root sh -c \"$script\" 2>&1\ncode=$?\necho\necho \"exit:$code\"\n",
	"etc/fstab":                          "/dev/vda / ext4 defaults 0 1\n",
	"etc/hostname":                       "debian\n",
}

// bootDebian makes a Debian machine with the package as a file in it, and boots it.
func bootDebian(t *testing.T, n *lab.Network, files map[string]string) *debian {
	t.Helper()
	root := bootstrap(t, "systemd-sysv", "udev", "iproute2", "ipxe", "ca-certificates")
	for name, text := range remote {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(root, "remote"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, from := range files {
		copyTo(t, from, filepath.Join(root, name))
	}
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
	run("chroot", root, "systemctl", "enable", "systemd-networkd.service", "remote.socket")
	disk := filepath.Join(n.Dir, "debian.disk")
	if err := os.WriteFile(disk, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(disk, 3<<30); err != nil {
		t.Fatal(err)
	}
	run("mkfs.ext4", "-q", "-F", "-d", root, disk)
	kernels, err := filepath.Glob("/boot/vmlinuz-*")
	if err != nil || len(kernels) == 0 {
		t.Fatalf("no kernel in /boot, %v: run test/install-tools", err)
	}
	kernel := kernels[len(kernels)-1]
	vm, err := n.Boot(t.Context(), lab.Machine{Name: "debian", Firmware: lab.BIOS, Memory: 1024, Disk: disk, Restarts: true, Linux: &lab.Linux{
		Kernel: kernel, Initrd: strings.Replace(kernel, "vmlinuz-", "initrd.img-", 1),
		CommandLine: "root=/dev/vda rw console=ttyS0 net.ifnames=0 quiet systemd.show_status=1 " +
			"systemd.mask=getty@tty1.service systemd.mask=systemd-timesyncd.service systemd.mask=apt-daily.timer systemd.mask=apt-daily-upgrade.timer systemd.mask=e2scrub_reap.service",
	}})
	if err != nil {
		t.Fatal(err)
	}
	d := &debian{VM: vm, from: n.Clients[0]}
	deadline := time.Now().Add(3 * debianPatience)
	for {
		if _, _, err := d.try(t, "systemctl is-system-running --wait"); err == nil {
			return d
		}
		if time.Now().After(deadline) {
			t.Fatalf("Debian does not come up; its console:\n%s", vm.Output.Tail(40))
		}
		select {
		case <-time.After(time.Second):
		case <-vm.Done():
			t.Fatalf("Debian ended; its console:\n%s", vm.Output.Tail(40))
		}
	}
}

// try runs a script in the machine.
func (d *debian) try(t *testing.T, script string) (out string, code int, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), debianPatience)
	defer cancel()
	var conn net.Conn
	err = d.from.Do(func() (err error) {
		conn, err = (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", systemdAddr+":9999")
		return err
	})
	if err != nil {
		return "", 0, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if _, err := io.WriteString(conn, script); err != nil {
		return "", 0, err
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return "", 0, err
	}
	b, err := io.ReadAll(conn)
	if err != nil {
		return "", 0, err
	}
	m := regexp.MustCompile(`\nexit:(\d+)\n$`).FindSubmatchIndex(b)
	if m == nil {
		return "", 0, fmt.Errorf("the shell broke off: %q", b)
	}
	code, err = strconv.Atoi(string(b[m[2]:m[3]]))
	return strings.TrimSpace(string(b[:m[0]])), code, err
}

// sh runs a script that has to succeed, and returns what it says.
func (d *debian) sh(t *testing.T, script string) string {
	t.Helper()
	out, code, err := d.try(t, script)
	if err != nil || code != 0 {
		t.Fatalf("in Debian: %s: exit code %d, %v: %s\nthe console:\n%s", script, code, err, out, d.Output.Tail(10))
	}
	return out
}

// The package on a Debian machine that systemd runs: installed, enabled, serving in its
// sandbox, reloaded, killed, upgraded, restored, removed and purged, by the commands that
// an admin types.
func TestPackageUnderSystemd(t *testing.T) {
	takesMinutes(t)
	p := newPoint(t, lab.Config{Clients: 2})
	wim := filepath.Join(p.Network.Dir, "image.wim")
	if err := image.Make(t.Context(), wim, "packaged", 4<<20); err != nil {
		t.Fatal(err)
	}
	d := bootDebian(t, p.Network, map[string]string{"castpoint.deb": debianPackage(t), "root/image.wim": wim})

	// Installing starts nothing, and says what to do.
	out := d.sh(t, "apt-get install -y --no-install-recommends /castpoint.deb")
	if !strings.Contains(out, "systemctl enable --now castpoint.socket castpoint") {
		t.Errorf("what installing says:\n%s", out)
	}
	if out, _, err := d.try(t, "systemctl is-active castpoint castpoint.socket; systemctl is-enabled castpoint"); err != nil || out != "inactive\ninactive\ndisabled" {
		t.Errorf("after installing: %q, %v", out, err)
	}
	if out := d.sh(t, "cat /proc/sys/net/core/rmem_max"); out != "8388608" {
		t.Errorf("net.core.rmem_max is %s", out)
	}
	d.sh(t, `printf 'interface: eth0\ndhcp: server\npool: `+point.Pool+`\n' > /etc/castpoint/castpoint.yaml && castpoint config check`)
	if out, code, err := d.try(t, "castpoint doctor"); err != nil || code != 0 && code != 3 {
		t.Errorf("castpoint doctor: exit code %d, %v: %s", code, err, out)
	}

	// Type=notify: the command ends when the server is ready.
	d.sh(t, "systemctl enable --now castpoint.socket castpoint || { systemctl status castpoint; journalctl -u castpoint; exit 1; }")
	property := func(name string) string {
		t.Helper()
		return d.sh(t, "systemctl show -p "+name+" --value castpoint")
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
	sh(t, far, "cd "+p.Network.Dir+" && busybox tftp -g -r undionly.kpxe -l first "+systemdAddr+" && test -s first")
	sh(t, far, "curl -fsS -o "+p.Network.Dir+"/second http://"+systemdAddr+":8080/undionly.kpxe && cmp "+p.Network.Dir+"/first "+p.Network.Dir+"/second")
	d.sh(t, "castpoint content add os-image /root/image.wim --name image --multicast --multicast-only --encrypt")
	pin := regexp.MustCompile(`sha256:[0-9a-f]{64}`).FindString(d.sh(t, "journalctl -u castpoint -o cat"))
	receives := func(what string) {
		t.Helper()
		token := regexp.MustCompile(`"token": ?"([^"]+)"`).FindStringSubmatch(d.sh(t, "castpoint token create --content image --json"))
		if token == nil {
			t.Fatal("no token")
		}
		to := filepath.Join(p.Network.Dir, what+".wim")
		proc, err := near.Start(lab.Command{Args: []string{p.Binary, "receive", "image", "--server", "https://" + systemdAddr + ":8443", "--pin", pin, "--token", token[1], "--out", to}})
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
		"for i in $(seq 60); do curl -fsS -m 20 -o /dev/null http://" + systemdAddr + ":8080/undionly.kpxe || exit 1; done"}})
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
	d.sh(t, "mv /var/lib/castpoint /root/old && install -d -o castpoint -g castpoint -m 700 /var/lib/castpoint && rm /etc/castpoint/castpoint.yaml")
	d.sh(t, "castpoint restore /root/backup.tar.zst --objects /root/old/library/objects")
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
	_, _, _ = d.try(t, "systemctl poweroff")
}
