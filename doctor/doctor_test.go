package doctor

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pin/tftp/v3"
)

// text is what a check found, one line for each finding.
func text(all []Finding) string {
	var b strings.Builder
	for _, f := range all {
		b.WriteString(string(f.Level) + ": " + f.Text + "\n")
	}
	return b.String()
}

// certificate is a self-signed one.
func certificate(t *testing.T, from, to time.Time, host string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotBefore: from, NotAfter: to, DNSNames: []string{host}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestCertificates(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	year := 365 * 24 * time.Hour
	for _, tt := range []struct {
		name string
		pem  []byte
		host string
		want string
	}{
		{"good", certificate(t, now.Add(-year), now.Add(year), "a.example"), "a.example", "ok: x: valid until 2027-11-21\n"},
		{"over", certificate(t, now.Add(-year), now.Add(-time.Hour), "a"), "", "attention: x: not valid since 2026-11-21 11:00:00\n"},
		{"not yet", certificate(t, now.Add(time.Hour), now.Add(year), "a"), "", "attention: x: valid only from 2026-11-21 13:00:00 on, and the clock says 2026-11-21 12:00:00\n"},
		{"soon over", certificate(t, now.Add(-year), now.Add(24*time.Hour), "a"), "", "attention: x: valid until 2026-11-22\n"},
		{"other name", certificate(t, now.Add(-year), now.Add(year), "a.example"), "192.0.2.1", "ok: x: valid until 2027-11-21\nattention: x: not for 192.0.2.1, by which machines reach it\n"},
		{"none", []byte("nothing"), "", "attention: x: no PEM certificate is in the file\n"},
	} {
		c := Certificate{What: "x", PEM: tt.pem}
		if tt.host != "" {
			c.Hosts = []string{tt.host}
		}
		if got := text(oneCertificate(c, now)); got != tt.want {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
}

func TestClock(t *testing.T) {
	if got := clock(t.Context(), &Target{Now: func() time.Time { return time.Unix(0, 0) }}); got[0].Level != Attention {
		t.Errorf("%v", got)
	}
	if got := clock(t.Context(), &Target{Now: time.Now}); got[0].Level == Attention {
		t.Errorf("%v", got)
	}
}

func TestJudgeClock(t *testing.T) {
	server := func(name string, ahead time.Duration, err error) answered {
		return answered{TimeServer{name, "test"}, ahead, err}
	}
	for _, c := range []struct {
		name    string
		servers []answered
		want    string
	}{
		{"right", []answered{server("a", 3*time.Millisecond, nil)}, "ok: time server a (test) agrees within 3ms\n"},
		{"behind", []answered{server("a", time.Hour+300*time.Millisecond, nil)}, "attention: this clock is 1h0m0s behind time server a (test)\n"},
		{"ahead", []answered{server("a", -5*time.Second, nil)}, "note: this clock is 5s ahead of time server a (test)\n"},
		{"a liar", []answered{server("a", -time.Hour, nil), server("b", 0, nil)},
			"attention: time server a (test) is 1h0m0s behind this clock, with which another time server agrees\nok: time server b (test) agrees within 1ms\n"},
		{"silent", []answered{server("a", 0, errors.New("read udp 1.2.3.4:5->6.7.8.9:123: i/o timeout"))}, "note: time server a (test) does not tell the time: i/o timeout\n"},
	} {
		var got strings.Builder
		for _, f := range judgeClock(c.servers) {
			fmt.Fprintf(&got, "%s: %s\n", f.Level, f.Text)
			if f.Level != OK && f.Do == "" {
				t.Errorf("%s: %q does not say what to do", c.name, f.Text)
			}
		}
		if got.String() != c.want {
			t.Errorf("%s:\n%s, want\n%s", c.name, got.String(), c.want)
		}
	}
}

func TestQueriers(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	router := netip.MustParseAddr("192.0.2.254")
	for _, c := range []struct {
		name  string
		since time.Duration
		q     Querier
		level Level
		text  string
	}{
		{"asks", time.Minute, Querier{"eth0", router, now.Add(-20 * time.Second)}, OK, "192.0.2.254 asks on eth0, last 20s ago"},
		{"a switch asks", time.Minute, Querier{"eth0", netip.IPv4Unspecified(), now}, OK, "a switch without an address of its own asks on eth0, last 0s ago"},
		{"stopped", time.Hour, Querier{"eth0", router, now.Add(-10 * time.Minute)}, Attention, "192.0.2.254 asked on eth0, and has been silent for 10m0s"},
		{"too soon", time.Minute, Querier{Interface: "eth0"}, Note, "none was heard on eth0 in 1m0s; they ask every 2m5s"},
		{"none", time.Hour, Querier{Interface: "eth0"}, Note, "none was heard on eth0 in 1h0m0s: switches with IGMP snooping stop"},
	} {
		got := queriers(t.Context(), &Target{Running: true, Since: now.Add(-c.since), Queriers: []Querier{c.q}, Now: func() time.Time { return now }})
		if len(got) != 1 || got[0].Level != c.level || !strings.HasPrefix(got[0].Text, c.text) || (got[0].Do == "") != (c.level == OK) {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

func TestJudgeDisk(t *testing.T) {
	for _, c := range []struct {
		write, read float64
		level       Level
	}{{200e6, 500e6, OK}, {200e6, 80e6, Note}, {200e6, 2e6, Attention}, {1e6, 500e6, Attention}} {
		if f := judgeDisk(c.write, c.read); f.Level != c.level || (f.Do == "") != (c.level == OK) {
			t.Errorf("%+v: %+v", c, f)
		}
	}
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got := diskSpeed(t.Context(), f); len(got) != 1 || !strings.Contains(got[0].Text, "MB/s and read at") {
		t.Errorf("%+v", got)
	}
}

// fakeProc is a /proc with the given files.
func fakeProc(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestBuffersAndPrivileges(t *testing.T) {
	low := &Target{Proc: fakeProc(t, map[string]string{
		"sys/net/core/rmem_max": "65536\n", "sys/net/core/wmem_max": "212992\n", "sys/net/ipv4/ip_unprivileged_port_start": "1024\n",
		"self/status": "Name:\tx\nCapInh:\t0\nCapPrm:\t0\nCapEff:\t0000000000000000\n",
	})}
	if got := text(buffers(t.Context(), low)); got != "attention: net.core.rmem_max is 65536 bytes\nnote: net.core.wmem_max is 212992 bytes\n" {
		t.Error(got)
	}
	if got := text(privileges(t.Context(), low)); !strings.HasPrefix(got, "attention: this process lacks CAP_NET_BIND_SERVICE") || !strings.Contains(got, "CAP_NET_RAW") {
		t.Error(got)
	}
	low.Capabilities = 1<<capNetBindService | 1<<capNetRaw // given up since
	if got := text(privileges(t.Context(), low)); !strings.HasPrefix(got, "ok: ") {
		t.Error(got)
	}
	good := &Target{Proc: fakeProc(t, map[string]string{
		"sys/net/core/rmem_max": "4194304\n", "sys/net/core/wmem_max": "4194304\n", "self/status": "Name:\tx\nCapEff:\t000001ffffffffff\n",
	})}
	if got := text(buffers(t.Context(), good)) + text(privileges(t.Context(), good)); strings.Contains(got, "attention") || strings.Contains(got, "note") {
		t.Error(got)
	}
}

func TestDisk(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		t    Target
		want string
	}{
		{Target{Data: dir, Room: 1}, "ok: "},
		{Target{Data: dir, Room: 1 << 62}, "attention: "},
		{Target{Data: filepath.Join(dir, "none")}, "attention: data folder "},
	} {
		if got := text(disk(t.Context(), &tt.t)); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left %v behind", left)
	}
}

func TestPorts(t *testing.T) {
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	u, c := uint16(udp.LocalAddr().(*net.UDPAddr).Port), uint16(tcp.Addr().(*net.TCPAddr).Port)
	name, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	target := Target{Proc: "/proc", Ports: []Port{{Proto: "udp", Port: u, What: "a"}, {Proto: "tcp", Port: c, What: "b"}, {Proto: "tcp", Port: 1, What: "c"}}}
	got := text(ports(t.Context(), &target))
	if strings.Count(got, "attention: ") != 2 || strings.Count(got, strings.TrimSpace(string(name))) != 2 || !strings.Contains(got, "ok: TCP port 1 (c) is free") {
		t.Error(got)
	}
	target.Running = true
	if got := text(ports(t.Context(), &target)); !strings.Contains(got, "TCP port 1 (c): castpoint runs, but nobody listens") {
		t.Error(got)
	}
}

// systemd holds the ports of castpoint.socket all the time: that is one socket with two
// holders. Another socket on the port is another program's.
func TestPortsOfSystemd(t *testing.T) {
	const row = "   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 %s 1 0 100 0 0 10 0\n"
	for _, other := range []struct{ socket, want string }{
		{"77", "ok: TCP port 8080 (boot files) is castpoint's\n"},
		{"78", "attention: TCP port 8080 (boot files) is shared by systemd (process 1) and castpoint (process 20)\n"},
	} {
		proc := fakeProc(t, map[string]string{
			"net/tcp": fmt.Sprintf(row+row, "77", "78"), "1/comm": "systemd\n", "20/comm": "castpoint\n", "1/fd/0": "", "20/fd/0": "",
		})
		for pid, socket := range map[string]string{"1": other.socket, "20": "77"} {
			if err := os.Symlink("socket:["+socket+"]", filepath.Join(proc, pid, "fd/9")); err != nil {
				t.Fatal(err)
			}
		}
		if got := text(ports(t.Context(), &Target{Proc: proc, Running: true, Ports: []Port{{Proto: "tcp", Port: 8080, What: "boot files"}}})); got != other.want {
			t.Error(got)
		}
	}
}

func TestInterfaces(t *testing.T) {
	for _, tt := range []struct {
		i    Interface
		want string
	}{
		{Interface{"lo", netip.MustParseAddr("127.0.0.1")}, "ok: lo is up"},
		{Interface{"lo", netip.MustParseAddr("192.0.2.1")}, "attention: lo no longer has 192.0.2.1"},
		{Interface{"nosuch0", netip.Addr{}}, "attention: there is no interface nosuch0"},
	} {
		if got := text(interfaces(t.Context(), &Target{Interfaces: []Interface{tt.i}})); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
	if got := text(interfaces(t.Context(), &Target{})); !strings.HasPrefix(got, "attention: no interface") {
		t.Error(got)
	}
}

func TestBootsAndSigners(t *testing.T) {
	now := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	got := text(boots(t.Context(), &Target{Boots: []Boot{{"BIOS", true, "fine", true}, {"UEFI", false, "no loader", true}, {"ARM", false, "no loader", false}}}))
	if got != "ok: BIOS: fine\nattention: UEFI: no loader\nnote: ARM: no loader\n" {
		t.Error(got)
	}
	got = text(signers(t.Context(), &Target{Now: func() time.Time { return now }, Signed: []Signed{
		{"a", "CA", now.AddDate(1, 0, 0)}, {"b", "CA", now.AddDate(0, 0, 10)}, {"c", "CA", now.AddDate(0, 0, -1)},
	}}))
	if !strings.HasPrefix(got, "ok: a ") || !strings.Contains(got, "note: b ") || !strings.Contains(got, "note: c is signed by CA, valid until 2026-11-20, which is over") {
		t.Error(got)
	}
}

// fileServers serve by TFTP and HTTP.
func fileServers(t *testing.T, byTFTP, byHTTP map[string][]byte) *Target {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	s := tftp.NewServer(func(name string, rf io.ReaderFrom) error {
		b, ok := byTFTP[name]
		if !ok {
			return os.ErrNotExist
		}
		rf.(tftp.OutgoingTransfer).SetSize(int64(len(b)))
		_, err := rf.ReadFrom(bytes.NewReader(b))
		return err
	}, nil)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(conn) }()
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, ok := byHTTP[strings.TrimPrefix(r.URL.Path, "/")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(b)))
		_, _ = w.Write(b)
	}))
	t.Cleanup(func() { s.Shutdown(); <-done; h.Close() })
	return &Target{TFTP: conn.LocalAddr().(*net.UDPAddr).AddrPort(), HTTP: h.URL}
}

func TestFetch(t *testing.T) {
	one, other := bytes.Repeat([]byte("a"), 1456*10), bytes.Repeat([]byte("b"), 1456*10)
	target := fileServers(t, map[string][]byte{"same": one, "differs": one, "tftponly": one}, map[string][]byte{"same": one, "differs": other})
	target.Files = []string{"same", "differs", "tftponly"}
	got := text(fetch(t.Context(), target))
	for _, want := range []string{"ok: same, 14560 bytes, by TFTP at ", "attention: differs differs: ", "attention: tftponly does not arrive by HTTP: "} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	// Nobody there.
	target = &Target{TFTP: netip.MustParseAddrPort("127.0.0.1:9"), Files: []string{"a"}}
	if got := text(fetch(t.Context(), target)); !strings.HasPrefix(got, "attention: a does not arrive by TFTP") {
		t.Error(got)
	}
}

// firewallSays gives the firewall check the texts that programs print.
func firewallSays(t *testing.T, says map[string]string) string {
	t.Helper()
	target := &Target{
		Interfaces: []Interface{{"eth0", netip.MustParseAddr("192.0.2.1")}},
		Ports:      []Port{{Proto: "udp", Port: 67, What: "DHCP"}, {Proto: "udp", Port: 69, What: "TFTP"}, {Proto: "udp", Port: 40000, Last: 41000, What: "transfers", Reply: true}, {Proto: "tcp", Port: 8080, What: "HTTP"}},
		Groups:     [2]netip.Addr{netip.MustParseAddr("239.192.0.1")},
		Command: func(_ context.Context, name string, _ ...string) ([]byte, error) {
			if s, ok := says[name]; ok {
				return []byte(s), nil
			}
			return nil, exec.ErrNotFound
		},
	}
	return text(firewall(t.Context(), target))
}

func TestIPTables(t *testing.T) {
	const head = "*filter\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:MINE - [0:0]\n"
	const strict = "*filter\n:INPUT DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n-A INPUT -i lo -j ACCEPT\n-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
	for _, tt := range []struct {
		name, rules string
		dropped     []string // what is said to be dropped
	}{
		{"nothing", head, nil},
		{"one port", head + "-A INPUT -p udp -m udp --dport 69 -j DROP\n", []string{"port 69"}},
		{"rejected", head + "-A INPUT -p tcp -m tcp --dport 8080 -m comment --comment \"not from here\" -j REJECT --reject-with tcp-reset\n", []string{"port 8080"}},
		{"several", head + "-A INPUT -p udp -m multiport --dports 60:68,69 -j DROP\n", []string{"port 67", "port 69"}},
		{"accepted before", head + "-A INPUT -p udp -m udp --dport 69 -j ACCEPT\n-A INPUT -p udp -j DROP\n", []string{"port 67", "port 40000", "port 41000"}},
		{"of some clients only", head + "-A INPUT -s 10.0.0.0/8 -p udp -j DROP\n", nil},
		{"other interface", head + "-A INPUT -i eth1 -j DROP\n", nil},
		{"not this interface", head + "-A INPUT ! -i eth1 -p tcp -j DROP\n", []string{"port 8080"}},
		{"a chain of its own", head + "-A INPUT -i eth+ -j MINE\n-A MINE -p udp -m udp --dport 69 -j DROP\n", []string{"port 69"}},
		{"a chain that returns", head + "-A INPUT -j MINE\n-A MINE -p udp -j RETURN\n-A MINE -j DROP\n", []string{"port 8080"}},
		{"policy", strict, []string{"port 67", "port 69", "port 8080"}},
		{"policy with limits", strict + "-A INPUT -p udp -m limit --limit 5/min -j ACCEPT\n", []string{"port 8080"}},
		{"groups", head + "-A OUTPUT -d 239.0.0.0/8 -j DROP\n", []string{"group 239.192.0.1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			checkDropped(t, firewallSays(t, map[string]string{"iptables-save": tt.rules + "COMMIT\n"}), tt.dropped)
		})
	}
}

func checkDropped(t *testing.T, got string, want []string) {
	t.Helper()
	if n := strings.Count(got, "attention: "); n != len(want) {
		t.Errorf("%d are dropped, want %d:\n%s", n, len(want), got)
	}
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("no %q in\n%s", w, got)
		}
	}
}

