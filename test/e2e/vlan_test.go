package e2e

import (
	"bufio"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"castpoint/boot/bootenv"
	"castpoint/internal/lab"
)

// vlanScript runs in a virtual machine, because the kernel of the machine that
// tests may have no 802.1Q. Its three cards are at one switch: castpoint is in a
// namespace with the first, as a trunk with two VLANs, each client in one of its
// own with a card and a VLAN. busybox's ip knows no names of namespaces: a
// process that sleeps in it stands for each.
const vlanScript = `export PATH=/bin:/sbin:/usr/bin:/usr/sbin
busybox mount -t proc proc /proc; busybox mount -t sysfs sysfs /sys; busybox mount -t devtmpfs devtmpfs /dev
busybox --install -s /bin
mount -t tmpfs tmpfs /tmp
exec </dev/console >/dev/console 2>&1
for m in virtio_pci virtio_net 8021q; do modprobe $m || echo "vlan: no module $m"; done
until [ -e /sys/class/net/eth2 ]; do sleep 0.1; done

room() { # room CARD: a namespace with that card; sets $pid
	unshare -n sleep 1000 & pid=$!
	until [ "$(readlink /proc/$pid/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.1; done
	ip link set $1 netns $pid
	inside $pid ip link set lo up
	inside $pid ip link set $1 up
}
inside() { nsenter -n -t "$@"; }

cat >/tmp/said <<'EOF'
#!/bin/sh
[ "$1" = bound ] && echo "vlan: $interface $WHO ip=$ip mask=$mask server=$serverid next=$siaddr file=$boot_file"
EOF
cat >/tmp/answers <<'EOF'
#!/bin/sh
[ "$1" = bound ] && echo "vlan: outside ip=$ip"
EOF
chmod +x /tmp/said /tmp/answers /files/castpoint

room eth0; server=$pid
for id in 10 20; do
	inside $server ip link add link eth0 name eth0.$id type vlan id $id
	inside $server ip addr add 10.$id.0.1/24 dev eth0.$id
	inside $server ip link set eth0.$id up
done
inside $server env HOME=/tmp /files/castpoint serve --data /tmp/data --interface eth0.10 --interface eth0.20 \
	--dhcp server --pool 10.10.0.100-10.10.0.110 --pool 10.20.0.100-10.20.0.110 --loaders /files/loaders >/tmp/log 2>&1 & castpoint=$!
until grep -qs sha256: /tmp/log; do
	kill -0 $castpoint || { cat /tmp/log; echo "vlan: end"; sleep 1000; }
	sleep 0.2
done
echo "vlan: castpoint serves, tags: $(inside $server cat /proc/net/vlan/config | grep -c eth0)"

room eth1; one=$pid
room eth2; two=$pid
client() { # client NAMESPACE CARD VLAN UDHCPC-FLAGS
	inside $1 ip link add link $2 name $2.$3 type vlan id $3
	inside $1 ip link set $2.$3 up
	WHO=flags:$4 inside $1 udhcpc -i $2.$3 -n -q -f -t 8 -T 2 -s /tmp/said -V PXEClient:Arch:00007:UNDI:003016 -x 0x5d:0007 $4
}
# Both at once; one is answered in a frame of its own, the other by broadcast.
client $one eth1 10 & first=$!
client $two eth2 20 -B & second=$!
wait $first $second
# The boot file comes over the VLAN, from the address that was named.
inside $one ip addr add 10.10.0.100/24 dev eth1.10
inside $one tftp -g -r vlan.efi -l /tmp/got 10.10.0.1 && cmp /tmp/got /files/loaders/vlan.efi && echo "vlan: TFTP whole"
# Beside the VLANs nobody answers, and one VLAN cannot reach the other's server.
inside $one udhcpc -i eth1 -n -q -f -t 2 -T 1 -s /tmp/answers >/dev/null || echo "vlan: outside silent"
inside $one ping -c 1 -W 1 10.20.0.1 >/dev/null 2>&1 && echo "vlan: leaks"
tail -20 /tmp/log
echo "vlan: end"
sleep 1000
`

