package boot

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"castpoint/boot/bcd"
)

var testMAC = net.HardwareAddr{0x52, 0x54, 0x00, 0xab, 0xcd, 0xef}

const testUUID = "4c4c4544-0034-4410-8052-b4c04f4d3132"

func pxeClient(arch Arch) Client {
	return Client{MAC: testMAC, UUID: testUUID, PXE: true, Arch: arch, HasArch: true}
}

func testResolver(t testing.TB, base Settings, rules ...Rule) *Resolver {
	t.Helper()
	r, err := NewResolver(ResolverConfig{Base: base, Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func mustChange(t testing.TB, words ...string) Change {
	t.Helper()
	c, err := ParseChange(words)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What is said of a machine goes before what is said of its architecture, and
// that before what is said of all, in whatever order it was given.
func TestResolver(t *testing.T) {
	rules := []Rule{
		{MAC: testMAC, Set: mustChange(t, "chain=local", "window=4", "nx=alwayson")},
		{Archs: []Arch{ArchEFIX64}, Set: mustChange(t, "chain=grub", "block-size=1400", "nx=optout")},
		{Set: mustChange(t, "chain=ipxe", "ask=yes", "window=8", "menu=yes", "timeout=5s", "description=Windows_PE_x")},
	}
	r := testResolver(t, Settings{CA: 2023, Store: bcd.Options{Entries: []bcd.Entry{{WIM: `\a.wim`}}}}, rules...)
	other := pxeClient(ArchEFIX64)
	other.MAC, other.UUID = nil, ""
	for _, c := range []struct {
		client Client
		chain  Chain
		block  int
		window int
		nx     bcd.NXPolicy
	}{
		{pxeClient(ArchEFIX64), ChainLocal, 1400, 4, bcd.NXAlwaysOn},
		{pxeClient(ArchBIOS), ChainLocal, 0, 4, bcd.NXAlwaysOn},
		{other, ChainGRUB, 1400, 8, bcd.NXOptOut},
		{Client{}, ChainIPXE, 0, 8, bcd.NXOptIn},
	} {
		s := r.For(c.client)
		e := s.Store.Entries[0]
		if s.Chain != c.chain || s.Store.BlockSize != c.block || s.Store.WindowSize != c.window || e.NX != c.nx ||
			!s.Ask || s.CA != 2023 || !s.Store.ShowMenu || e.Description != "Windows PE x" || e.WIM != `\a.wim` {
			t.Errorf("%s: %+v", c.client, s)
		}
	}
	if s := (*Resolver)(nil).For(other); s.Chain != ChainAuto {
		t.Errorf("%+v", s)
	}
}

func TestResolverDevice(t *testing.T) {
	bad := Change{steps: []func(*Settings){func(s *Settings) { s.CA = 1999 }}}
	own := mustChange(t, "chain=local")
	r, err := NewResolver(ResolverConfig{Base: Settings{Chain: ChainIPXE}, Device: func(c Client) Change {
		switch {
		case c.UUID == testUUID:
			return own
		case c.UUID != "":
			return bad
		}
		return Change{}
	}})
	if err != nil {
		t.Fatal(err)
	}
	for uuid, want := range map[string]Chain{testUUID: ChainLocal, "": ChainIPXE, "x": ChainIPXE} {
		if s := r.For(Client{UUID: uuid}); s.Chain != want || s.CA != 0 {
			t.Errorf("%q: %+v", uuid, s)
		}
	}
}

func TestParseChange(t *testing.T) {
	file := filepath.Join(t.TempDir(), "BCD")
	store, err := bcd.Ramdisk(bcd.Options{})
	if err != nil {
		t.Fatal(err)
	}
	data, err := store.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	words := strings.Fields("chain=windows ask=yes ca=2023 bcd=" + file + " prompt=yes block-size=8192 window=4 variable-window=no menu=yes " +
		"timeout=10s description=Lab load-options=/x locale=de-DE nx=AlwaysOn test-signing=yes debug=network:192.0.2.9:50001:1.2.3.4 ems=2:9600")
	if len(words) != len(ChangeNames()) {
		t.Errorf("%d words for %d names", len(words), len(ChangeNames()))
	}
	c := mustChange(t, words...)
	if got := c.Words(); strings.Join(got, " ") != strings.Join(words, " ") {
		t.Errorf("words %q", got)
	}
	var s Settings
	c.apply(&s)
	e, d := s.Store.Entries[0], s.Store.Debugger
	if s.Chain != ChainWindows || !s.Ask || s.CA != 2023 || len(s.BCD) != len(data) || !s.Prompt || s.Store.BlockSize != 8192 || s.Store.WindowSize != 4 ||
		*s.Store.VariableWindow || !s.Store.ShowMenu || s.Store.Timeout.Seconds() != 10 || e.Description != "Lab" || e.LoadOptions != "/x" ||
		s.Store.Locale != "de-DE" || e.NX != bcd.NXAlwaysOn || !e.TestSigning || d.Host != netip.MustParseAddr("192.0.2.9") || d.HostPort != 50001 || d.Key != "1.2.3.4" ||
		*s.Store.EMS != (bcd.EMS{Port: 2, BaudRate: 9600}) {
		t.Errorf("%+v", s)
	}
	mustChange(t, "debug=no", "ems=no", "chain=auto").apply(&s)
	if s.Store.Debugger != nil || s.Store.KernelDebug || s.Store.EMS != nil || s.Chain != ChainAuto {
		t.Errorf("%+v", s)
	}
	for text, part := range map[string]string{
		"colour=red":            "there is none of this name",
		"chain":                 "want chain=VALUE",
		"chain=":                "want chain=VALUE",
		"chain=lilo":            `chain "lilo"`,
		"ask=maybe":             "yes or no",
		"ca=2012":               "2011 or 2023",
		"ca=x":                  "no number",
		"block-size=0":          "512 to 65464",
		"block-size=7":          "8 to 65464",
		"window=65536":          "window",
		"timeout=soon":          "whole seconds",
		"timeout=1500ms":        "whole seconds",
		"nx=on":                 "optin",
		"locale=deutsch!":       "locale",
		"debug=usb:1":           "neither",
		"debug=serial:5":        "serial",
		"debug=serial:x":        "no serial port",
		"debug=network:1.2":     "three parts",
		"debug=network:::::":    "three parts",
		"debug=network:a:1:b":   "ADDRESS",
		"ems=9":                 "1 to 4",
		"ems=1:17":              "baud",
		"bcd=/no/such/file":     "no such file",
		"window=4 window=5":     "given twice",
		"description=" + long(): "255",
	} {
		if _, err := ParseChange(strings.Fields(text)); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q: error %v does not say %q", text, err, part)
		}
	}
}

func long() string { return strings.Repeat("x", 256) }

func TestNewResolverRefuses(t *testing.T) {
	for name, s := range map[string]Settings{
		"chain":      {Chain: "lilo"},
		"CA":         {CA: 2012},
		"block size": {Store: bcd.Options{BlockSize: 1}},
		"store":      {BCD: []byte("regf?")},
		"large":      {BCD: make([]byte, bcd.MaxSize+1)},
	} {
		if _, err := NewResolver(ResolverConfig{Base: s}); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// FuzzChange: boot settings of one machine, as they are written by people.
func FuzzChange(f *testing.F) {
	for _, s := range []string{"chain=windows ask=yes window=4", "debug=serial:1:115200 ems=com2", "nx=AlwaysOn load-options=a_b", "timeout=99999999999", "=", "chain=", "block-size=0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseChange(strings.Fields(text))
		if err != nil {
			if strings.TrimSpace(err.Error()) == "" {
				t.Fatal("an error without words")
			}
			return
		}
		var s Settings
		c.apply(&s)
		if err := s.check(); err != nil {
			t.Fatalf("%q was taken, and makes settings that are not: %v", text, err)
		}
	})
}
