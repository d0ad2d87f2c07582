package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"castpoint/boot"
	"castpoint/dhcp"
	"castpoint/dhcp/dhcp6"
	"castpoint/test/lab"
	"castpoint/tftp"

	"go.uber.org/zap"
)

// A station is what castpoint serve does for booting, with the settings of
// package dhcp that its command line does not have. It runs as a process of its
// own: this test program again, told so by its environment.
type station struct {
	Mode       dhcp.Mode
	Interfaces []string
	Pools      []dhcp.Pool
	Share      bool
	IPv6       bool
	Pools6     []dhcp6.Pool
}

const stationEnv = "CASTPOINT_E2E_STATION"

// startStation runs a station on the host and waits until it listens. It says a
// line for every decision: "asked ANSWER client=... file=... address=... to=...
// reason=...".
func startStation(t *testing.T, h *lab.Host, s station) *lab.Process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	p, err := h.Start(lab.Command{Args: []string{self, "-test.run", "^TestStation$"}, Env: []string{stationEnv + "=" + string(text)}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Output.WaitFor(t.Context(), "station ready", 10*time.Second); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the station said:\n%s", p.Output.Tail(40))
		}
	})
	return p
}

// TestStation is a station when its environment says so, and a check of its
// settings' way through JSON otherwise.
func TestStation(t *testing.T) {
	text := os.Getenv(stationEnv)
	if text == "" {
		want := station{Mode: dhcp.ModeServer, Pools: []dhcp.Pool{{Network: netip.MustParsePrefix("10.0.0.0/8"), Lease: time.Hour}}}
		b, err := json.Marshal(want)
		var got station
		if err = errors.Join(err, json.Unmarshal(b, &got)); err != nil || got.Pools[0].Network != want.Pools[0].Network {
			t.Errorf("%s became %+v, %v", b, got, err)
		}
		return
	}
	var s station
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(t.Context(), syscall.SIGTERM)
	defer stop()
	if err := s.run(ctx); err != nil {
		t.Fatal(err)
	}
}

func (s station) run(ctx context.Context) error {
	loaders, err := boot.NewLoaders()
	if err != nil {
		return err
	}
	planner, err := boot.NewPlanner(boot.PlannerConfig{Loaders: loaders})
	if err != nil {
		return err
	}
	files, err := boot.NewFiles(boot.FilesConfig{Loaders: loaders})
	if err != nil {
		return err
	}
	handler, err := boot.NewHandler(boot.HandlerConfig{Files: files})
	if err != nil {
		return err
	}
	var saying sync.Mutex
	say := func(format string, args ...any) {
		saying.Lock()
		defer saying.Unlock()
		fmt.Printf(format+"\n", args...)
	}
	c := dhcp.Config{Mode: s.Mode, Interfaces: s.Interfaces, Pools: s.Pools, Share: s.Share, Planner: planner, Observer: func(e dhcp.Event) {
		say("%s %s client=%s uuid=%s interface=%s file=%s address=%s to=%s reason=%s",
			e.Asked, e.Answer, e.Client, e.Client.UUID, e.Client.Interface, e.File, e.Address, e.To, e.Reason)
	}, Log: zap.NewExample()}
	if s.IPv6 {
		c.IPv6 = &dhcp.IPv6{Pools: s.Pools6}
	}
	d, err := dhcp.New(c)
	if err != nil {
		return err
	}
	if err := d.Listen(); err != nil {
		return err
	}
	tf, err := tftp.New(tftp.Config{Open: func(ctx context.Context, r tftp.Request) (tftp.File, error) {
		say("TFTP %s from %s to %s", r.Path, r.Peer, r.Local)
		f, err := files.Open(ctx, r.Path, boot.Client{Server: r.Local.Addr()})
		if err != nil {
			return nil, fmt.Errorf("%w: %w", tftp.ErrNotFound, err)
		}
		return stationFile{f}, nil
	}})
	if err != nil {
		return err
	}
	ends := []tftp.Endpoint{{Address: netip.MustParseAddrPort("0.0.0.0:69")}}
	if s.IPv6 {
		ends = append(ends, tftp.Endpoint{Address: netip.MustParseAddrPort("[::]:69")})
	}
	if err := tf.Listen(ends...); err != nil {
		return err
	}
	l, err := net.Listen("tcp", ":8080")
	if err != nil {
		return err
	}
	web := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		say("HTTP %s %s from %s", r.Method, r.URL.Path, r.RemoteAddr)
		handler.ServeHTTP(w, r)
	})}
	var running sync.WaitGroup
	running.Go(func() { _ = web.Serve(l) })
	running.Go(func() { _ = tf.Serve(ctx) })
	running.Go(func() { _ = d.Serve(ctx) })
	say("station ready")
	<-ctx.Done()
	_ = web.Close()
	running.Wait()
	return nil
}

type stationFile struct{ *boot.File }

func (f stationFile) Size() int64 { return f.File.Size }

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
	dir := filepath.Join(n.Dir, "uefi-"+way)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	vars, err := os.ReadFile("/usr/share/OVMF/OVMF_VARS_4M.fd")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "vars.fd"), vars, 0o644)
	}
	if err != nil {
		t.Fatalf("%v: run test/install-tools", err)
	}
	sh(t, n.Switch, "ip tuntap add dev t6 mode tap && ip link set t6 master br0 && ip link set t6 txqueuelen 4000 up")
	yes := func(b bool) string {
		if b {
			return "yes"
		}
		return "no"
	}
	p, err := n.Switch.Start(lab.Command{Dir: dir, Args: []string{"qemu-system-x86_64",
		"-nodefaults", "-display", "none", "-no-user-config", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max,-avx,-avx2",
		"-m", "512", "-no-reboot", "-device", "virtio-rng-pci", "-chardev", "stdio,id=c,signal=off", "-serial", "chardev:c",
		"-uuid", stationUUID,
		"-drive", "if=pflash,unit=0,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd",
		"-drive", "if=pflash,unit=1,format=raw,file=" + filepath.Join(dir, "vars.fd"),
		"-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=" + yes(way == "PXEv4"),
		"-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=" + yes(way == "PXEv6"),
		"-fw_cfg", "name=opt/org.tianocore/IPv4Support,string=" + yes(way != "PXEv6"),
		"-fw_cfg", "name=opt/org.tianocore/IPv6Support,string=" + yes(strings.HasSuffix(way, "v6")),
		"-netdev", "tap,id=n0,script=no,downscript=no,ifname=t6",
		"-device", "virtio-net-pci,netdev=n0,bootindex=1,romfile=,mac=" + stationMAC}})
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
	stationUUID = "01234567-89ab-4cde-8f01-23456789abcd"
	stationMAC  = "52:54:00:77:01:06"
)

// withIPv6 gives the host an IPv6 address on eth0; the lab switches IPv6 off.
func withIPv6(t *testing.T, h *lab.Host, addr string) {
	t.Helper()
	sh(t, h, `echo 0 >/proc/sys/net/ipv6/conf/all/disable_ipv6
echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad
echo 0 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6
ip addr add `+addr+` dev eth0 nodad
until ip -6 addr show dev eth0 scope link | grep -q fe80; do sleep 0.05; done`)
}