// filteredModules makes a folder like lib/modules/VERSION with some modules and
// what they need, so that a small initramfs can be built of it.
func filteredModules(t *testing.T, from string, names ...string) string {
	t.Helper()
	f, err := os.Open(filepath.Join(from, "modules.dep"))
	if err != nil {
		t.Fatalf("%v: run test/install-tools", err)
	}
	defer f.Close()
	dir := filepath.Join(t.TempDir(), "lib/modules", filepath.Base(from))
	wanted, all := map[string]bool{}, map[string][]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		file, needs, _ := strings.Cut(lines.Text(), ":")
		all[file] = strings.Fields(needs)
		name, _, _ := strings.Cut(filepath.Base(file), ".ko")
		if slices.Contains(names, strings.ReplaceAll(name, "-", "_")) {
			wanted[file] = true
			for _, n := range all[file] {
				wanted[n] = true
			}
		}
	}
	var list strings.Builder
	for file := range wanted {
		list.WriteString(file + ": " + strings.Join(all[file], " ") + "\n")
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(from, file), filepath.Join(dir, file)); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"modules.dep": list.String(), "modules.alias": "", "modules.softdep": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Two tagged VLANs of one card, served by one process: each VLAN's client gets
// an address of its own network, with the address of that VLAN's interface as
// server identifier and next server.
func TestTaggedVLANs(t *testing.T) {
	source, err := bootenv.FromHost(runtime.GOARCH, false)
	if err != nil {
		t.Fatalf("%v: run test/install-tools", err)
	}
	castpoint, err := filepath.Abs(*binary)
	if err != nil {
		t.Fatal(err)
	}
	n, err := lab.New(t.Context(), lab.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	script, loader := filepath.Join(n.Dir, "vlan.sh"), filepath.Join(n.Dir, "vlan.efi")
	if err := os.WriteFile(script, []byte(vlanScript), 0o644); err != nil {
		t.Fatal(err)
	}
	writeRandom(t, loader, 100_000)
	built, err := bootenv.Build(t.Context(), bootenv.Options{
		Kernel: source.Kernel, ModulesDir: filteredModules(t, source.ModulesDir, "virtio_pci", "virtio_net", "8021q"),
		Busybox: source.Busybox, Agent: source.Busybox, Out: filepath.Join(n.Dir, "vlan"), Compression: bootenv.Gzip, Modules: []string{"8021q"},
		Files: map[string]string{
			"files/run": script, "files/castpoint": castpoint,
			"files/loaders/vlan.efi": loader, "files/loaders/snponly.efi": loader,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	vm, err := n.Boot(t.Context(), lab.Machine{
		Name: "vlan", Firmware: lab.BIOS, Cards: 3, Memory: 768, CPUs: 2,
		Linux: &lab.Linux{Kernel: built.Kernel, Initrd: built.Initrd,
			CommandLine: "console=ttyS0 quiet net.ifnames=0 rdinit=/bin/sh -- /files/run"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := vm.Output.WaitFor(t.Context(), `vlan: end`, patience); err != nil {
		t.Fatal(err)
	}
	t.Logf("the machine took %.1f s", time.Since(start).Seconds())
	said := strings.ReplaceAll(vm.Output.String(), "\r", "")
	for _, want := range []string{
		`vlan: castpoint serves, tags: 2`,
		`vlan: eth1\.10 flags: ip=10\.10\.0\.1\d\d mask=\S+ server=10\.10\.0\.1 next=10\.10\.0\.1 file=snponly\.efi`,
		`vlan: eth2\.20 flags:-B ip=10\.20\.0\.1\d\d mask=\S+ server=10\.20\.0\.1 next=10\.20\.0\.1 file=snponly\.efi`,
		`vlan: TFTP whole`,
		`vlan: outside silent`,
	} {
		if !regexp.MustCompile(want).MatchString(said) {
			t.Errorf("no line %q", want)
		}
	}
	if strings.Contains(said, "vlan: leaks") {
		t.Error("the VLANs reach each other")
	}
	if t.Failed() {
		t.Logf("the machine said:\n%s", vm.Output.Tail(60))
	}
}
