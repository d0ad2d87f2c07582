package deploy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"castpoint/boot"
	"castpoint/internal/event"
	"castpoint/internal/store"
	"castpoint/test/clock"
)

const (
	uuidA = "4c4c4544-0042-3510-8052-b3c04f4b4e32"
	uuidB = "4c4c4544-0042-3510-8052-b3c04f4b4e33"
	macA  = "52:54:00:00:00:0a"
	macB  = "52:54:00:00:00:0b"
	macX  = "00:e0:4c:00:00:01" // of a dock
)

// bench is a collection of devices with what it says.
type bench struct {
	*Devices
	store *store.Store

	mu   sync.Mutex
	told []event.Event
}

func newBench(t testing.TB, dir string, cfg Config) *bench {
	t.Helper()
	b := &bench{}
	var err error
	if b.store, err = store.Open(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	cfg.Store = b.store
	cfg.Note = func(e event.Event) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.told = append(b.told, e)
	}
	if b.Devices, err = Open(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.stop)
	return b
}

func (b *bench) stop() {
	_ = b.Close()
	_ = b.store.Close()
}

// heard says whether something with all the words was told.
func (b *bench) heard(words ...string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.ContainsFunc(b.told, func(e event.Event) bool {
		for _, w := range words {
			if !strings.Contains(e.Message, w) {
				return false
			}
		}
		return true
	})
}

