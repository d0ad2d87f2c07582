package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	bigendian "encoding/binary"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"castpoint/internal/lab"
	"castpoint/test/point"
)

// prescribe runs castpoint doctor behind a shell script, which has a mount
// namespace of its own, and returns all findings. $1 is the program, $2 the data
// folder.
func prescribe(t *testing.T, p *point.Point, data, script string, args ...string) (all []finding) {
	t.Helper()
	proc, err := p.Network.Server.Start(lab.Command{Args: append([]string{"/bin/sh", "-ec", script + `program=$1; data=$2; shift 2; exec $as "$program" doctor --json --data "$data" "$@"`,
		"sh", p.Binary, data}, args...)})
	if err != nil {
		t.Fatal(err)
	}
	wait(t, proc)
	if err := json.Unmarshal([]byte(proc.Stdout.String()), &all); err != nil {
		t.Fatalf("%s: %v: %s", script, err, proc.Output.String())
	}
	return all
}

// mustFind checks that a check says it at that level, and what to do.
func mustFind(t *testing.T, found []finding, check, level, text string) {
	t.Helper()
	for _, f := range found {
		if f.Check == check && f.Level == level && strings.Contains(f.Text, text) {
			if f.Do == "" {
				t.Errorf("%q does not say what to do", f.Text)
			}
			return
		}
	}
	t.Errorf("%s has no %s that says %q: %+v", check, level, text, found)
}

