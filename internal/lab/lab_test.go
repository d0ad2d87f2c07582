package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func newNetwork(t *testing.T, c Config) *Network {
	t.Helper()
	n, err := New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func TestMakerOf(t *testing.T) {
	for _, c := range []struct {
		file, lab string
		maker     maker
		ok        bool
	}{
		{"castpoint-lab-123.77-0-client1", "castpoint-lab-123.77-0-", maker{123, 77}, true},
		{"castpoint-lab-123.77-17-dir", "castpoint-lab-123.77-17-", maker{123, 77}, true},
		{"castpoint-lab-1.77-0-dir", "", maker{}, false}, // never init
		{"castpoint-lab-x.77-0-dir", "", maker{}, false},
		{"castpoint-lab-123-0-dir", "", maker{}, false},
		{"castpoint-lab-5.77", "", maker{}, false},
		{"other-123.77-0-dir", "", maker{}, false},
	} {
		lab, m, ok := makerOf(c.file)
		if lab != c.lab || m != c.maker || ok != c.ok {
			t.Errorf("makerOf(%q) = %q, %v, %v; want %q, %v, %v", c.file, lab, m, ok, c.lab, c.maker, c.ok)
		}
	}
}

func TestTranscriptWaitsForWhatComes(t *testing.T) {
	var tr Transcript
	go func() {
		_, _ = tr.Write([]byte("first\r\n\x1b[2Jsec"))
		_, _ = tr.Write([]byte("ond 42\r\n"))
		tr.end()
	}()
	m, err := tr.WaitFor(t.Context(), `(?m)^second (\d+)$`, 10*time.Second)
	if err != nil || m[1] != "42" {
		t.Fatalf("match %q, error %v", m, err)
	}
	if _, err := tr.WaitFor(t.Context(), "third", 10*time.Second); err == nil || !strings.Contains(err.Error(), "second 42") {
		t.Errorf("error %v does not show what was said", err)
	}
}

// Everything of a lab goes with it, a running program included.
func TestCloseLeavesNothing(t *testing.T) {
	n := newNetwork(t, Config{Clients: 1})
	p, err := n.Clients[0].Start(Command{Args: []string{"sleep", "1000"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	mustBeGone(t, strings.TrimSuffix(filepath.Base(n.Dir), "dir"))
}

// A program has ended when it has, whoever it has left behind with its output open.
func TestProcessThatLeavesAnotherBehind(t *testing.T) {
	n := newNetwork(t, Config{Clients: 1})
	p, err := n.Clients[0].Start(Command{Args: []string{"sh", "-c", "sleep 1000 & echo said; exit 3"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if code, err := p.Wait(ctx); code != 3 || err != nil || p.Stdout.String() != "said\n" {
		t.Errorf("exit code %d, %v, output %q", code, err, p.Stdout.String())
	}
}

func mustBeGone(t *testing.T, name string) {
	t.Helper()
	for _, pattern := range []string{"/run/netns/" + name + "*", os.TempDir() + "/" + name + "*"} {
		left, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		if len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

// The janitor cleans up after a maker that was killed.
func TestLabOfKilledMakerGoes(t *testing.T) {
	if os.Getenv("CASTPOINT_LAB_MAKER") != "" {
		n, err := New(context.Background(), Config{Clients: 1})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("made", n.Dir)
		select {}
	}
	maker := exec.Command(os.Args[0], "-test.run", "^TestLabOfKilledMakerGoes$")
	maker.Env = append(os.Environ(), "CASTPOINT_LAB_MAKER=1")
	var said Transcript
	maker.Stdout, maker.Stderr = &said, &said
	if err := maker.Start(); err != nil {
		t.Fatal(err)
	}
	m, err := said.WaitFor(t.Context(), `made (\S+)\n`, 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if err := maker.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = maker.Wait()
	deadline := time.Now().Add(20 * time.Second)
	for {
		if _, err := os.Stat(m[1]); errors.Is(err, os.ErrNotExist) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is still there", m[1])
		}
		time.Sleep(20 * time.Millisecond)
	}
	mustBeGone(t, strings.TrimSuffix(filepath.Base(m[1]), "dir"))
}

// Loss and rate are what was asked for.
func TestLinks(t *testing.T) {
	n := newNetwork(t, Config{Clients: 2, Rate: "100mbit"})
	if err := n.SetLoss(t.Context(), n.Clients[0], 0.2); err != nil {
		t.Fatal(err)
	}
	group := &net.UDPAddr{IP: net.IPv4(239, 1, 2, 3), Port: 7777}
	var receivers [2]*net.UDPConn
	for i, h := range n.Clients {
		err := h.Do(func() error {
			dev, err := net.InterfaceByName("eth0")
			if err != nil {
				return err
			}
			if receivers[i], err = net.ListenMulticastUDP("udp4", dev, group); err != nil {
				return err
			}
			return receivers[i].SetReadBuffer(8 << 20)
		})
		if err != nil {
			t.Fatal(err)
		}
		defer receivers[i].Close()
	}
	var sender net.Conn
	if err := n.Server.Do(func() (err error) {
		sender, err = net.DialUDP("udp4", nil, group)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer sender.Close()

	const count, size = 2000, 1472
	start := time.Now()
	for range count {
		if _, err := sender.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
	}
	// The last datagram waits in the shaper's queue: the end of the reception
	// is what tells the rate.
	var got [2]int
	var last time.Time
	for i, c := range receivers {
		buf := make([]byte, size)
		for got[i] < count {
			if err := c.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Read(buf); err != nil {
				break
			}
			got[i]++
			if i == 1 {
				last = time.Now()
			}
		}
	}
	if lost := 1 - float64(got[0])/count; lost < 0.15 || lost > 0.25 {
		t.Errorf("client 1 lost %.1f %%, want about 20", 100*lost)
	}
	if got[1] != count {
		t.Errorf("client 2 got %d of %d datagrams over a good link", got[1], count)
	}
	// 2000 datagrams of 1538 bytes on the wire take 246 ms at 100 Mbit/s; what
	// was read late because client 1 was drained first can only look slower.
	if took := last.Sub(start); took < 200*time.Millisecond {
		t.Errorf("%d datagrams crossed a 100 Mbit/s link in %v", count, took)
	}
}

// Firmware reaches a boot loader by PXE here, with a foreign server: what fails
// after this test has passed is not the lab's fault.
func TestFirmwareBootsFromNetwork(t *testing.T) {
	n := newNetwork(t, Config{})
	root := filepath.Join(n.Dir, "tftp")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"undionly.kpxe", "snponly.efi"} {
		if err := copyFile(filepath.Join(root, name), "/usr/lib/ipxe/"+name); err != nil {
			t.Fatal(err)
		}
	}
	script := "#!ipxe\necho lab-reached-${platform}\npoweroff\n"
	if err := os.WriteFile(filepath.Join(root, "script"), []byte(script), 0o644); err != nil {
		t.Fatal(err)
	}
	server, err := n.Server.Start(Command{Args: []string{"dnsmasq", "--keep-in-foreground", "--log-facility=-", "--log-dhcp",
		"--conf-file=/dev/null", "--pid-file=", "--port=0", "--interface=eth0", "--user=root",
		"--dhcp-range=10.77.0.100,10.77.0.199,1h", "--dhcp-leasefile=" + filepath.Join(n.Dir, "leases"),
		"--enable-tftp", "--tftp-root=" + root, "--dhcp-no-override",
		"--dhcp-match=set:ipxe,175", "--dhcp-match=set:efi,option:client-arch,7",
		"--dhcp-boot=tag:ipxe,script", "--dhcp-boot=tag:!ipxe,tag:efi,snponly.efi", "--dhcp-boot=tag:!ipxe,tag:!efi,undionly.kpxe"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.Output.WaitFor(t.Context(), "TFTP root is", 10*time.Second); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		firmware Firmware
		want     string
	}{
		{BIOS, "lab-reached-pcbios"},
		{UEFI, "lab-reached-efi"},
	} {
		t.Run(string(c.firmware), func(t *testing.T) {
			start := time.Now()
			vm, err := n.Boot(t.Context(), Machine{Name: string(c.firmware), Firmware: c.firmware, Memory: 256})
			if err != nil {
				t.Fatal(err)
			}
			defer vm.Kill()
			if _, err := vm.Output.WaitFor(t.Context(), c.want, 2*time.Minute); err != nil {
				t.Fatalf("%v\nserver:\n%s", err, server.Output.Tail(20))
			}
			t.Logf("%s reached its script after %.1f s", c.firmware, time.Since(start).Seconds())
		})
	}
}

// A cable in this process brings frames both ways, late, between the switch and what
// QEMU's socket is.
func TestWire(t *testing.T) {
	n := newNetwork(t, Config{})
	for _, args := range [][]string{{"tuntap", "add", "dev", "tap9", "mode", "tap"}, {"link", "set", "tap9", "master", "br0"}, {"link", "set", "tap9", "up"}} {
		if err := ip(t.Context(), append([]string{"-n", n.Switch.Namespace}, args...)...); err != nil {
			t.Fatal(err)
		}
	}
	const late = 30 * time.Millisecond
	near, far := wirePorts(9, 0)
	if err := n.wire(t.Context(), "tap9", near, far, Link{Delay: late}); err != nil {
		t.Fatal(err)
	}
	var machine *net.UDPConn
	if err := n.Switch.Do(func() (err error) {
		machine, err = net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: near}, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: far})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer machine.Close()
	// The machine asks who has the server's address, and hears the server's answer.
	question := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1,
		2, 0, 0, 0, 0, 9, 10, 77, 0, 99, 0, 0, 0, 0, 0, 0, 10, 77, 0, 1}
	if err := machine.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := machine.Write(question); err != nil {
		t.Fatal(err)
	}
	for buf := make([]byte, 2048); ; {
		size, err := machine.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		if size >= 42 && buf[12] == 8 && buf[13] == 6 && buf[21] == 2 { // a reply
			if took := time.Since(began); took < 2*late {
				t.Errorf("an answer after %v, over a cable of %v in each direction", took, late)
			}
			if !strings.EqualFold(net.HardwareAddr(buf[22:28]).String(), n.Server.MAC.String()) {
				t.Errorf("an answer of %v", net.HardwareAddr(buf[22:28]))
			}
			return
		}
	}
}

// VLANs do not hear each other, and the server is in each.
func TestVLAN(t *testing.T) {
	n := newNetwork(t, Config{MTU: 1400})
	for range 2 { // the second time it is there
		s, err := n.VLAN(t.Context(), 300)
		if err != nil {
			t.Fatal(err)
		}
		if s.Interface != "vlan300" || s.Server.String() != "10.101.44.1" {
			t.Errorf("%+v", s)
		}
	}
	out, code, err := n.Server.Run(t.Context(), "ip", "-o", "addr", "show", "vlan300")
	if err != nil || code != 0 || !strings.Contains(out, "10.101.44.1/24") {
		t.Errorf("%v %d: %s", err, code, out)
	}
	out, code, err = n.Switch.Run(t.Context(), "ip", "-o", "link", "show", "master", "br300")
	if err != nil || code != 0 || strings.Count(out, "\n") != 1 || !strings.Contains(out, "mtu 1400") {
		t.Errorf("%v %d: %s", err, code, out)
	}
	if _, err := n.VLAN(t.Context(), 5000); err == nil {
		t.Error("there is no VLAN 5000")
	}
}
