package bcd

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"www.velocidex.com/golang/regparser"

	"castpoint/boot/bcd/element"
	"castpoint/boot/bcd/hive"
	"castpoint/boot/bcd/value"
)

// These tests let registry tools of others read what this package writes:
// hivex (hivexml, hivexget, hivexsh), reglookup, chntpw's reged, and regparser.

// tool runs a foreign program and returns what it printed.
func tool(t *testing.T, stdin, dir, debianPackage, name string, args ...string) []byte {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil { // reged is in a folder that only root's PATH has
		path, err = exec.LookPath("/usr/sbin/" + name)
	}
	if err != nil {
		t.Fatalf("%s is not here: install %s", name, debianPackage)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	// reged ends with 2 when it changed nothing.
	if name != "reged" && err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.Bytes())
	}
	return stdout.Bytes()
}

func writeStore(t *testing.T, s *Store) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "BCD")
	if err := os.WriteFile(file, mustBytes(t, s), fs.FileMode(0o600)); err != nil {
		t.Fatal(err)
	}
	return file
}

// foreignStores are stores in plain characters, which every tool can print.
func foreignStores(t *testing.T) map[string]*Store {
	many := Options{ShowMenu: true, EMS: &EMS{Port: 2}, KernelDebug: true}
	for i := range 60 {
		many.Entries = append(many.Entries, Entry{
			Description: fmt.Sprint("Boot image ", i), WIM: fmt.Sprintf(`\Images\%d\boot.wim`, i),
			LoadOptions: strings.Repeat("x", 30*i),
		})
	}
	gpt := mustRamdisk(t, Options{})
	gpt.Objects[0].Set(element.Device, value.Device{Kind: value.DevicePartition, Partition: value.Partition{ID: entryID(5), Disk: entryID(6)}})
	// More objects than one list of sub-keys holds.
	crowd := mustRamdisk(t, Options{})
	for i := range 1200 {
		crowd.Objects = append(crowd.Objects, Object{ID: entryID(1000 + i), Type: TypeLoader,
			Elements: []Element{{element.Description, value.String(fmt.Sprint("object ", i))}}})
	}
	stores := map[string]*Store{
		"default": mustRamdisk(t, Options{}), "BIOS": mustRamdisk(t, Options{Firmware: BIOS}),
		"many entries": mustRamdisk(t, many), "partition": gpt, "crowd": crowd,
	}
	// One object, some, and so many that lists of sub-keys are full and overflow.
	for seed, n := range []int{1, 17, 120, 499, 501, 600} {
		stores[fmt.Sprint("random, ", n, " objects")] = plainStore(rand.New(rand.NewPCG(uint64(seed), 11)), n)
	}
	return stores
}

// plainStore is a random store in plain characters, without the registry types that
// no boot configuration has.
func plainStore(r *rand.Rand, n int) *Store {
	s := randomStore(r, n)
	plain := func(text string) string {
		return strings.Map(func(c rune) rune {
			switch {
			case c == '\\' || c > '~':
				return '_'
			case c == ' ':
				return '-'
			}
			return c
		}, text)
	}
	for i := range s.Objects {
		o := &s.Objects[i]
		o.FirmwareVariable = nil
		kept := o.Elements[:0]
		for _, e := range o.Elements {
			switch v := e.Value.(type) {
			case value.Raw:
				continue
			case value.String:
				e.Value = value.String(plain(string(v)))
			case value.Refs:
				if len(v) == 0 { // tools differ over values without bytes
					continue
				}
			case value.Integers:
				if len(v) == 0 {
					continue
				}
			}
			kept = append(kept, e)
		}
		o.Elements = kept
	}
	return s
}

// stored lists the values of a store as "key type bytes", apart from any hive.
func stored(t *testing.T, s *Store) map[string]string {
	t.Helper()
	m := map[string]string{"Description/KeyName": "1 " + utf16Hex(t, "BCD00000001")}
	for _, o := range s.Objects {
		key := "Objects/" + o.ID.String()
		m[key+"/Description/Type"] = "4 " + hex.EncodeToString(binary.LittleEndian.AppendUint32(nil, uint32(o.Type)))
		if o.FirmwareVariable != nil {
			m[key+"/Description/FirmwareVariable"] = "3 " + hex.EncodeToString(o.FirmwareVariable)
		}
		for _, e := range o.Elements {
			typ, data, err := e.Value.Encode()
			if err != nil {
				t.Fatal(err)
			}
			m[fmt.Sprintf("%s/Elements/%s/Element", key, e.ID)] = fmt.Sprintf("%d %x", typ, data)
		}
	}
	return m
}

func utf16Hex(t *testing.T, s string) string {
	t.Helper()
	b, err := hive.EncodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(b)
}

func multiHex(t *testing.T, list []string) string {
	t.Helper()
	var s string
	for _, one := range list {
		s += utf16Hex(t, one)
	}
	return s + "0000"
}

