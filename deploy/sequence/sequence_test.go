package sequence

import (
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// whole has a group, shorthand forms and most kinds of fields.
const whole = `name: install
description: New machines
architecture: [amd64]
variables:
  ComputerName: pc-1
  AdminPassword: {secret: true, required: true}
contents: [drivers-a]
steps:
  - name: Disk
    when: device.firmware == "uefi" or environment == "linux"
    steps:
      - partition-disk: {layout: windows}
  - name: Windows
    apply-image: {content: windows-11, index: 6, target: Windows}
    retry: {count: 2, delay: 10s}
    timeout: 2h
  - install-bootloader: {os: Windows, system: System}
  - windows-settings:
      target: Windows
      computer-name: ${ComputerName}
      admin-password: ${AdminPassword}
  - disabled: true
    wait: {for: 1m}
  - when: ['like(device.model, "OptiPlex*")', device.memory >= 4096]
    apply-drivers: {content: "${Drivers:-drivers-a}", target: Windows}
  - restart: {into: disk}
`

func TestParse(t *testing.T) {
	s, problems := Check([]byte(whole))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	var got []string
	for _, l := range s.Leaves() {
		kind, _ := l.Step.Action()
		got = append(got, l.Path+" "+kind)
	}
	want := []string{"1/1 partition-disk", "2 apply-image", "3 install-bootloader", "4 windows-settings", "6 apply-drivers", "7 restart"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	lookup := func(string) (string, bool) { return "", false }
	if diff := cmp.Diff([]string{"drivers-a", "windows-11"}, s.ContentNames(lookup)); diff != "" {
		t.Error(diff)
	}
	// What the agent gets is the same.
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	back := &Sequence{}
	if err := json.Unmarshal(data, back); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(back)
	if err != nil || string(again) != string(data) {
		t.Errorf("%v\n%s\n%s", err, data, again)
	}
}

func TestParseRefuses(t *testing.T) {
	const head = "name: x\nsteps:\n"
	for text, want := range map[string]string{
		"":                  "a sequence begins with name:",
		"- a":               "a sequence begins with name:",
		"name: x\nsteps: [": "line 2",
		head + "  - run-command: {command: echo ${A} x}":                                               "line 3: did not find expected ',' or '}': between",
		"name: x\nsteps: []":                                                                           "no steps",
		"namme: x\nsteps: []":                                                                          `line 1: sequence has no field "namme": did you mean "name"?`,
		"name: x\nname: y\nsteps: ":                                                                    `line 2: sequence: "name" is there already, in line 1`,
		head + "  - partition-dsk: {layout: windows}":                                                  `line 3: "partition-dsk" is neither an action nor a field of a step: did you mean "partition-disk"?`,
		head + "  - partition-disk: {layot: windows}":                                                  `line 3: partition-disk has no field "layot": did you mean "layout"?`,
		head + "  - partition-disk:\n      layout: windoze":                                            `line 4: partition-disk: layout: "windoze" is none of windows, linux, data: did you mean "windows"?`,
		head + "  - partition-disk:\n      partitions: 7":                                              `line 4: partition-disk: partitions: want a list, not "7"`,
		head + "  - partition-disk:\n      partitions: [{name: a, size: 5}]":                           `line 4: partition-disk: partitions: size: size "5": want one as in 300MiB`,
		head + "  - wait: {for: 5}":                                                                    `line 3: wait: for: "5": want a time as in 90s`,
		head + "  - wait: {for: 5s}\n    restart: {into: disk}":                                        "line 3: step restart: has 2 actions",
		head + "  - name: nothing":                                                                     "line 3: step nothing: has no action",
		head + "  - restart: {into: disk}\n    steps: [{restart: {into: disk}}]":                       "has steps and the action restart",
		head + "  - restart: {into: dsik}":                                                             `"dsik" is none of boot-image, disk: did you mean "disk"?`,
		head + "  - restart:":                                                                          "line 3: step restart: into: is missing",
		head + "  - restart: {into: disk}\n    when: device.modle == \"x\"":                            "line 4: step restart: when: condition",
		head + "  - restart: {into: disk}\n    when: \"1\"":                                            "line 4: step restart: when: condition",
		head + "  - restart: {into: disk}\n    retry: {count: 0}":                                      "want 1 to 100",
		head + "  - restart: {into: disk}\n    disabled: maybe":                                        `line 4: disabled: "maybe": want true or false`,
		head + "  - apply-image: {content: c, target: Windows}":                                        `there is no volume "Windows": no earlier step makes partitions`,
		head + "  - partition-disk: {layout: windows}\n  - apply-image: {content: c, target: Widnows}": `line 4: step apply-image: target: there is no volume "Widnows": earlier steps make Recovery, Reserved, System, Windows: did you mean "Windows"?`,
		head + "  - run-command: {command: \"echo ${a\"}":                                              "${ has no }",
		head + "  - &a\n    restart: {into: disk}\n  - *a":                                             "anchors and aliases",
		head + "  - restart: {into: disk}\n    patience: 1m":                                           "line 4: step restart: patience: is for steps that receive or send something, not for restart: want apply-image,",
		head + "  - copy-log: {}\n    patience: 9s":                                                    "line 4: step copy-log: patience: 9s: want at least 10s",
		head + "  - patience: 1m\n    steps: [{copy-log: {}}]":                                         "line 3: step group: patience: is for single steps, not for groups",
		"name: x\nvariables: {P: {secret: true, value: hunter2}}\nsteps: [{restart: {into: disk}}]":    "line 2: variables: P is secret",
	} {
		_, err := Parse([]byte(text))
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n  got  %v\n  want %s", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("a secret is in the error: %v", err)
		}
	}
}

func TestCheckWarns(t *testing.T) {
	const head = "name: x\nsteps:\n"
	for text, want := range map[string]string{
		head + "  - apply-image: {content: c, target: 'C:'}":                             "no install-bootloader step",
		head + "  - run-command: {command: 'echo ${Namme}'}":                             "line 3: warning: step run-command: command: variable Namme is declared nowhere",
		head + "  - windows-settings:\n      target: 'C:'\n      admin-password: p":      "line 5: warning: step windows-settings: admin-password: a secret stands in the sequence",
		head + "  - windows-settings:\n      target: 'C:'\n      template: <a>b & c</a>": "line 5: warning: step windows-settings: template: XML syntax error on line 1: invalid character entity & (no semicolon) of the text",
		head + "  - wait: {until: exists('/x')}":                                         "for ever",
		head + "  - apply-drivers: {content: '${D:-x}', target: 'C:'}":                   "list the contents",
	} {
		s, problems := Check([]byte(text))
		found := ""
		for _, p := range problems {
			found += p.String() + "\n"
		}
		if s == nil || !strings.Contains(found, want) {
			t.Errorf("%s\n  got  %s  want %s", text, found, want)
		}
		if _, err := Parse([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestExpand(t *testing.T) {
	vars := map[string]string{"A": "1", "Empty": "", "_Model": "m"}
	lookup := func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
	for text, want := range map[string]string{
		"": "", "plain $A": "plain $A", "${A}": "1", "x${A}y${_Model}": "x1ym", "${Empty}": "", "${None:-d}": "d", "${Empty:-d}": "d", "$${A}": "${A}", "$$": "$$",
	} {
		if got, err := Expand(text, lookup); err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"${None}", "${", "${A", "${a b}", "${}"} {
		if got, err := Expand(text, lookup); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	a := &RunPowerShell{Script: "echo ${A}", Arguments: []string{"${A}"}, Exit: Exit{Success: []int{5}}}
	got, err := ExpandAction(a, lookup)
	if diff := cmp.Diff(&RunPowerShell{Script: "echo ${A}", Arguments: []string{"1"}, Exit: Exit{Success: []int{5}}}, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if a.Arguments[0] != "${A}" {
		t.Error("the original was changed")
	}
	// What is XML stays XML, whatever a value is.
	vars["A"] = `Käse & <Söhne> "x"`
	got, err = ExpandAction(&WindowsSettings{Target: "C:", Owner: "${A}", Template: "<a b=\"${A}\">${A} ${None:-&amp;}</a>"}, lookup)
	const escaped = "Käse &amp; &lt;Söhne&gt; &#34;x&#34;"
	if diff := cmp.Diff(&WindowsSettings{Target: "C:", Owner: vars["A"], Template: `<a b="` + escaped + `">` + escaped + ` &amp;</a>`}, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if _, err := ExpandAction(&SetVariable{Name: "x", Value: "${None}"}, lookup); err == nil || !strings.Contains(err.Error(), "value: ") {
		t.Error(err)
	}
}

func TestConditions(t *testing.T) {
	s := Scope{
		Vars: map[string]string{"Role": "lab"}, Environment: EnvironmentLinux,
		Device: Facts{Model: "OptiPlex 7090", Memory: 8192, Disks: []DiskFacts{{Size: 100 << 30}}},
		Exists: func(p string) bool { return p == "/there" }, Last: Outcome{State: "done", ExitCode: 3010},
	}
	for text, want := range map[string]bool{
		`vars.Role == "lab"`: true, `vars.None == ""`: true, `vars["Role"] in ["x", "lab"]`: true,
		`device.memory >= 4096 and like(device.model, "optiplex*")`: true, `device.memory > 8192`: false,
		`exists("/there") and not exists("/gone")`: true, `len(device.disks) == 1 and device.disks[0].size > 64e9`: true,
		`last.exit_code == 3010`: true, `environment == "windows"`: false, `device.model matches "^Opti"`: true,
	} {
		if got, why, err := (Condition{text}).Holds(s); err != nil || got != want || !want && why != text {
			t.Errorf("%s: %v, %q, %v", text, got, why, err)
		}
	}
	if _, _, err := (Condition{`wmi("SELECT * FROM Win32_Battery")`}).Holds(s); err == nil || !strings.Contains(err.Error(), "no WMI in linux") {
		t.Error(err)
	}
	for _, text := range []string{"device.nothing", "vars.Role", "vars.None == nil", "1 +", "unknown()", `device.memory == "x"`} {
		if _, err := (Condition{text}).Compile(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestExtents(t *testing.T) {
	for text, want := range map[string]Extent{
		"300MiB": {Bytes: 300 << 20}, "64GB": {Bytes: 64e9}, "1.5 GiB": {Bytes: 3 << 29}, "50%": {Share: 50}, "rest": {Rest: true}, "512B": {Bytes: 512},
	} {
		got, err := ParseExtent(text)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
		if back, err := ParseExtent(got.String()); err != nil || back != got {
			t.Errorf("%s became %s: %+v, %v", text, got, back, err)
		}
	}
	for _, text := range []string{"", "5", "0%", "101%", "-1GB", "1XB", "9999999TiB", "GiB"} {
		if got, err := ParseExtent(text); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func TestTemplates(t *testing.T) {
	want := []string{"install-linux", "install-windows-from-linux", "install-windows", "prepare-capture", "refresh-windows", "wipe-disk"}
	if diff := cmp.Diff(want, Templates()); diff != "" {
		t.Error(diff)
	}
	for _, name := range Templates() {
		text, err := Template(name)
		if err != nil {
			t.Fatal(err)
		}
		s, problems := Check(text)
		for _, p := range problems {
			t.Errorf("%s: %s", name, p)
		}
		if s != nil && s.Name != name {
			t.Errorf("%s is called %s", name, s.Name)
		}
	}
	if _, err := Template("install-window"); err == nil || !strings.Contains(err.Error(), `did you mean "install-windows"?`) {
		t.Error(err)
	}
}

// TestDocumentation: every example of the documentation is right, and every action has
// one.
func TestDocumentation(t *testing.T) {
	page, err := os.ReadFile("../../docs/sequences.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := make(map[string]bool)
	blocks := regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$").FindAllStringSubmatch(string(page), -1)
	for _, b := range blocks {
		text := b[1]
		if !strings.HasPrefix(text, "name:") {
			text = "name: x\nvariables: {JoinPassword: {secret: true}}\nsteps:\n" + text
		}
		s, problems := Check([]byte(text))
		for _, p := range problems {
			if !strings.Contains(p.Text, "no volume") && !strings.Contains(p.Text, "no install-bootloader") { // an example is one step
				t.Errorf("%s\n%s", p, text)
			}
		}
		if s == nil {
			continue
		}
		for _, l := range s.Leaves() {
			kind, _ := l.Step.Action()
			shown[kind] = true
		}
	}
	for _, kind := range Kinds() {
		if !shown[kind] {
			t.Errorf("docs/sequences.md has no example of %s", kind)
		}
	}
	for _, name := range append(Templates(), BuiltIn()...) {
		if !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("docs/sequences.md does not have %s", name)
		}
	}
}

// TestSchema: the schema has every action, and every field with its words.
func TestSchema(t *testing.T) {
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Defs map[string]struct {
			Properties map[string]any
		} `json:"$defs"`
	}
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	for _, kind := range Kinds() {
		if schema.Defs["Step"].Properties[kind] == nil {
			t.Errorf("a step of the schema has no %s", kind)
		}
	}
	for name, def := range schema.Defs {
		if len(def.Properties) == 0 {
			t.Errorf("%s has no fields", name)
		}
	}
}

func FuzzCheck(f *testing.F) {
	f.Add([]byte(whole))
	for _, name := range Templates() {
		text, err := Template(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("name: x\nsteps: [{partition-disk: }, {restart}, [], {wait: {for: {}}}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, problems := Check(data)
		if s == nil && len(problems) == 0 {
			t.Fatal("a sequence that cannot be read has no problem")
		}
		if s == nil {
			return
		}
		// What is read can be sent to a machine.
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &Sequence{}); err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
	})
}

// TestFactsAreBounded: a machine says of itself what it likes.
func TestFactsAreBounded(t *testing.T) {
	f := Facts{Model: "a\x1b[2Jb\n" + strings.Repeat("x", 1000), Disks: make([]DiskFacts, 1000), NICs: []NICFacts{{Addresses: make([]string, 1000)}}}
	f.Clean()
	if len(f.Model) != maxFact || !strings.HasPrefix(f.Model, "a[2Jbx") || len(f.Disks) != maxParts || len(f.NICs[0].Addresses) != maxParts {
		t.Errorf("%q, %d disks, %d addresses", f.Model, len(f.Disks), len(f.NICs[0].Addresses))
	}
}
