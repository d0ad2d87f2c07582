package collection

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"castpoint/agent/protocol"
	"castpoint/deploy"
	"castpoint/deploy/named"
	"castpoint/deploy/secret"
	"castpoint/deploy/sequence"
	"castpoint/internal/store"
)

// bench is what collections are of.
type bench struct {
	t       *testing.T
	dir     string
	store   *store.Store
	devices *deploy.Devices
	secrets *secret.Vault
	*Collections
	clock time.Time
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, dir: t.TempDir(), clock: time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)}
	var err error
	if b.store, err = store.Open(context.Background(), b.dir); err != nil {
		t.Fatal(err)
	}
	if b.devices, err = deploy.Open(context.Background(), deploy.Config{Store: b.store}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = b.devices.Close()
		_ = b.store.Close()
	})
	b.open()
	return b
}

// open is what a server that was killed does.
func (b *bench) open() {
	b.t.Helper()
	var err error
	if b.secrets, err = secret.Open(context.Background(), b.store, b.dir); err != nil {
		b.t.Fatal(err)
	}
	if b.Collections, err = Open(context.Background(), Config{Store: b.store, Devices: b.devices, Secrets: b.secrets, Now: func() time.Time { return b.clock }}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) device(name, mac string, more ...func(*deploy.Device)) deploy.Device {
	b.t.Helper()
	want := deploy.Device{Name: name, MACs: []string{mac}}
	for _, f := range more {
		f(&want)
	}
	d, err := b.devices.Add(b.t.Context(), want, "test")
	if err != nil {
		b.t.Fatal(err)
	}
	return d
}

func (b *bench) put(c Collection) Collection {
	b.t.Helper()
	c, err := b.Put(b.t.Context(), c)
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

func TestRules(t *testing.T) {
	b := newBench(t)
	dell := b.device("pc-1", "52:54:00:00:00:01", func(d *deploy.Device) {
		d.Groups, d.Variables = []string{"lab"}, map[string]string{"Site": "Berlin"}
	})
	blank := b.device("pc-2", "52:54:00:00:00:02")
	dell, err := b.devices.TakeInventory(dell.ID, sequence.Facts{Manufacturer: "Dell Inc.", Model: "OptiPlex 7090", Architecture: "amd64", Firmware: "uefi", Memory: 8192})
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		rule        MemberRule
		dell, blank Verdict
	}{
		{MemberRule{Name: "PC-*"}, Yes, Yes}, {MemberRule{Name: "pc-1"}, Yes, No}, {MemberRule{MAC: "52-54-*"}, Yes, Yes}, {MemberRule{Group: "lab"}, Yes, No},
		{MemberRule{Manufacturer: "dell*"}, Yes, Maybe}, {MemberRule{Manufacturer: "dell*", Model: "Lati*"}, No, Maybe}, {MemberRule{Variables: map[string]string{"Site": "B*"}}, Yes, No},
		{MemberRule{When: []string{"device.memory >= 8192"}}, Yes, Maybe}, {MemberRule{When: []string{"device.memory > 8192"}}, No, Maybe}, {MemberRule{Architecture: "amd64"}, Yes, Maybe},
		{MemberRule{Firmware: "bios"}, No, Maybe}, {MemberRule{Unknown: true}, No, No}, {MemberRule{Name: "pc-2", Model: "x"}, No, Maybe},
	} {
		if err := c.rule.normalize(); err != nil {
			t.Errorf("%d: %v", i, err)
			continue
		}
		for d, want := range map[*deploy.Device]Verdict{&dell: c.dell, &blank: c.blank} {
			if got, err := c.rule.fits(&Machine{Device: d}); err != nil || got != want {
				t.Errorf("%d: %s: %v, %v, want %v", i, d.Name, got, err, want)
			}
		}
	}
	unknown := MemberRule{Unknown: true, Architecture: "arm64"}
	for m, want := range map[*Machine]Verdict{{Architecture: "arm64"}: Yes, {Architecture: "amd64"}: No, {}: Maybe} {
		if got, _ := unknown.fits(m); got != want {
			t.Errorf("%+v: %v", m, got)
		}
	}
	for _, r := range []MemberRule{{}, {Unknown: true, Name: "x"}, {Architecture: "z80"}, {Firmware: "x"}, {When: []string{"nonsense("}}} {
		if err := r.normalize(); !errors.Is(err, named.ErrInvalid) {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

func TestCollections(t *testing.T) {
	b := newBench(t)
	one, two := b.device("pc-1", "52:54:00:00:00:01"), b.device("pc-2", "52:54:00:00:00:02")
	server := b.device("srv", "52:54:00:00:00:03", func(d *deploy.Device) { d.Protected = true })
	lab := b.put(Collection{Name: "Lab", Devices: []string{"pc-1", "52-54-00-00-00-03", "pc-1"}, Notes: " room 101 "})
	if len(lab.Devices) != 2 || lab.Notes != "room 101" || lab.ID == "" {
		t.Errorf("%+v", lab)
	}
	all := b.put(Collection{Name: "all but one", Rules: []MemberRule{{Name: "*"}}, Except: []string{"pc-2"}})
	if err := b.SetSecret(t.Context(), "lab", "Key", "hunter2"); err != nil {
		t.Fatal(err)
	}
	b.open()
	for text, want := range map[string][]string{lab.ID: {"pc-1", "srv"}, "ALL": {"pc-1", "srv"}} {
		list, untold, err := b.Members(text)
		var names []string
		for _, d := range list {
			names = append(names, d.Name)
		}
		if diff := cmp.Diff(want, names); err != nil || untold != 0 || diff != "" {
			t.Errorf("%s: %d, %v, %s", text, untold, err, diff)
		}
	}
	if got, err := b.Get("lab"); err != nil || fmt.Sprint(got.Secrets) != "[Key]" {
		t.Errorf("%+v, %v", got, err)
	}
	// Those that are protected do not count: nothing is deployed to them.
	if n := b.Size(&all); n != 1 {
		t.Errorf("size %d", n)
	}
	for _, id := range []string{one.ID, two.ID, server.ID} {
		d, _ := b.devices.Get(id)
		var names []string
		for _, c := range b.Of(&d, lab.ID) {
			names = append(names, c.Name)
		}
		want := []string{"all but one", "Lab"}
		if id == two.ID {
			want = want[1:]
		}
		if diff := cmp.Diff(want, names); diff != "" {
			t.Errorf("%s: %s", d.Name, diff)
		}
	}
	for _, c := range []Collection{{}, {Name: "x", Devices: []string{"nobody"}}, {Name: "x", Rules: []MemberRule{{}}}, {Name: "x", Variables: map[string]string{"_x": ""}}} {
		if _, err := b.Put(t.Context(), c); !errors.Is(err, named.ErrInvalid) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if _, err := b.Put(t.Context(), Collection{Name: "LAB"}); !errors.Is(err, named.ErrExists) {
		t.Error(err)
	}
	if err := b.Remove(t.Context(), lab.ID); err != nil {
		t.Fatal(err)
	}
	b.open()
	if _, err := b.Get("lab"); !errors.Is(err, named.ErrNotFound) || len(b.All()) != 1 || len(b.secrets.Names(secret.OfCollection(lab.ID))) != 0 {
		t.Errorf("%v, %+v", err, b.All())
	}
	if err := b.Remove(t.Context(), lab.ID); !errors.Is(err, named.ErrNotFound) {
		t.Error(err)
	}
}

// TestVariables: collections by name, then the one that is meant, then the device; of
// secrets those that are declared.
func TestVariables(t *testing.T) {
	b := newBench(t)
	d := b.device("pc-1", "52:54:00:00:00:01", func(d *deploy.Device) { d.Variables = map[string]string{"Of": "device"} })
	everyone := []MemberRule{{Name: "*"}}
	last := b.put(Collection{Name: "a last", Rules: everyone, Variables: map[string]string{"Of": "last", "Site": "last"}})
	b.put(Collection{Name: "b", Rules: everyone, Variables: map[string]string{"Site": "b", "Room": "b", "Password": "shown"}})
	b.put(Collection{Name: "c", Rules: everyone, Variables: map[string]string{"Room": "c"}})
	b.put(Collection{Name: "others", Rules: []MemberRule{{Name: "srv"}}, Variables: map[string]string{"Room": "others"}})
	for name, value := range map[string]string{"Key": "hunter2", "Undeclared": "nothing for it"} {
		if err := b.SetSecret(t.Context(), "c", name, value); err != nil {
			t.Fatal(err)
		}
	}
	seq, err := sequence.Parse([]byte("name: x\nvariables:\n  Key: {secret: true}\n  Password: {secret: true}\n  Default: text\n  Needed: {required: true}\nsteps: [{run-command: {command: x}}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := b.Variables(seq, &d, last.ID)
	want := map[string]protocol.VariableValue{
		"Of": {Value: "device"}, "Site": {Value: "last"}, "Room": {Value: "c"}, "Default": {Value: "text"},
		"Key": {Value: "hunter2", Secret: true}, "Password": {Value: "shown", Secret: true},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if names, _ := b.Missing(seq, last.ID); fmt.Sprint(names) != "[Needed]" {
		t.Errorf("%v", names)
	}
}