type hivexNode struct {
	Name   string      `xml:"name,attr"`
	Nodes  []hivexNode `xml:"node"`
	Values []struct {
		Type     string   `xml:"type,attr"`
		Key      string   `xml:"key,attr"`
		Encoding string   `xml:"encoding,attr"`
		Value    string   `xml:"value,attr"`
		Strings  []string `xml:"string"`
	} `xml:"value"`
}

func (n hivexNode) collect(t *testing.T, path string, into map[string]string) {
	t.Helper()
	for _, v := range n.Values {
		var text string
		switch {
		case v.Encoding == "base64":
			b, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(v.Value), ""))
			if err != nil {
				t.Fatal(err)
			}
			text = "3 " + hex.EncodeToString(b)
			if v.Type == "string" { // hivexml writes text with surrogates so
				text = "1 " + hex.EncodeToString(b)
			}
		case v.Type == "string":
			text = "1 " + utf16Hex(t, v.Value)
		case v.Type == "string-list":
			list := v.Strings
			for i, s := range list {
				if s == "" { // the terminating zeros, printed as empty strings
					list = list[:i]
					break
				}
			}
			text = "7 " + multiHex(t, list)
		case v.Type == "int32":
			n, err := strconv.ParseInt(v.Value, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			text = "4 " + hex.EncodeToString(binary.LittleEndian.AppendUint32(nil, uint32(n)))
		default:
			t.Fatalf("hivexml printed a value of type %q", v.Type)
		}
		into[path+v.Key] = text
	}
	for _, sub := range n.Nodes {
		sub.collect(t, path+sub.Name+"/", into)
	}
}

func TestHivexmlReadsStores(t *testing.T) {
	stores := foreignStores(t)
	// All characters and formats, but for raw bytes of registry types that
	// hivexml would want to print as text.
	random := randomStore(rand.New(rand.NewPCG(7, 7)), 300)
	for i := range random.Objects {
		o := &random.Objects[i]
		kept := o.Elements[:0]
		for _, e := range o.Elements {
			if _, raw := e.Value.(value.Raw); !raw {
				kept = append(kept, e)
			}
		}
		o.Elements = kept
	}
	stores["random"] = random
	for name, s := range stores {
		t.Run(name, func(t *testing.T) {
			out := tool(t, "", "", "libhivex-bin", "hivexml", writeStore(t, s))
			var hive struct {
				Root hivexNode `xml:"node"`
			}
			if err := xml.Unmarshal(out, &hive); err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			hive.Root.collect(t, "", got)
			if d := cmp.Diff(stored(t, s), got); d != "" {
				t.Errorf("hivexml reads something else:\n%s", d)
			}
		})
	}
}

func TestHivexgetReadsElement(t *testing.T) {
	file := writeStore(t, mustRamdisk(t, Options{BlockSize: 1400}))
	key := fmt.Sprintf(`Objects\%s\Elements\%s`, value.RamdiskOptions(), element.TFTPBlockSize)
	if got := tool(t, "", "", "libhivex-bin", "hivexget", file, key, "Element"); hex.EncodeToString(got) != "7805000000000000" {
		t.Errorf("hivexget prints % x", got)
	}
}

// TestHivexshEditsStore: what another program changes in our store is read.
func TestHivexshEditsStore(t *testing.T) {
	s := mustRamdisk(t, Options{})
	file := writeStore(t, s)
	script := fmt.Sprintf("cd \\Objects\\%s\\Elements\\%s\nsetval 1\nElement\nhex:3:%s\ncd ..\nadd 3600000b\ncd 3600000b\nsetval 1\nElement\nhex:3:01\ncommit\n",
		value.RamdiskOptions(), element.TFTPWindowSize, "40,00,00,00,00,00,00,00")
	tool(t, script, "", "libhivex-bin", "hivexsh", "-w", file)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Notes) != 0 {
		t.Errorf("notes %q", got.Notes)
	}
	want := mustRamdisk(t, Options{})
	o := want.Object(value.RamdiskOptions())
	o.Set(element.TFTPWindowSize, value.Integer(64))
	o.Set(element.TFTPVarWindow, value.Boolean(true))
	want.Modified = got.Modified // hivex sets the time
	if time.Since(got.Modified) > time.Hour {
		t.Logf("hivexsh left the time stamp at %s", got.Modified)
	}
	if d := cmp.Diff(canonical(want), got); d != "" {
		t.Errorf("after hivexsh the store differs:\n%s", d)
	}
}

