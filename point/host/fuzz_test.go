package host

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzKernelTables: routes, sockets and neighbours as the kernel prints them.
func FuzzKernelTables(f *testing.F) {
	f.Add("Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\neth0\t00000000\t0102A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n")
	f.Add("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   0: 00000000:0045 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 12345\n")
	f.Add("IP address       HW type     Flags       HW address            Mask     Device\n192.0.2.7  0x1  0x2  52:54:00:00:00:01  *  eth0\n")
	f.Add("0: :zz 1 0A a b c d e f g\n")
	path := filepath.Join(f.TempDir(), "arp")
	f.Fuzz(func(t *testing.T, text string) {
		defaultRoute(text)
		listeningInodes(text, "udp", 69)
		listeningInodes(text, "tcp", 80)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for addr, mac := range Neighbours(path) {
			if !addr.IsValid() || mac == "" {
				t.Fatalf("%s has %q", addr, mac)
			}
		}
	})
}