// Faults of the host, without a server: privileges, buffers, disk.
func TestDoctorHost(t *testing.T) {
	p := newPoint(t, lab.Config{})
	open := filepath.Join(p.Network.Dir, "open")
	if err := os.Mkdir(open, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{open, p.Network.Dir} {
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	fake := filepath.Join(p.Network.Dir, "rmem_max")
	if err := os.WriteFile(fake, []byte("65536\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, fault := range []struct{ script, check, says string }{
		{"as='setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all --bounding-set=-all'; ", "privileges", "lacks CAP_NET_BIND_SERVICE"},
		{"mount --bind " + fake + " /proc/sys/net/core/rmem_max; ", "buffers", "net.core.rmem_max is 65536 bytes"},
		{"mount --bind " + fake + " /proc/sys/net/core/wmem_max; ", "buffers", "net.core.wmem_max is 65536 bytes"},
		{`mount -t tmpfs -o size=200m tmpfs "$2"; `, "disk", "0.2 of 0.2 GB are free"},
		{`mount --bind "$2" "$2"; mount -o remount,ro,bind "$2"; `, "disk", "cannot be written"},
	} {
		before := prescribe(t, p, open, "")
		for _, f := range before {
			if f.Check == fault.check && f.Level == "attention" {
				t.Errorf("without the fault: %+v", f)
			}
		}
		mustFind(t, prescribe(t, p, open, fault.script), fault.check, "attention", fault.says)
	}
}

// shortCertificate is a certificate for a server, with its key, for a time.
func shortCertificate(t *testing.T, from, to time.Time) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "planted"}, NotBefore: from, NotAfter: to,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}, KeyUsage: x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for _, block := range []*pem.Block{{Type: "CERTIFICATE", Bytes: der}, {Type: "PRIVATE KEY", Bytes: private}} {
		if err := pem.Encode(&b, block); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// signUntil signs a program with a certificate that ends then.
func signUntil(t *testing.T, in, out string, end time.Time) {
	t.Helper()
	key := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(key, shortCertificate(t, end.AddDate(-1, 0, 0), end), 0o600); err != nil {
		t.Fatal(err)
	}
	if said, err := exec.CommandContext(t.Context(), "osslsigncode", "sign", "-h", "sha256", "-certs", key, "-key", key, "-in", in, "-out", out).CombinedOutput(); err != nil {
		t.Fatalf("osslsigncode: %v: %s", err, said)
	}
}

// Faults of what a server serves, and of others beside it: certificates, loaders,
// signers, DHCP and PXE servers, fetching.
func TestDoctorServer(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 2})
	loaders := filepath.Join(p.Network.Dir, "loaders")
	if err := os.Mkdir(loaders, 0o755); err != nil {
		t.Fatal(err)
	}
	soon := time.Now().Add(10 * 24 * time.Hour)
	signUntil(t, "/usr/lib/ipxe/snponly.efi", filepath.Join(loaders, "snponly.efi"), soon)
	// A boot image whose kernel is signed, and for which BIOS has no loader.
	kernels, err := filepath.Glob("/boot/vmlinuz-*")
	if err != nil || len(kernels) == 0 {
		t.Fatal("no kernel in /boot: run test/install-tools")
	}
	kernel, initrd := filepath.Join(p.Network.Dir, "vmlinuz"), filepath.Join(p.Network.Dir, "initrd")
	signUntil(t, kernels[0], kernel, soon)
	if err := os.WriteFile(initrd, []byte("070701"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Add(t.Context(), "boot-image", "--kernel", kernel, "--initrd", initrd, "--arch", "amd64", "--name", "linux"); err != nil {
		t.Fatal(err)
	}
	settings := filepath.Join(p.Network.Dir, "castpoint.yaml")
	if err := os.WriteFile(settings, []byte("loaders: "+loaders+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	serve(t, p, "--loaders", loaders)
	look := func(script string) []finding {
		t.Helper()
		return prescribe(t, p, p.Data, script, "--config", settings)
	}
	found := look("")
	mustFind(t, found, "boot", "attention", "BIOS: ")
	mustFind(t, found, "signers", "note", "snponly.efi is signed by planted, valid until "+soon.UTC().Format(time.DateOnly))
	mustFind(t, found, "signers", "note", "linux: vmlinuz is signed by planted, valid until")

	pin := filepath.Join(p.Data, "tls", "join.pem")
	whole, err := os.ReadFile(pin)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for _, fault := range []struct {
		from, to time.Time
		says     string
	}{
		{now.AddDate(-2, 0, 0), now.AddDate(-1, 0, 0), "not valid since"},
		{now.AddDate(-1, 0, 0), soon, "valid until"},
		{now.AddDate(0, 0, 1), now.AddDate(1, 0, 0), "and the clock says"}, // it is the clock that is wrong
	} {
		if err := os.WriteFile(pin, shortCertificate(t, fault.from, fault.to), 0o600); err != nil {
			t.Fatal(err)
		}
		mustFind(t, look(""), "certificates", "attention", fault.says)
	}
	if err := os.WriteFile(pin, whole, 0o600); err != nil {
		t.Fatal(err)
	}

	// What this host asks itself goes by lo, which the rules about eth0 leave open.
	for says, rule := range map[string]string{"does not arrive by TFTP": "udp dport 69 drop", "does not arrive by HTTP": "tcp dport 8080 reject with tcp reset"} {
		sh(t, p.Network.Server, "nft add table inet t; nft 'add chain inet t in { type filter hook input priority 0 ; policy accept ; }'; nft add rule inet t in iifname lo "+rule)
		mustFind(t, look(""), "fetch", "attention", says)
		sh(t, p.Network.Server, "nft delete table inet t")
	}

	for _, f := range look("") {
		if f.Check == "servers" && f.Level == "attention" {
			t.Errorf("without another server: %+v", f)
		}
	}
	// Somebody's laptop that answers PXE clients, and one that gives addresses only.
	dnsmasq(t, p.Network, p.Network.Clients[0], "--interface=eth0", "--dhcp-range=10.77.0.200,10.77.0.240,1h",
		"--dhcp-option-force=60,PXEClient", "--dhcp-boot=other.efi")
	// It may take castpoint's own offer, which has no address, and end without one.
	sh(t, p.Network.Clients[1], "busybox udhcpc -i eth0 -f -n -q -t 1 -T 1 -B -V PXEClient:Arch:00007:UNDI:003016 -s /bin/true || true")
	mustFind(t, look(""), "servers", "attention", "PXE server at 10.77.0.")
	if code, err := p.Server.Stop(); err != nil || code != 0 {
		t.Errorf("ended with %d, %v", code, err)
	}
	serve(t, p, "--loaders", loaders, "--dhcp", "server", "--pool", point.Pool)
	sh(t, p.Network.Clients[1], "busybox udhcpc -i eth0 -f -n -q -t 3 -T 2 -B -s /bin/true || true")
	mustFind(t, look(""), "servers", "attention", "DHCP server at 10.77.0.")
}

// timeServer answers on a host as NTP does (RFC 5905 section 7.3), that far ahead of this
// machine's clock.
func timeServer(t *testing.T, h *lab.Host, ahead time.Duration) {
	t.Helper()
	var conn net.PacketConn
	if err := h.Do(func() (err error) {
		conn, err = net.ListenPacket("udp4", h.Addr.String()+":123")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() { _ = conn.Close(); <-ended })
	stamp := func(to []byte, at time.Time) {
		bigendian.BigEndian.PutUint32(to, uint32(at.Unix()+2208988800)) // since 1900
		bigendian.BigEndian.PutUint32(to[4:], uint32(uint64(at.Nanosecond())<<32/1e9))
	}
	go func() {
		defer close(ended)
		q := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(q)
			if err != nil {
				return
			}
			if n < 48 {
				continue
			}
			now := time.Now().Add(ahead)
			a := make([]byte, 48)
			a[0], a[1], a[2], a[3] = 0x24, 2, 6, 0xec // version 4, a server, of stratum 2
			copy(a[12:16], "TEST")
			stamp(a[16:], now.Add(-time.Minute))
			copy(a[24:32], q[40:48])
			stamp(a[32:], now)
			stamp(a[40:], now)
			_, _ = conn.WriteTo(a, from)
		}
	}()
}

// The clock is compared with time servers: that of the settings, of which machines are
// told, one that another DHCP server tells them of, and one that is named. Who asks for
// members of groups is heard.
func TestDoctorClock(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 3})
	n := p.Network
	wrong, right, silent := n.Clients[0], n.Clients[1], n.Clients[2]
	timeServer(t, wrong, time.Hour)
	timeServer(t, right, 0)
	settings := filepath.Join(n.Dir, "castpoint.yaml")
	if err := os.WriteFile(settings, []byte("ntp: "+wrong.Addr.String()+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	serve(t, p)
	found := prescribe(t, p, p.Data, "", "--config", settings)
	mustFind(t, found, "clock", "attention", "this clock is 1h0m0s behind time server 10.77.0.11 (setting ntp)")
	mustFind(t, found, "querier", "note", "none was heard on eth0 in")
	found = prescribe(t, p, p.Data, "", "--ntp", right.Addr.String())
	for _, f := range found {
		if f.Check == "clock" && f.Level == "attention" {
			t.Errorf("with a clock that is right: %+v", f)
		}
	}
	mustFind(t, prescribe(t, p, p.Data, "", "--config", settings, "--ntp", right.Addr.String()), "clock", "attention",
		"time server 10.77.0.11 (setting ntp) is 1h0m0s ahead of this clock, with which another time server agrees")
	mustFind(t, prescribe(t, p, p.Data, "", "--ntp", silent.Addr.String()), "clock", "note", "time server 10.77.0.13 (--ntp) does not tell the time: ")

	// Another DHCP server tells machines of the wrong one.
	dnsmasq(t, n, silent, "--interface=eth0", "--dhcp-range=10.77.0.200,10.77.0.240,1h", "--dhcp-option=option:ntp-server,"+wrong.Addr.String())
	sh(t, right, "busybox udhcpc -i eth0 -f -n -q -t 3 -T 2 -B -O ntpsrv -s /bin/true || true")
	mustFind(t, prescribe(t, p, p.Data, ""), "clock", "attention", "this clock is 1h0m0s behind time server 10.77.0.11 (of another DHCP server)")

	if err := silent.Do(func() error { return askOnce(silent.Addr.String()) }); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(patience)
	for heard := false; !heard; {
		for _, f := range prescribe(t, p, p.Data, "") {
			heard = heard || f.Check == "querier" && f.Level == "ok" && strings.HasPrefix(f.Text, silent.Addr.String()+" asks on eth0")
		}
		if time.Now().After(deadline) {
			t.Fatal("a querier is not heard")
		}
	}
}