func TestReglookupReadsStores(t *testing.T) {
	for name, s := range foreignStores(t) {
		t.Run(name, func(t *testing.T) {
			got := map[string]string{}
			out := tool(t, "", "", "reglookup", "reglookup", "-H", writeStore(t, s))
			for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
				f := strings.Split(line, ",")
				if len(f) != 4 {
					t.Fatalf("reglookup printed %q", line)
				}
				unquoted, err := url.PathUnescape(f[2])
				if err != nil {
					t.Fatal(err)
				}
				key := strings.TrimPrefix(f[0], "/")
				switch f[1] {
				case "KEY":
				case "SZ":
					got[key] = "1 " + utf16Hex(t, unquoted)
				case "BINARY":
					got[key] = "3 " + hex.EncodeToString([]byte(unquoted))
				case "DWORD":
					n, err := strconv.ParseUint(unquoted, 0, 32)
					if err != nil {
						t.Fatal(err)
					}
					got[key] = "4 " + hex.EncodeToString(binary.LittleEndian.AppendUint32(nil, uint32(n)))
				case "MULTI_SZ":
					got[key] = "7 " + multiHex(t, strings.FieldsFunc(unquoted, func(r rune) bool { return r == '|' }))
				default:
					t.Fatalf("reglookup printed a value of type %q", f[1])
				}
			}
			if d := cmp.Diff(stored(t, s), got); d != "" {
				t.Errorf("reglookup reads something else:\n%s", d)
			}
		})
	}
}

func TestRegedReadsStores(t *testing.T) {
	for name, s := range foreignStores(t) {
		t.Run(name, func(t *testing.T) {
			file := writeStore(t, s)
			dir := filepath.Dir(file)
			tool(t, "", dir, "chntpw", "reged", "-x", file, "X", `\`, "out.reg")
			out, err := os.ReadFile(filepath.Join(dir, "out.reg"))
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			// Long values go on in the next line.
			text := regexp.MustCompile(`\\\r?\n\s+`).ReplaceAllString(string(out), "")
			var key string
			for _, line := range strings.Split(strings.ReplaceAll(text, "\r", ""), "\n") {
				switch {
				case strings.HasPrefix(line, "[X"):
					key = strings.ReplaceAll(strings.TrimPrefix(strings.Trim(line, "[]X"), `\`), `\`, "/") + "/"
				case strings.HasPrefix(line, `"`):
					name, value, _ := strings.Cut(line, "=")
					got[key+strings.Trim(name, `"`)] = regValue(t, value)
				}
			}
			if d := cmp.Diff(stored(t, s), got); d != "" {
				t.Errorf("reged reads something else:\n%s", d)
			}
		})
	}
}

func TestRegparserReadsStores(t *testing.T) {
	for name, s := range foreignStores(t) {
		t.Run(name, func(t *testing.T) {
			hive, err := regparser.NewRegistry(bytes.NewReader(mustBytes(t, s)))
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			var collect func(key *regparser.CM_KEY_NODE, path string)
			collect = func(key *regparser.CM_KEY_NODE, path string) {
				for _, v := range key.Values() {
					// Of what is stored in the value itself it gives four bytes.
					data := v.ValueData().Data
					got[path+v.ValueName()] = fmt.Sprintf("%d %x", v.Type(), data[:min(v.DataSize(), int64(len(data)))])
				}
				for _, sub := range key.Subkeys() {
					collect(sub, path+sub.Name()+"/")
				}
			}
			collect(hive.OpenKey(`\`), "")
			if d := cmp.Diff(stored(t, s), got); d != "" {
				t.Errorf("regparser reads something else:\n%s", d)
			}
		})
	}
}

// TestHivexshReadsStores walks through a random store by hivexsh, key by key.
func TestHivexshReadsStores(t *testing.T) {
	s := plainStore(rand.New(rand.NewPCG(3, 11)), 40)
	file := writeStore(t, s)
	var script strings.Builder
	for _, o := range s.Objects {
		for _, e := range o.Elements {
			fmt.Fprintf(&script, "cd \\Objects\\%s\\Elements\\%s\nlsval\n", o.ID, e.ID)
		}
	}
	got := tool(t, script.String(), "", "libhivex-bin", "hivexsh", file)
	values := bytes.Count(got, []byte(`"Element"=`))
	want := 0
	for _, o := range s.Objects {
		want += len(o.Elements)
	}
	if values != want {
		t.Errorf("hivexsh finds %d elements, want %d:\n%.2000s", values, want, got)
	}
}

// regValue reads the value of a .reg file.
func regValue(t *testing.T, value string) string {
	t.Helper()
	kind, data, _ := strings.Cut(value, ":")
	switch {
	case strings.HasPrefix(value, `"`):
		return "1 " + utf16Hex(t, strings.ReplaceAll(strings.ReplaceAll(value[1:len(value)-1], `\"`, `"`), `\\`, `\`))
	case kind == "dword":
		n, err := strconv.ParseUint(data, 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		return "4 " + hex.EncodeToString(binary.LittleEndian.AppendUint32(nil, uint32(n)))
	case kind == "hex":
		return "3 " + strings.ReplaceAll(data, ",", "")
	case strings.HasPrefix(kind, "hex("):
		n, err := strconv.ParseUint(strings.Trim(kind[3:], "()"), 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%d %s", n, strings.ReplaceAll(data, ",", ""))
	}
	t.Fatalf("reged printed %q", value)
	return ""
}
