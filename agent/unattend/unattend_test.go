package unattend

import (
	"encoding/base64"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"castpoint/deploy/sequence"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name string, d *Document) {
	t.Helper()
	got, err := d.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err, ": go test -update writes it")
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s differs:\n%s", name, d)
	}
}

func everything() *sequence.WindowsSettings {
	return &sequence.WindowsSettings{ComputerName: "PC-17", Owner: "Ada & Bob", Organization: "Example", ProductKey: "AAAAA-BBBBB-CCCCC-DDDDD-EEEEE",
		TimeZone: "W. Europe Standard Time", UILanguage: "de-DE", InputLocale: "0407:00000407", AdminPassword: "pass<word>"}
}

func network() *sequence.NetworkSettings {
	return &sequence.NetworkSettings{
		Domain: &sequence.Domain{Name: "example.com", OU: "OU=Clients,DC=example,DC=com", Account: `EXAMPLE\join`, Password: "secret"},
		Adapters: []sequence.Adapter{
			{Addresses: []string{"192.0.2.10/24", "2001:db8::10/64"}, Gateway: "192.0.2.1", DNS: []string{"192.0.2.53", "192.0.2.54"}, DNSSuffix: "example.com"},
			{MAC: "52:54:00:aa:bb:cc", Gateway: "2001:db8::1"},
		},
	}
}

func TestWhole(t *testing.T) {
	d := New("amd64")
	d.Windows(everything())
	if err := d.Network(network(), "52:54:00:00:00:01"); err != nil {
		t.Fatal(err)
	}
	d.Command("drivers", `cmd /c pnputil /add-driver C:\Drivers\*.inf /subdirs /install`)
	d.Command("other", "cmd /c echo")
	golden(t, "whole.xml", d)
}

// TestTwice: a step that runs again, on what it wrote before, changes nothing.
func TestTwice(t *testing.T) {
	apply := func(d *Document) string {
		d.Windows(everything())
		if err := d.Network(network(), "52:54:00:00:00:01"); err != nil {
			t.Fatal(err)
		}
		d.Command("drivers", "a")
		b, err := d.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	once := apply(New("amd64"))
	d, err := Parse(once, "amd64")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(once, apply(d)); diff != "" {
		t.Errorf("the second time differs:\n%s", diff)
	}
}

// TestTemplate keeps what a template has.
func TestTemplate(t *testing.T) {
	d, err := Parse(`<?xml version="1.0"?>
<unattend xmlns="urn:schemas-microsoft-com:unattend">
  <settings pass="specialize">
    <component name="Microsoft-Windows-Shell-Setup" processorArchitecture="amd64" publicKeyToken="31bf3856ad364e35" language="neutral" versionScope="nonSxS">
      <ComputerName>old</ComputerName>
      <CopyProfile>true</CopyProfile>
    </component>
  </settings>
</unattend>`, "amd64")
	if err != nil {
		t.Fatal(err)
	}
	no := false
	d.Windows(&sequence.WindowsSettings{ComputerName: "new", SkipWelcome: &no})
	if err := d.Network(&sequence.NetworkSettings{Workgroup: "HOME"}, ""); err != nil {
		t.Fatal(err)
	}
	golden(t, "template.xml", d)
}

func TestRefuses(t *testing.T) {
	for _, text := range []string{"", "<a", "<other/>", "not XML", "<unattend></other>"} {
		if _, err := Parse(text, "amd64"); err == nil {
			t.Errorf("%q was read", text)
		}
	}
	if err := New("amd64").Network(&sequence.NetworkSettings{Adapters: []sequence.Adapter{{Gateway: "192.0.2.1"}}}, ""); err == nil || !strings.Contains(err.Error(), "MAC") {
		t.Errorf("an adapter that is not known: %v", err)
	}
}

// TestHide is the form that Windows' own tools write.
func TestHide(t *testing.T) {
	b, err := base64.StdEncoding.DecodeString(hide("pw", "AdministratorPassword"))
	if err != nil || strings.ReplaceAll(string(b), "\x00", "") != "pwAdministratorPassword" || len(b) != 2*len("pwAdministratorPassword") {
		t.Errorf("%q, %v", b, err)
	}
}

// FuzzParse reads templates that anybody may have written.
func FuzzParse(f *testing.F) {
	d := New("amd64")
	d.Windows(everything())
	b, err := d.Bytes()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(b))
	f.Add("<unattend><settings pass='oobeSystem'><component/></settings></unattend>")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := Parse(text, "amd64")
		if err != nil {
			return
		}
		d.Windows(everything())
		if _, err := d.Bytes(); err != nil {
			t.Error(err)
		}
	})
}
