package point

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"castpoint/boot"
	"castpoint/dhcp"
	"castpoint/internal/config"
	"castpoint/point/host"
	"castpoint/tftp"
)

func testLinks() []host.Link {
	return []host.Link{
		{Name: "eth1", Index: 2, Address: netip.MustParseAddr("192.0.2.1"), Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}},
		{Name: "eth2", Index: 3, Address: netip.MustParseAddr("198.51.100.1"), Networks: []netip.Prefix{netip.MustParsePrefix("198.51.100.1/24")}},
	}
}

// TestDHCPConfig: the settings of the file arrive in the DHCP server, which takes
// them.
func TestDHCPConfig(t *testing.T) {
	c := config.Default()
	c.DHCP, c.Pool = "server", config.List{"192.0.2.100-192.0.2.199", "198.51.100.10-198.51.100.20"}
	c.Router, c.DNS = config.List{"192.0.2.254", "198.51.100.254"}, config.List{"192.0.2.53"}
	c.Lease, c.Domain, c.Reserve = 8*time.Hour, "lab.example", config.List{"52:54:00:12:34:56=192.0.2.10=pc-17"}
	c.Deny, c.Probe, c.Delay = config.List{"52:54:00:aa"}, false, time.Second
	c.Quirks = config.List{"arch=7 style=redirect as=9"}
	c.Menu, c.DHCP6, c.Pool6 = "Press F8", true, config.List{"2001:db8::100-2001:db8::1ff/64"}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	d, err := dhcpConfig(&c, testLinks())
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Pools) != 2 || len(d.Pools[0].Routers) != 1 || d.Pools[1].Routers[0].String() != "198.51.100.254" ||
		d.Pools[0].Lease != 8*time.Hour || d.Pools[1].DNS[0].String() != "192.0.2.53" || d.Pools[0].Domain != "lab.example" {
		t.Errorf("%+v", d.Pools)
	}
	if len(d.Reservations) != 1 || d.Reservations[0].Hostname != "pc-17" || !d.NoProbe || d.Delay != time.Second || len(d.Interfaces) != 2 {
		t.Errorf("%+v", d)
	}
	if len(d.Quirks) != 1 || d.Quirks[0].Style != dhcp.StyleRedirect || *d.Quirks[0].As != boot.ArchEFIBC {
		t.Errorf("%+v", d.Quirks)
	}
	if m := d.Menu(boot.Client{}, boot.Plan{}); m.Prompt != "Press F8" || m.Items[0].Type != dhcp.LocalBoot {
		t.Errorf("%+v", m)
	}
	if d.IPv6 == nil || len(d.IPv6.Pools) != 1 || d.IPv6.Pools[0].Lease != 8*time.Hour {
		t.Errorf("%+v", d.IPv6)
	}
	d.Planner = planner{}
	if _, err := dhcp.New(d); err != nil {
		t.Error(err)
	}
}

type planner struct{}

func (planner) Plan(boot.Client) boot.Plan { return boot.Plan{Serve: true, File: "x"} }

func TestSessionConfig(t *testing.T) {
	c := config.Default()
	c.Groups, c.SessionPorts, c.TTL, c.Linger, c.TotalRate = "239.1.2.3-239.1.2.10", "7000-7009", 4, time.Minute, 900e6
	s, err := sessionConfig(&c, testLinks())
	if err != nil || s.Groups != 8 || s.FirstPort != 7000 || s.Ports != 10 || s.TTL != 4 || s.Linger != time.Minute ||
		s.TotalRate != 900e6 || len(s.Others) != 1 || s.Others[0].Interface != "eth2" {
		t.Errorf("%+v %v", s, err)
	}
}

func TestTFTPConfig(t *testing.T) {
	c := config.Default()
	c.TFTPBlockSize, c.TFTPWindow, c.TFTPPorts, c.TFTPRate = 1456, 16, "5000-5009", 8e6
	c.TFTPTransfers, c.TFTPIdle = -1, time.Minute
	got, err := tftpConfig(&c)
	if err != nil || got.MaxBlockSize != 1456 || got.MaxWindow != 16 || got.PortMin != 5000 || got.PortMax != 5009 || got.Rate != 1e6 || got.MaxTransfers != -1 {
		t.Errorf("%+v %v", got, err)
	}
	got.Open = func(context.Context, tftp.Request) (tftp.File, error) { return nil, tftp.ErrNotFound }
	if _, err := tftp.New(got); err != nil {
		t.Error(err)
	}
}