func (b *bench) add(t testing.TB, d Device) Device {
	t.Helper()
	got, err := b.Add(t.Context(), d, "test")
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func client(mac, uuid string) boot.Client {
	c := boot.Client{UUID: uuid, PXE: true, Arch: boot.ArchEFIX64, HasArch: true, Interface: "eth0"}
	if mac != "" {
		c.MAC, _ = net.ParseMAC(mac)
	}
	return c
}

// TestWhoIsIt: which device a client is taken for, by what it shows.
func TestWhoIsIt(t *testing.T) {
	b := newBench(t, t.TempDir(), Config{SharedMACs: []string{"00-E0-4C"}, SharedUUIDs: []string{"99999999-0000-0000-0000-000000000000"}})
	b.add(t, Device{Name: "a", UUID: uuidA, MACs: []string{macA}})
	b.add(t, Device{Name: "b", UUID: uuidB, MACs: []string{macB}})
	b.add(t, Device{Name: "c", MACs: []string{"52:54:00:00:00:0c"}})
	const other = "5b5b4544-0042-3510-8052-b3c04f4b4e34"
	for _, c := range []struct {
		name, mac, uuid, want string
		conflict              bool
	}{
		{"both", macA, uuidA, "a", false},
		{"UUID with another card", "52:54:00:00:00:99", uuidA, "a", false},
		{"UUID in the other byte order", "", "44454c4c-4200-1035-8052-b3c04f4b4e32", "a", false},
		{"UUID in capitals", "", strings.ToUpper(uuidA), "a", false},
		{"MAC alone", macA, "", "a", false},
		{"MAC with a UUID that many machines have", macA, "03000200-0400-0500-0006-000700080009", "a", false},
		{"MAC with a UUID that the setting names", macA, "99999999-0000-0000-0000-000000000000", "a", false},
		{"MAC of a device without UUID", "52:54:00:00:00:0c", other, "c", false},
		{"UUID of one, MAC of the other", macB, uuidA, "a", true},
		{"MAC of one and a UUID of nobody", macA, other, "", true},
		{"dock", macX, "", "", false},
		{"dock on a known machine", macX, uuidB, "b", false},
		{"nobody", "52:54:00:00:00:77", other, "", false},
		{"nothing", "", "", "", false},
	} {
		r, why := b.Explain(client(c.mac, c.uuid))
		got := ""
		if r.Device != nil {
			got = r.Device.Name
		}
		m := b.index.match(client(c.mac, c.uuid))
		if got != c.want || (m.conflict() != "") != c.conflict {
			t.Errorf("%s: device %q, want %q; conflict %q; because %q", c.name, got, c.want, m.conflict(), why)
		}
		if len(why) == 0 {
			t.Errorf("%s: no reason", c.name)
		}
	}
}

// TestPolicies: what machines get that nobody has approved, and the others.
func TestPolicies(t *testing.T) {
	for _, c := range []struct {
		policy          Policy
		state           State // "" is not on record
		silent, waiting bool
	}{
		{PolicyServe, "", false, false}, {PolicyServe, StateWaiting, false, false}, {PolicyServe, StateKnown, false, false}, {PolicyServe, StateDenied, true, false},
		{PolicyIgnore, "", true, false}, {PolicyIgnore, StateWaiting, true, false}, {PolicyIgnore, StateKnown, false, false}, {PolicyIgnore, StateImported, false, false}, {PolicyIgnore, StateDenied, true, false},
		{PolicyApprove, "", false, true}, {PolicyApprove, StateWaiting, false, true}, {PolicyApprove, StateKnown, false, false}, {PolicyApprove, StateImported, false, false}, {PolicyApprove, StateDenied, true, false},
	} {
		b := newBench(t, t.TempDir(), Config{Unknown: c.policy})
		if c.state != "" {
			b.add(t, Device{MACs: []string{macA}, State: c.state})
		}
		r := b.Rule(client(macA, uuidA)).Record
		if (r.Silent != "") != c.silent || r.Waiting != c.waiting || r.Denied != (c.state == StateDenied) {
			t.Errorf("%s, %q: %+v", c.policy, c.state, r)
		}
	}
	if _, err := Open(t.Context(), Config{Unknown: "maybe", Store: newBench(t, t.TempDir(), Config{}).store}); !errors.Is(err, ErrInvalid) {
		t.Errorf("policy maybe: %v", err)
	}
}

// TestApproval: a machine that asks is put on record, waits, is approved, and is
// still approved after a restart.
func TestApproval(t *testing.T) {
	dir := t.TempDir()
	b := newBench(t, dir, Config{Unknown: PolicyApprove})
	for range 3 {
		b.See(client(macA, uuidA))
	}
	b.See(client("", "")) // nobody that could be approved
	b.See(boot.Client{MAC: client(macB, "").MAC})
	p := b.List(Query{State: StateWaiting})
	if p.Total != 1 || p.Devices[0].UUID != uuidA || p.Devices[0].MACs[0] != macA || p.Devices[0].Seen.Interface != "eth0" {
		t.Fatalf("waiting: %+v", p)
	}
	if !b.heard("waits for approval", p.Devices[0].ID) || len(b.told) != 1 {
		t.Errorf("told %+v", b.told)
	}
	if r := b.Rule(client("", "")); r.Record.Silent == "" {
		t.Error("a machine without identity is to be approved")
	}
	got, err := b.Approve(t.Context(), p.Devices[0].ID, "pc-17", "test")
	if err != nil || got.State != StateKnown || got.Name != "pc-17" {
		t.Fatalf("%+v, %v", got, err)
	}
	// A card that is new comes on the record.
	b.See(client(macB, uuidA))
	b.stop()
	b = newBench(t, dir, Config{Unknown: PolicyApprove})
	got, err = b.Find("PC-17")
	if err != nil || !slices.Equal(got.MACs, []string{macA, macB}) || got.State != StateKnown || got.FirstSeen.IsZero() {
		t.Fatalf("after a restart: %+v, %v", got, err)
	}
	if _, err := b.Deny(t.Context(), got.ID, "test"); err != nil {
		t.Fatal(err)
	}
	if r := b.Rule(client(macB, "")); !r.Record.Denied {
		t.Errorf("denied: %+v", r.Record)
	}
}

// TestWaitingIsBounded: made-up machines do not fill memory and disk.
func TestWaitingIsBounded(t *testing.T) {
	b := newBench(t, t.TempDir(), Config{Unknown: PolicyApprove})
	const most = 10_000 // as docs/threat-model.md says
	for i := range most + 50 {
		b.See(client(fmt.Sprintf("52:54:00:%02x:%02x:%02x", i>>16, i>>8&0xff, i&0xff), ""))
	}
	if n := b.Count()[StateWaiting]; n != most {
		t.Errorf("%d wait", n)
	}
	if r := b.Rule(client("52:54:01:00:00:01", "")); !strings.Contains(r.Record.Silent, "no more are taken") {
		t.Errorf("one more: %+v", r.Record)
	}
	if !b.heard("no more are taken") {
		t.Error("it was not told")
	}
}

// TestConflictsAreTold: once, not with every packet.
func TestConflictsAreTold(t *testing.T) {
	b := newBench(t, t.TempDir(), Config{})
	a := b.add(t, Device{Name: "a", UUID: uuidA})
	b.add(t, Device{Name: "b", MACs: []string{macB}})
	b.told = nil
	for range 5 {
		b.See(client(macB, uuidA))
	}
	if len(b.told) != 1 || !b.heard("the UUID counts", "device a", "device b") {
		t.Errorf("told %+v", b.told)
	}
	if got, _ := b.Get(a.ID); len(got.MACs) != 0 {
		t.Errorf("a took the MAC of b: %v", got.MACs)
	}
}

func TestChangesAreChecked(t *testing.T) {
	b := newBench(t, t.TempDir(), Config{SharedMACs: []string{"00:e0:4c"}})
	b.add(t, Device{Name: "a", UUID: uuidA, MACs: []string{macA}})
	one := b.add(t, Device{Name: "b", UUID: uuidB, MACs: []string{macB}, Protected: true})
	delay := 99
	for name, c := range map[string]struct {
		d    Device
		want error
	}{
		"no identity":   {Device{Name: "x"}, ErrInvalid},
		"name":          {Device{Name: "a b", MACs: []string{"52:54:00:00:00:01"}}, ErrInvalid},
		"name taken":    {Device{Name: "A", MACs: []string{"52:54:00:00:00:01"}}, ErrExists},
		"UUID taken":    {Device{UUID: uuidA}, ErrExists},
		"UUID swapped":  {Device{UUID: otherOrder(uuidA)}, ErrExists},
		"UUID of many":  {Device{UUID: "03000200-0400-0500-0006-000700080009"}, ErrInvalid},
		"MAC taken":     {Device{MACs: []string{"5254.0000.000a"}}, ErrExists},
		"MAC shared":    {Device{MACs: []string{macX}}, ErrInvalid},
		"MAC of groups": {Device{MACs: []string{"01:00:5e:00:00:01"}}, ErrInvalid},
		"MAC twice":     {Device{MACs: []string{"52:54:00:00:00:01", "52-54-00-00-00-01"}}, ErrInvalid},
		"state":         {Device{MACs: []string{"52:54:00:00:00:01"}, State: "new"}, ErrInvalid},
		"variable":      {Device{MACs: []string{"52:54:00:00:00:01"}, Variables: map[string]string{"1x": "y"}}, ErrInvalid},
		"chain":         {Device{MACs: []string{"52:54:00:00:00:01"}, Boot: BootSettings{Settings: []string{"chain=lilo"}}}, ErrInvalid},
		"loader":        {Device{MACs: []string{"52:54:00:00:00:01"}, Boot: BootSettings{Loader: "../x"}}, ErrInvalid},
		"delay":         {Device{MACs: []string{"52:54:00:00:00:01"}, Boot: BootSettings{Delay: &delay}}, ErrInvalid},
	} {
		if _, err := b.Add(t.Context(), c.d, "test"); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if err := b.Remove(t.Context(), one.ID, "test"); !errors.Is(err, ErrProtected) {
		t.Errorf("remove a protected device: %v", err)
	}
	b.See(client("52:54:00:00:00:33", uuidB))
	if got, _ := b.Get(one.ID); len(got.MACs) != 1 {
		t.Errorf("a protected device learnt a MAC: %v", got.MACs)
	}
	for text, want := range map[string]error{"a": nil, uuidB: nil, "52-54-00-00-00-0B": nil, "5254000000": ErrNotFound, "52:54:00:00": ErrAmbiguous, "4c4c": ErrAmbiguous, one.ID[:6]: nil, "zz": ErrNotFound} {
		if _, err := b.Find(text); !errors.Is(err, want) {
			t.Errorf("find %s: %v, want %v", text, err, want)
		}
	}
}

// TestFailedWrite: what the database did not take is not in memory either.
func TestFailedWrite(t *testing.T) {
	b := newBench(t, t.TempDir(), Config{})
	one := b.add(t, Device{Name: "a", MACs: []string{macA}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Deny(ctx, one.ID, "test"); err == nil {
		t.Fatal("written without a database")
	}
	if got, _ := b.Get(one.ID); got.State != StateKnown {
		t.Errorf("state %s", got.State)
	}
	if _, err := b.Add(ctx, Device{MACs: []string{macB}}, "test"); err == nil || b.List(Query{}).Total != 1 {
		t.Errorf("added: %v", err)
	}
	if _, err := b.ImportCSV(ctx, []byte("name,mac\na2,"+macA+"\nz,"+macB+"\n"), "test"); err == nil || b.List(Query{}).Total != 1 {
		t.Errorf("imported: %v", err)
	}
	if got, _ := b.Find(macA); got.Name != "a" {
		t.Errorf("name %s", got.Name)
	}
}

func TestCSV(t *testing.T) {
	b := newBench(t, t.TempDir(), Config{})
	b.add(t, Device{Name: "old", MACs: []string{macA}, Notes: "kept", State: StateWaiting})
	table := "\xef\xbb\xbfName;UUID;MAC;Groups;var.OWNER\r\n" +
		"old;" + uuidA + ";" + macA + ";lab;ann\r\n" +
		"new;;52-54-00-00-00-01 525400000002;lab room-2;\r\n"
	got, err := b.ImportCSV(t.Context(), []byte(table), "test")
	if err != nil || got != (Imported{Added: 1, Changed: 1}) {
		t.Fatalf("%+v, %v", got, err)
	}
	old, _ := b.Find("old")
	if old.Notes != "kept" || old.UUID != uuidA || old.Variables["OWNER"] != "ann" || old.State != StateKnown {
		t.Errorf("old: %+v", old)
	}
	fresh, _ := b.Find("new")
	if fresh.State != StateImported || len(fresh.MACs) != 2 || !slices.Equal(fresh.Groups, []string{"lab", "room-2"}) {
		t.Errorf("new: %+v", fresh)
	}
	if got, err := b.ImportCSV(t.Context(), []byte(table), "test"); err != nil || got != (Imported{Same: 2}) {
		t.Errorf("again: %+v, %v", got, err)
	}
	var out bytes.Buffer
	if err := WriteCSV(&out, b.All()); err != nil {
		t.Fatal(err)
	}
	other := newBench(t, t.TempDir(), Config{})
	if got, err := other.ImportCSV(t.Context(), out.Bytes(), "test"); err != nil || got.Added != 2 {
		t.Fatalf("%+v, %v:\n%s", got, err, out.String())
	}
	var again bytes.Buffer
	if err := WriteCSV(&again, other.All()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(out.String(), again.String()); diff != "" {
		t.Errorf("exported, imported and exported:\n%s", diff)
	}
	for name, c := range map[string]struct {
		table string
		words []string
	}{
		"empty":       {"", []string{"empty"}},
		"column":      {"name,colour\n", []string{"line 1", `"colour"`}},
		"columns":     {"name,mac\nx\n", []string{"line 2", "1 columns"}},
		"MAC":         {"name,mac\nx,52:54:00:00:00:50\ny,zz\n", []string{"line 3", "MAC"}},
		"two at once": {"name,mac\nx,52:54:00:00:00:50\ny,52:54:00:00:00:50\n", []string{"line 3", "line 2"}},
		"joins two":   {"uuid,mac\n" + uuidA + ",52:54:00:00:00:01\n", []string{"line 2", "2 devices"}},
		"quotes":      {"name,mac\n\"x,1\n", []string{"line"}},
		"no address":  {"name\nnobody\n", []string{"line 2", "UUID or a MAC"}},
		"state":       {"mac,state\n52:54:00:00:00:50,good\n", []string{"line 2", "state"}},
	} {
		n := b.List(Query{}).Total
		_, err := b.ImportCSV(t.Context(), []byte(c.table), "test")
		if err == nil || b.List(Query{}).Total != n {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, w := range c.words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v: want %q", name, err, w)
			}
		}
	}
}

// FuzzImportCSV: a table of whatever is either imported or refused with a line.
func FuzzImportCSV(f *testing.F) {
	f.Add([]byte("name,uuid,mac\nx," + uuidA + "," + macA + "\n"))
	f.Add([]byte("name;mac;var.X\nx;" + macA + ";1\n"))
	f.Add([]byte("\"na\"me\n\x00,,"))
	dir := f.TempDir()
	b := &bench{}
	var err error
	if b.store, err = store.Open(context.Background(), filepath.Join(dir)); err != nil {
		f.Fatal(err)
	}
	if b.Devices, err = Open(context.Background(), Config{Store: b.store}); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(b.stop)
	f.Fuzz(func(t *testing.T, table []byte) {
		if _, err := b.ImportCSV(t.Context(), table, "fuzz"); err != nil {
			return
		}
		var out bytes.Buffer
		if err := WriteCSV(&out, b.All()); err != nil {
			t.Fatal(err)
		}
		if got, err := b.ImportCSV(t.Context(), out.Bytes(), "fuzz"); err != nil || got.Added != 0 {
			t.Fatalf("what was exported is not what is there: %+v, %v\n%s", got, err, out.Bytes())
		}
		for _, one := range b.All() {
			if err := b.Remove(t.Context(), one.ID, "fuzz"); err != nil && !errors.Is(err, ErrProtected) {
				t.Fatal(err)
			}
		}
	})
}

// TestConcurrentUse: packets, edits and lists at once; for the race detector.
func TestConcurrentUse(t *testing.T) {
	b := newBench(t, t.TempDir(), Config{Unknown: PolicyApprove})
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for i := range 100 {
				c := client(fmt.Sprintf("52:54:00:00:%02x:%02x", w, i), "")
				b.See(c)
				b.Rule(c)
				if i%20 == 0 {
					if one, err := b.Find(c.MAC.String()); err != nil {
						t.Error(err)
					} else if _, err := b.Approve(t.Context(), one.ID, fmt.Sprintf("pc-%d-%d", w, i), "test"); err != nil {
						t.Error(err)
					}
				}
				b.List(Query{Limit: 10})
			}
		})
	}
	all.Wait()
	n := b.Count()
	if n[StateKnown] != 20 || n[StateWaiting] != 380 {
		t.Errorf("%v", n)
	}
}

// BenchmarkRule is what every packet costs with 10 000 devices on record.
func BenchmarkRule(b *testing.B) {
	all := many(b)
	c := client("52:54:00:00:13:88", "")
	b.ResetTimer()
	for b.Loop() {
		all.Rule(c)
	}
}

// BenchmarkList is a page out of 10 000 devices.
func BenchmarkList(b *testing.B) {
	all := many(b)
	b.ResetTimer()
	for b.Loop() {
		all.List(Query{Search: "pc-5"})
	}
}

func many(b *testing.B) *bench {
	b.Helper()
	all := newBench(b, b.TempDir(), Config{})
	var table strings.Builder
	table.WriteString("name,uuid,mac\n")
	for i := range 10_000 {
		fmt.Fprintf(&table, "pc-%d,4c4c4544-0042-3510-8052-%012x,52:54:00:00:%02x:%02x\n", i, i, i>>8, i&0xff)
	}
	if _, err := all.ImportCSV(b.Context(), []byte(table.String()), "bench"); err != nil {
		b.Fatal(err)
	}
	return all
}

// TestCSVProtected: what office programs write for yes and no is understood, and what is
// wrong is named with its line.
func TestCSVProtected(t *testing.T) {
	b := newBench(t, t.TempDir(), Config{})
	table := "name,mac,protected\na,52:54:00:00:00:01,yes\nb,52:54:00:00:00:02,No\nc,52:54:00:00:00:03,TRUE\nd,52:54:00:00:00:04,\n"
	if _, err := b.ImportCSV(t.Context(), []byte(table), "test"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"a": true, "b": false, "c": true, "d": false} {
		if d, err := b.Find(name); err != nil || d.Protected != want {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
	if _, err := b.ImportCSV(t.Context(), []byte("name,protected\nb,maybe\n"), "test"); err == nil || !strings.Contains(err.Error(), `line 2: not usable: protected "maybe"`) {
		t.Error(err)
	}
	_, err := b.ImportCSV(t.Context(), []byte("name,protected\na,no\n"), "test")
	if !errors.Is(err, ErrProtected) || strings.Contains(err.Error(), "castpoint") {
		t.Errorf("how to go on is said by the API, once: %v", err)
	}
}

// TestExpiryWhileTheClockIsSet: who waits for approval goes when nobody has seen him for
// a month, but not by a clock that was just set.
func TestExpiryWhileTheClockIsSet(t *testing.T) {
	steady := false
	b := newBench(t, t.TempDir(), Config{Unknown: PolicyApprove, Steady: func() bool { return steady }})
	b.See(client(macA, uuidA))
	waiting := func() int { return b.Count()[StateWaiting] }
	b.now = func() time.Time { return clock.Set(time.Now(), 400*24*time.Hour) }
	if b.expire(); waiting() != 1 {
		t.Fatal("gone when the clock was set ahead")
	}
	b.now = time.Now // and right again
	steady = true
	if b.expire(); waiting() != 1 {
		t.Fatal("gone on the day on which it asked")
	}
	b.now = func() time.Time { return clock.Set(time.Now(), -20*365*24*time.Hour) }
	b.See(client(macA, uuidA))
	b.now = func() time.Time { return time.Now().Add(25 * time.Hour) } // right again, and believed
	if b.expire(); waiting() != 1 {
		t.Fatal("gone a day after it asked")
	}
	b.now = func() time.Time { return time.Now().Add(waitingLife + time.Hour) }
	if b.expire(); waiting() != 0 {
		t.Fatal("there after more than a month")
	}
}
