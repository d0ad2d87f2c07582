package session

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"castpoint/agent/protocol"
	"castpoint/content"
	"castpoint/content/library"
	"castpoint/internal/netio"
	"castpoint/multicast/sender"
	"castpoint/test/contents"
	"castpoint/web/api"
)

// onLoopback are sessions that do not leave this machine.
func onLoopback() Config {
	return Config{Interface: "lo", Address: netip.MustParseAddr("127.0.0.1"), Rate: 200e6, Linger: time.Second}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("did not happen: %s", what)
		}
	}
}

func wantRefusal(t *testing.T, err error, code string) {
	t.Helper()
	if p, ok := errors.AsType[*protocol.Problem](err); !ok || p.Code != code {
		t.Fatalf("error %v, want code %s", err, code)
	}
}

func newTestKeeper(t *testing.T, change func(*Config)) (*Keeper, *library.Library, *content.Content) {
	t.Helper()
	lib, ct, _ := contents.New(t, 300_000, contents.Free)
	cfg := onLoopback()
	if change != nil {
		change(&cfg)
	}
	k, err := NewKeeper(cfg, lib, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k, lib, ct
}

func parcelOf(t *testing.T, ct *content.Content) Parcel {
	t.Helper()
	p, err := NewParcel(ct)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSessionEndsByItself(t *testing.T) {
	k, _, ct := newTestKeeper(t, nil)
	c, adm, err := k.Admit(parcelOf(t, ct), sender.Candidate{Name: "pc"}, netip.Addr{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if list := k.List(); len(list) != 1 || list[0].Ended != nil || list[0].Name != "image" {
		t.Errorf("%+v", list)
	}
	if _, err := k.Find(k.List()[0].ID); err != nil {
		t.Error(err)
	}
	c.Kick(adm.Member.ID)
	waitFor(t, "the session ends", func() bool { return k.List()[0].Ended != nil })
	_, err = k.Find(k.List()[0].ID)
	wantRefusal(t, err, protocol.CodeNotFound)
	// The next member makes another.
	next, _, err := k.Admit(parcelOf(t, ct), sender.Candidate{Name: "pc"}, netip.Addr{}, nil)
	if err != nil || next.ID() == c.ID() {
		t.Error(err)
	}
	if list := k.List(); len(list) != 2 || list[0].Ended != nil || list[1].Ended == nil {
		t.Errorf("running ones come first: %+v", list)
	}
}

func TestGroupsAreNotShared(t *testing.T) {
	k, lib, ct := newTestKeeper(t, func(c *Config) {
		c.FirstGroup, c.Groups, c.FirstPort, c.Ports = netip.MustParseAddr("239.192.67.201"), 3, 37810, 4
	})
	// A port that somebody else has is passed over.
	squat, err := netio.OpenGroupSender(netio.GroupSenderConfig{Interface: "lo", Group: netip.MustParseAddrPort("239.192.67.9:37811")})
	if err != nil {
		t.Fatal(err)
	}
	defer squat.Close()
	all := []*content.Content{ct}
	for _, name := range []string{"b", "cc", "ddd"} {
		other, _ := contents.AddImage(t, lib, name, 1000, contents.Free)
		all = append(all, other)
	}
	groups, ports := map[netip.Addr]bool{}, map[uint16]bool{}
	for i, ct := range all {
		c, _, err := k.Admit(parcelOf(t, ct), sender.Candidate{Name: "pc"}, netip.Addr{}, nil)
		if i == 3 { // three groups, and three of four ports
			wantRefusal(t, err, protocol.CodeTooMany)
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if groups[c.group.Addr()] || ports[c.group.Port()] || c.group.Port() == 37811 {
			t.Errorf("group %s is taken", c.group)
		}
		groups[c.group.Addr()], ports[c.group.Port()] = true, true
	}
}

func TestTotalRateIsShared(t *testing.T) {
	k, lib, ct := newTestKeeper(t, func(c *Config) { c.TotalRate, c.Rate = 40e6, 30e6 })
	other, _ := contents.AddImage(t, lib, "other", 200_000, contents.Free)
	targets := func() (all []float64) {
		for _, s := range k.List() {
			if s.Ended == nil {
				all = append(all, s.Target)
			}
		}
		return all
	}
	first, adm, err := k.Admit(parcelOf(t, ct), sender.Candidate{Name: "pc"}, netip.Addr{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := targets(); len(got) != 1 || got[0] > 30e6 {
		t.Errorf("one session goes by its own cap, not %v", got)
	}
	second, _, err := k.Admit(parcelOf(t, other), sender.Candidate{Name: "pc"}, netip.Addr{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := targets(); len(got) != 2 || got[0] > 20e6 || got[1] > 20e6 {
		t.Errorf("two sessions share 40 Mbit/s: %v", got)
	}
	first.Kick(adm.Member.ID)
	waitFor(t, "the first ends", first.Over)
	k.mu.Lock()
	n := len(k.live)
	k.mu.Unlock()
	if second.Over() || n == 0 {
		t.Error("the second has ended as well")
	}
}

// TestShareOfCappedSession: what one session may not use, others do.
func TestShareOfCappedSession(t *testing.T) {
	k, lib, ct := newTestKeeper(t, func(c *Config) { c.TotalRate = 90e6 })
	rates := map[string]float64{}
	for i, name := range []string{"", "b", "c"} {
		p := parcelOf(t, ct)
		rule := StartRule{Rate: 6e6, MinRate: 6e6}
		if i > 0 {
			other, _ := contents.AddImage(t, lib, name, 1000*i, contents.Free)
			p, rule = parcelOf(t, other), StartRule{}
		}
		if _, _, err := k.For([]Parcel{p}, k.cfg.links()[0], 0, rule); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range k.List() {
		rates[s.Name] = s.Target
	}
	// The controller begins where it is allowed to.
	if rates["image"] > 6e6 || rates["b"] != 42e6 || rates["c"] != 42e6 {
		t.Errorf("90 Mbit/s are shared as %v, want 6, 42 and 42", rates)
	}
}

// TestSessionsOfInterfaces: who joins by another address of this server gets a
// session of its own there.
func TestSessionsOfInterfaces(t *testing.T) {
	k, _, ct := newTestKeeper(t, func(c *Config) {
		c.Others = []Link{{"lo", netip.MustParseAddr("127.0.0.2")}}
	})
	if l := k.cfg.linkOf(netip.MustParseAddr("127.0.0.2")); l.Address != netip.MustParseAddr("127.0.0.2") {
		t.Error(l)
	}
	if l := k.cfg.linkOf(netip.MustParseAddr("192.0.2.1")); l.Address != netip.MustParseAddr("127.0.0.1") {
		t.Error(l)
	}
	if _, err := k.LinkNamed("none0"); err == nil {
		t.Error("an interface that is not served was accepted")
	}
	k.cfg.Others[0].Interface = "other"
	a, _, err := k.For([]Parcel{parcelOf(t, ct)}, Link{"lo", netip.MustParseAddr("127.0.0.1")}, 0, StartRule{})
	if err != nil {
		t.Fatal(err)
	}
	b, made, err := k.For([]Parcel{parcelOf(t, ct)}, Link{"lo", netip.MustParseAddr("127.0.0.1")}, 0, StartRule{})
	if err != nil || made || a != b {
		t.Error("one interface has two sessions of an object", err)
	}
}

func TestClosedKeeperAdmitsNobody(t *testing.T) {
	k, _, ct := newTestKeeper(t, nil)
	if _, _, err := k.Admit(parcelOf(t, ct), sender.Candidate{Name: "pc"}, netip.Addr{}, nil); err != nil {
		t.Fatal(err)
	}
	k.Close()
	if _, _, err := k.Admit(parcelOf(t, ct), sender.Candidate{Name: "pc"}, netip.Addr{}, nil); !errors.Is(err, api.ErrClosing) {
		t.Error(err)
	}
	if list := k.List(); len(list) != 1 || list[0].Ended == nil {
		t.Errorf("%+v", list)
	}
}

func TestSessionConfigIsChecked(t *testing.T) {
	lib, _, _ := contents.New(t, 1000, contents.Free)
	for name, change := range map[string]func(*Config){
		"group":   func(c *Config) { c.FirstGroup, c.Groups = netip.MustParseAddr("10.0.0.1"), 5 },
		"ports":   func(c *Config) { c.FirstPort, c.Ports = 65000, 1000 },
		"rate":    func(c *Config) { c.Rate = -1 },
		"wait":    func(c *Config) { c.MaxWait = -time.Second },
		"address": func(c *Config) { c.Address = netip.Addr{} },
	} {
		cfg := onLoopback()
		change(&cfg)
		if _, err := NewKeeper(cfg, lib, nil); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestFloodedGroupsAreNotUsed(t *testing.T) {
	for text, want := range map[string]bool{
		"239.0.0.1": true, "239.128.0.1": true, "224.0.0.1": true, "239.0.1.1": false, "239.192.67.1": false, "ff15::1": false,
	} {
		if got := flooded(netip.MustParseAddr(text)); got != want {
			t.Errorf("flooded(%s) = %v", text, got)
		}
	}
	cfg := Config{Interface: "lo", Address: netip.MustParseAddr("127.0.0.1"), FirstGroup: netip.MustParseAddr("239.128.0.1"), Groups: 255}
	if _, err := cfg.withDefaults(); err == nil {
		t.Error("a range of nothing but flooded groups was accepted")
	}
	cfg.Groups++ // 239.128.1.0
	if _, err := cfg.withDefaults(); err != nil {
		t.Error(err)
	}
}

// Members that joined from an address that others tell of are named.
func TestInjectorIsNamed(t *testing.T) {
	k, _, ct := newTestKeeper(t, nil)
	rogue := netip.MustParseAddr("192.0.2.66")
	for _, name := range []string{"pc-1", "pc-2"} {
		c, adm, err := k.Admit(parcelOf(t, ct), sender.Candidate{Name: name}, netip.Addr{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		from := netip.MustParseAddr("192.0.2.1")
		if name == "pc-2" {
			from = rogue
		}
		c.From(adm.Member.ID, from)
		if first := c.Injected(rogue, adm.Member.ID); first != (name == "pc-1") {
			t.Errorf("%s: first %v", name, first)
		}
	}
	list := k.List()[0].Injectors
	if len(list) != 1 || list[0].Address != rogue || list[0].Reports != 2 || len(list[0].Members) != 1 || list[0].Members[0] != "pc-2" {
		t.Errorf("%+v", list)
	}
}
