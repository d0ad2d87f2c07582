package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"castpoint/internal/lab"
)

// sh runs a shell script in the host's namespace.
func sh(t *testing.T, h *lab.Host, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, code, err := h.Run(ctx, "/bin/sh", "-ec", script)
	if err != nil || code != 0 {
		t.Fatalf("on %s: %s: code %d, %v: %s", h.Name, script, code, err, out)
	}
	return out
}

// farHost makes a host behind another one: its cable eth0 ends there as far0. It
// goes with the network, being named like the network's own.
func farHost(t *testing.T, at *lab.Host, near, far string) *lab.Host {
	t.Helper()
	h := &lab.Host{Name: "far", Namespace: strings.TrimSuffix(at.Namespace, at.Name) + "far"}
	for _, args := range [][]string{
		{"netns", "add", h.Namespace},
		{"-n", at.Namespace, "link", "add", "far0", "type", "veth", "peer", "name", "eth0", "netns", h.Namespace},
		{"-n", at.Namespace, "addr", "add", near, "dev", "far0"},
		{"-n", at.Namespace, "link", "set", "far0", "up"},
		{"-n", h.Namespace, "link", "set", "eth0", "up"},
		{"-n", h.Namespace, "link", "set", "lo", "up"},
	} {
		if out, err := exec.CommandContext(t.Context(), "ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
	if far != "" {
		sh(t, h, "ip addr add "+far+" dev eth0")
	}
	return h
}

// dnsmasq runs dnsmasq on the host with the given settings.
func dnsmasq(t *testing.T, n *lab.Network, h *lab.Host, args ...string) *lab.Process {
	t.Helper()
	p, err := h.Start(lab.Command{Args: append([]string{"dnsmasq", "--keep-in-foreground", "--log-facility=-", "--log-dhcp",
		"--conf-file=/dev/null", "--pid-file=", "--port=0", "--user=root",
		"--dhcp-leasefile=" + filepath.Join(n.Dir, h.Name+".leases")}, args...)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	port := 67
	for _, a := range args {
		if strings.HasPrefix(a, "--dhcp-range=fd") {
			port = 547
		}
	}
	if err := p.WaitUDP(ctx, port); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("dnsmasq on %s said:\n%s", h.Name, p.Output.Tail(40))
		}
	})
	return p
}

// uefi boots a virtual machine with OVMF that tries the given ways only: "PXEv4",
// "PXEv6", "HTTPv4", "HTTPv6" (OVMF has a switch for each PXE and each protocol;
// HTTP comes behind PXE, and over IPv6 it needs IPv4 switched on and comes behind
// that). Its console is the process's output.
func uefi(t *testing.T, n *lab.Network, way string) *lab.Process {
	t.Helper()
	dir, err := os.MkdirTemp(n.Dir, "uefi-")
	if err != nil {
		t.Fatal(err)
	}
	vars, err := os.ReadFile("/usr/share/OVMF/OVMF_VARS_4M.fd")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "vars.fd"), vars, 0o644)
	}
	if err != nil {
		t.Fatalf("%v: run test/install-tools", err)
	}
	sh(t, n.Switch, "if ! ip link show t6; then ip tuntap add dev t6 mode tap; fi >/dev/null 2>&1 && ip link set t6 master br0 && ip link set t6 txqueuelen 4000 up")
	yes := func(b bool) string {
		if b {
			return "yes"
		}
		return "no"
	}
	p, err := n.Switch.Start(lab.Command{Dir: dir, Args: []string{"qemu-system-x86_64",
		"-nodefaults", "-display", "none", "-no-user-config", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max,-avx,-avx2",
		"-m", "512", "-no-reboot", "-device", "virtio-rng-pci", "-chardev", "stdio,id=c,signal=off", "-serial", "chardev:c",
		"-uuid", uefiUUID,
		"-drive", "if=pflash,unit=0,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd",
		"-drive", "if=pflash,unit=1,format=raw,file=" + filepath.Join(dir, "vars.fd"),
		"-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=" + yes(way == "PXEv4"),
		"-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=" + yes(way == "PXEv6"),
		"-fw_cfg", "name=opt/org.tianocore/IPv4Support,string=" + yes(way != "PXEv6"),
		"-fw_cfg", "name=opt/org.tianocore/IPv6Support,string=" + yes(strings.HasSuffix(way, "v6")),
		"-netdev", "tap,id=n0,script=no,downscript=no,ifname=t6",
		"-device", "virtio-net-pci,netdev=n0,bootindex=1,romfile=,mac=" + uefiMAC}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the machine's console:\n%s", p.Output.Tail(40))
		}
		p.Kill()
	})
	return p
}

// What the machine of uefi is known by.
const (
	uefiUUID = "01234567-89ab-4cde-8f01-23456789abcd"
	uefiMAC  = "52:54:00:77:01:06"
)

// withIPv6 gives the host an IPv6 address on eth0; the lab switches IPv6 off.
func withIPv6(t *testing.T, h *lab.Host, addr string) {
	t.Helper()
	sh(t, h, `echo 0 >/proc/sys/net/ipv6/conf/all/disable_ipv6
echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad
echo 0 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6
ip addr add `+addr+` dev eth0 nodad
until ip -6 addr show dev eth0 scope link -tentative | grep -q fe80; do sleep 0.05; done`)
}
