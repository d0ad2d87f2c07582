package host

import (
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHolders(t *testing.T) {
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	tcp, err := net.Listen("tcp", "[::]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	me := "process " + strconv.Itoa(os.Getpid())
	for network, port := range map[string]int{"udp": udp.LocalAddr().(*net.UDPAddr).Port, "tcp": tcp.Addr().(*net.TCPAddr).Port} {
		if got := Holders(network, uint16(port)); len(got) != 1 || !strings.Contains(got[0], me) {
			t.Errorf("%s %d: %v", network, port, got)
		}
	}
	if got := Holders("tcp", 1); got != nil {
		t.Error(got)
	}
}

func TestListeningInodes(t *testing.T) {
	const tcp = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0 100 0 0 10 0
   1: 0100007F:1F90 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 222 1 0 100 0 0 10 0
   2: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 333 1 0
   3: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 444 1 0
   4: short
`
	if d := cmp.Diff([]string{"111", "333"}, listeningInodes(tcp, "tcp", 8080)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"111", "222", "333"}, listeningInodes(tcp, "udp", 8080)); d != "" {
		t.Error(d)
	}
}

func TestDefaultRoute(t *testing.T) {
	const head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
	for text, want := range map[string]string{
		head: "",
		head + "eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n":                                                                  "",
		head + "wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\neth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n": "eth0",
		head + "tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000080\t0\t0\t0\neth1\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n":      "eth1",
	} {
		if got := defaultRoute(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
