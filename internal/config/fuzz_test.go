package config

import (
	"strings"
	"testing"
)

// FuzzValidate: settings of a file, through all checks and everything that is made
// of them.
func FuzzValidate(f *testing.F) {
	for _, s := range []string{
		"", "dhcp: server\npool: 10.0.0.9-10.0.0.99/24\nreserve: [52:54:00:00:00:01=10.0.0.5=pc]\nlease: 2h\n", "pool: 10.0.0.9-10.0.0.1", "pool6: 2001:db8::1-2001:db8::ff/64",
		"quirk: mac=00:11:22 arch=7 style=redirect as=9\nchain: [x64=windows, grub]\nmachine: 52:54:00:12:34:56 chain=windows ask=yes window=4\n",
		"groups: 239.0.0.1-239.0.0.255\nsession-ports: 7800-7899\nrate: 900mbit\ndisk-reserve: 20GiB\ntftp-ports: 1-65535\n", "log-levels: [dhcp=debug]\noidc-scope: admin=*\nadmin: 0.0.0.0:8069\n",
		"notify-webhook: https://example.com/x\nnotify-mail: a@b\nnotify-mail-server: mail:25\nhttp: ':0'\ntftp-window: -1\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c := Default()
		if c.parse([]byte(s)) != nil {
			return
		}
		if err := c.Validate(); err != nil {
			if strings.TrimSpace(err.Error()) == "" {
				t.Fatalf("%q: an error without words", s)
			}
			return
		}
		pools, err := c.Pools()
		if err != nil {
			t.Fatalf("%q is valid, and its pools are not: %v", s, err)
		}
		for _, p := range pools {
			if p.To.Less(p.From) || !p.From.Is4() {
				t.Fatalf("%q: pool %+v", s, p)
			}
		}
		if _, err := c.Pools6(); err != nil {
			t.Fatalf("%q is valid, and its IPv6 pools are not: %v", s, err)
		}
		if _, err := c.BootRules(); err != nil {
			t.Fatalf("%q is valid, and its boot rules are not: %v", s, err)
		}
		if from, to, err := c.TFTPPortRange(); err != nil || to < from {
			t.Fatalf("%q is valid, and its TFTP ports are %d to %d, %v", s, from, to, err)
		}
	})
}

// FuzzUnits: rates and sizes that were read are written so that they read the same.
func FuzzUnits(f *testing.F) {
	for _, s := range []string{"900mbit", "1.5 GiB", "0", "1e400mbit", "99999999999TB", "-1", "12345678901234567", "9.2EB", "1mibit"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if r, err := ParseRate(s); err == nil {
			if again, err := ParseRate(r.String()); err != nil || again != r || r < 0 {
				t.Fatalf("rate %q is %d, written %q, read %d, %v", s, int64(r), r, int64(again), err)
			}
		}
		if z, err := ParseSize(s); err == nil {
			if again, err := ParseSize(z.String()); err != nil || again != z || z < 0 {
				t.Fatalf("size %q is %d, written %q, read %d, %v", s, int64(z), z, int64(again), err)
			}
		}
	})
}