func TestNFT(t *testing.T) {
	const head = `{"nftables": [{"metainfo": {"json_schema_version": 1}}, {"table": {"family": "inet", "name": "t", "handle": 1}},
{"chain": {"family": "inet", "table": "t", "name": "in", "handle": 1, "type": "filter", "hook": "input", "prio": 0, "policy": "POLICY"}},
{"chain": {"family": "inet", "table": "t", "name": "out", "handle": 1, "type": "filter", "hook": "output", "prio": 0, "policy": "accept"}},
{"chain": {"family": "inet", "table": "t", "name": "mine", "handle": 1}},
{"set": {"family": "inet", "table": "t", "name": "blocked", "type": "inet_service", "elem": [69, {"range": [8000, 9000]}]}}`
	rule := func(chain, exprs string) string {
		return `, {"rule": {"family": "inet", "table": "t", "chain": "` + chain + `", "handle": 3, "expr": [` + exprs + `]}}`
	}
	match := func(left, op, right string) string {
		return `{"match": {"op": "` + op + `", "left": ` + left + `, "right": ` + right + `}}`
	}
	udp, tcp, th := `{"payload": {"protocol": "udp", "field": "dport"}}`, `{"payload": {"protocol": "tcp", "field": "dport"}}`, `{"payload": {"protocol": "th", "field": "dport"}}`
	const drop, accept = `, {"counter": {"packets": 0, "bytes": 0}}, {"drop": null}`, `, {"accept": null}`
	state := match(`{"ct": {"key": "state"}}`, "in", `["established", "related"]`)
	for _, tt := range []struct {
		name, policy, rules string
		dropped             []string
	}{
		{"nothing", "accept", "", nil},
		{"policy", "drop", rule("in", state+accept), []string{"port 67", "port 69", "port 8080"}},
		{"one port", "accept", rule("in", match(udp, "==", "69")+drop), []string{"port 69"}},
		{"a set", "accept", rule("in", match(udp, "==", `{"set": [67, {"range": [60, 68]}]}`)+drop), []string{"port 67"}},
		{"a named set", "accept", rule("in", match(th, "==", `"@blocked"`)+drop), []string{"port 69", "port 8080"}},
		{"all but one", "accept", rule("in", match(tcp, "!=", "22")+`, {"reject": {"type": "tcp reset"}}`), []string{"port 8080"}},
		{"from some", "accept", rule("in", match(`{"payload": {"protocol": "ip", "field": "saddr"}}`, "==", `"192.0.2.7"`)+drop), nil},
		{"of another interface", "accept", rule("in", match(`{"meta": {"key": "iifname"}}`, "==", `"eth1"`)+drop), nil},
		{"jump", "accept", rule("in", `{"jump": {"target": "mine"}}`) + rule("mine", match(udp, "==", "69")+drop), []string{"port 69"}},
		{"accepted by what is not understood", "drop", rule("in", `{"xt": {"type": "match", "name": "udp"}}`+accept), nil},
		{"groups", "accept", rule("out", match(`{"payload": {"protocol": "ip", "field": "daddr"}}`, "==", `{"prefix": {"addr": "239.0.0.0", "len": 8}}`)+drop), []string{"group 239.192.0.1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			checkDropped(t, firewallSays(t, map[string]string{"nft": strings.Replace(head, "POLICY", tt.policy, 1) + tt.rules + "]}"}), tt.dropped)
		})
	}
	if got := firewallSays(t, map[string]string{"nft": "{"}); !strings.HasPrefix(got, "note: ") {
		t.Error(got)
	}
	if got := firewallSays(t, nil); got != "ok: there is neither nft nor iptables\n" {
		t.Error(got)
	}
}

func TestRun(t *testing.T) {
	far := Run(t.Context(), Target{})
	if len(far) != 0 {
		t.Errorf("about nothing: %v", far)
	}
	all := Run(t.Context(), Target{Here: true, Data: t.TempDir(), Others: []Finding{{Level: Attention, Text: "rogue"}}, Running: true})
	seen := map[string]bool{}
	for _, f := range all {
		seen[f.Check] = true
	}
	for _, name := range []string{"privileges", "interfaces", "firewall", "buffers", "disk", "clock", "servers"} {
		if !seen[name] {
			t.Errorf("%s says nothing", name)
		}
	}
	if Worst(all) < 2 {
		t.Errorf("%v", all)
	}
}