func TestUploads(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "uploads")
	u, err := openUploads(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer u.close()
	write := func(name, text string) (tftp.Upload, error) {
		up, err := u.create(t.Context(), tftp.Request{Name: name, Path: name, Write: true, Peer: netip.MustParseAddrPort("192.0.2.7:1234")})
		if err == nil {
			_, err = up.Write([]byte(text))
		}
		return up, err
	}
	for _, text := range []string{"first", "second"} {
		up, err := write("logs/setup.log", text)
		if err != nil {
			t.Fatal(err)
		}
		if err := up.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"setup.log": "first", "setup.log.2": "second"} {
		if b, err := os.ReadFile(filepath.Join(dir, "192.0.2.7", "logs", name)); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	up, err := write("half.log", "half")
	if err != nil {
		t.Fatal(err)
	}
	up.Abort()
	if left, err := os.ReadDir(filepath.Join(dir, "192.0.2.7")); err != nil || len(left) != 1 {
		t.Errorf("an aborted upload left something: %v, %v", left, err)
	}
	if up, err = write("a/b/half.log", "half"); err != nil {
		t.Fatal(err)
	}
	up.Abort()
	if _, err := os.Stat(filepath.Join(dir, "192.0.2.7", "a")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an aborted upload left its folders: %v", err)
	}
	// Whoever sends: the reserve of the disk stays free, and what has begun ends there.
	if up, err = write("long.log", "long"); err != nil {
		t.Fatal(err)
	}
	room := u.room
	u.room = func() error {
		return tooFull(dir, &syscall.Statfs_t{Bsize: 1 << 12, Blocks: 1 << 20, Bavail: 1 << 12}, 1<<30)
	}
	if _, err := write("more.log", "x"); !errors.Is(err, tftp.ErrNoSpace) || !strings.Contains(err.Error(), "disk-reserve") {
		t.Errorf("a full disk: %v", err)
	}
	if _, err := up.Write(make([]byte, roomEvery)); !errors.Is(err, tftp.ErrNoSpace) {
		t.Errorf("a disk that is full by now: %v", err)
	}
	up.Abort()
	u.room = room
	for _, c := range []struct {
		blocks, free, files, left uint64
		says                      string
	}{
		{1 << 30, 1 << 20, 100, 50, ""}, {1 << 10, 1 << 9, 100, 50, ""}, {1 << 10, 10, 100, 50, "disk-reserve"}, {1 << 30, 0, 0, 0, "disk-reserve"},
		{1 << 30, 1 << 20, 100, 4, "4 files only"}, {1 << 30, 1 << 20, 0, 0, ""},
	} {
		err := tooFull(dir, &syscall.Statfs_t{Bsize: 4096, Blocks: c.blocks, Bavail: c.free, Files: c.files, Ffree: c.left}, 1<<30)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for _, name := range []string{"", "/", ".."} {
		if _, err := write(name, "x"); !errors.Is(err, tftp.ErrForbidden) {
			t.Errorf("upload as %q: %v", name, err)
		}
	}
	// A name that leads up stays in the machine's folder, and a link leads nowhere.
	if up, err := write("../../evil", "x"); err != nil {
		t.Error(err)
	} else if err := up.Commit(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "192.0.2.7", "evil")); err != nil {
		t.Error(err)
	}
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "192.0.2.7", "out")); err != nil {
		t.Fatal(err)
	}
	if _, err := write("out/x", "x"); err == nil {
		t.Error("it wrote through a link")
	}
}

func TestDecisions(t *testing.T) {
	var d decisions
	one := boot.Client{MAC: []byte{0x52, 0x54, 0, 0, 0, 1}, PXE: true}
	other := boot.Client{MAC: []byte{0x52, 0x54, 0, 0, 0, 2}, PXE: true}
	for i := range keepDecisions + 10 {
		d.note(dhcp.Event{Client: other, Time: time.Unix(int64(i), 0)})
	}
	d.note(dhcp.Event{Client: boot.Client{MAC: one.MAC}, Asked: "not a netboot client"})
	d.note(dhcp.Event{Client: one, Asked: "DISCOVER"})
	d.note(dhcp.Event{Client: one, Asked: "REQUEST"})
	got := d.of(one.MAC.String(), "", 8)
	if len(got) != 2 || got[0].Asked != "DISCOVER" || got[1].Asked != "REQUEST" || len(d.ring) != keepDecisions {
		t.Errorf("%+v of %d", got, len(d.ring))
	}
	if got := d.of("", "", 8); got != nil {
		t.Error(got)
	}
	last := d.of(other.MAC.String(), "", 1)
	if len(last) != 1 || last[0].Time.Unix() != keepDecisions+9 {
		t.Errorf("%+v", last)
	}
}

func TestOtherServers(t *testing.T) {
	seen := []dhcp.Sighting{
		{Interface: "eth1", Server: netip.MustParseAddr("192.0.2.2"), What: dhcp.SeenDHCP},
		{Interface: "eth2", Server: netip.MustParseAddr("198.51.100.2"), What: dhcp.SeenDHCP},
		{Interface: "eth1", Server: netip.MustParseAddr("192.0.2.3"), What: dhcp.SeenDHCP},
		{Interface: "eth1", Server: netip.MustParseAddr("192.0.2.4"), What: dhcp.SeenPXE},
	}
	trouble := func(mode dhcp.Mode) (list []bool) {
		for _, o := range otherServers(seen, mode, false) {
			list = append(list, o.Trouble != "")
		}
		return list
	}
	for mode, want := range map[dhcp.Mode][4]bool{dhcp.ModeProxy: {false, false, true, true}, dhcp.ModeServer: {true, true, true, true}} {
		if got := trouble(mode); [4]bool(got) != want {
			t.Errorf("%s: %v", mode, got)
		}
	}
	six := []dhcp.Sighting{{Interface: "eth1", Server: netip.MustParseAddr("fe80::2"), What: dhcp.SeenDHCP6}}
	for gives, want := range map[bool]bool{true: true, false: false} {
		if got := otherServers(six, dhcp.ModeServer, gives)[0].Trouble != ""; got != want {
			t.Errorf("DHCPv6 server, pool6 %v: trouble %v", gives, got)
		}
	}
}
