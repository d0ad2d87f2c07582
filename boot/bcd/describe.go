package bcd

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strings"
	"time"
	"unicode"

	"castpoint/boot/bcd/element"
	"castpoint/boot/bcd/hive"
	"castpoint/boot/bcd/value"
)

// Describe prints the store in words, as bcdedit /enum all /v does: objects
// under headings, the boot manager first, one element a line. Objects with a
// well-known name are called by GUID and name, partitions by what identifies
// them, elements without a known name by their number, and what cannot be
// understood by its bytes. The error is the writer's.
func (s *Store) Describe(w io.Writer) error {
	b := bufio.NewWriter(w)
	for _, note := range s.Notes {
		fmt.Fprintf(b, "note: %s\n", printable(note))
	}
	if len(s.Notes) > 0 {
		fmt.Fprintln(b)
	}
	for i, o := range s.sorted() {
		if i > 0 {
			fmt.Fprintln(b)
		}
		title := o.title()
		fmt.Fprintf(b, "%s\n%s\n", title, strings.Repeat("-", len([]rune(title))))
		line := func(name, text string) {
			if len(name) > 23 {
				fmt.Fprintf(b, "%s\n%-24s%s\n", name, "", printable(text))
				return
			}
			fmt.Fprintf(b, "%-24s%s\n", name, printable(text))
		}
		line("identifier", s.nameOf(o.ID, false))
		if o.title() != o.Type.String() {
			line("type", fmt.Sprintf("%s (0x%08x)", o.Type, uint32(o.Type)))
		}
		for _, e := range o.Elements {
			name := element.Name(o.Type.application(), e.ID)
			if name == "" {
				name = "0x" + e.ID.String()
			}
			for _, text := range s.words(o.Type, e) {
				line(name, text)
				name = ""
			}
		}
		if o.FirmwareVariable != nil {
			line("firmwarevariable", fmt.Sprintf("%d bytes", len(o.FirmwareVariable)))
		}
	}
	return b.Flush()
}

// sorted gives the objects in the order in which people look for them.
func (s *Store) sorted() []*Object {
	rank := func(o *Object) int {
		switch o.Type {
		case TypeFirmwareBootManager:
			return 0
		case TypeBootManager:
			return 1
		case TypeFirmwareEntry:
			return 2
		case TypeLoader:
			return 3
		}
		switch o.Type.kind() {
		case kindApplication:
			return 4
		case kindInherit:
			return 5
		case kindDevice:
			return 6
		}
		return 7
	}
	list := make([]*Object, len(s.Objects))
	for i := range s.Objects {
		list[i] = &s.Objects[i]
	}
	sort.SliceStable(list, func(i, j int) bool { return rank(list[i]) < rank(list[j]) })
	return list
}

// title is the heading of an object.
func (o *Object) title() string {
	if _, title := o.ID.WellKnown(); title != "" {
		return title
	}
	return o.Type.String()
}

// nameOf prints an object's GUID and alias. A reference to one without an alias
// also says what is there.
func (s *Store) nameOf(id value.GUID, reference bool) string {
	name := id.String()
	alias, title := id.WellKnown()
	switch {
	case alias != "":
		return name + " " + alias
	case !reference:
		return name
	case title != "":
		return name + " " + title
	}
	o := s.Object(id)
	if o == nil {
		return name + " (not in this store)"
	}
	if text, ok := o.Element(element.Description).(value.String); ok {
		return name + " " + string(text)
	}
	return name
}

// words prints a value; lists give a line for each member.
func (s *Store) words(t ObjectType, e Element) []string {
	switch v := e.Value.(type) {
	case value.String:
		return []string{string(v)}
	case value.Ref:
		return []string{s.nameOf(value.GUID(v), true)}
	case value.Refs:
		lines := make([]string, 0, len(v))
		for _, id := range v {
			lines = append(lines, s.nameOf(id, true))
		}
		return orNone(lines)
	case value.Integer:
		if word := element.Word(t.application(), e.ID, uint64(v)); word != "" {
			return []string{word}
		}
		return []string{number(uint64(v))}
	case value.Integers:
		lines := make([]string, 0, len(v))
		for _, n := range v {
			// Lists hold ids of elements, or pages of memory.
			lines = append(lines, fmt.Sprintf("0x%x", n))
		}
		return orNone(lines)
	case value.Boolean:
		if v {
			return []string{"Yes"}
		}
		return []string{"No"}
	case fmt.Stringer: // Device, Raw
		return []string{v.String()}
	}
	return []string{"(no value)"}
}

func orNone(lines []string) []string {
	if len(lines) == 0 {
		return []string{"(none)"}
	}
	return lines
}

// number prints addresses and masks so that they can be recognised.
func number(v uint64) string {
	if v > 1<<24 {
		return fmt.Sprintf("0x%x", v)
	}
	return fmt.Sprint(v)
}

// printable keeps a hostile store from writing to the terminal's controls.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || unicode.IsGraphic(r) && !unicode.Is(unicode.Bidi_Control, r) {
			return r
		}
		return '\ufffd'
	}, s)
}

// The JSON form of a store.
type (
	storeJSON struct {
		Modified *time.Time   `json:"modified,omitempty"`
		Notes    []string     `json:"notes,omitempty"`
		Objects  []objectJSON `json:"objects"`
	}
	objectJSON struct {
		ID               value.GUID    `json:"id"`
		Alias            string        `json:"alias,omitempty"`
		Title            string        `json:"title"`
		Type             string        `json:"type"` // 0x and eight digits
		Elements         []elementJSON `json:"elements"`
		FirmwareVariable string        `json:"firmware_variable,omitempty"` // hexadecimal
	}
	elementJSON struct {
		ID     string `json:"id"` // 0x and eight digits
		Name   string `json:"name,omitempty"`
		Format string `json:"format"`
		Value  any    `json:"value"`
		Text   string `json:"text"` // as Describe prints it, lists joined by ", "
	}
	deviceJSON struct {
		Kind      string         `json:"kind"`
		Path      string         `json:"path,omitempty"`
		Options   *value.GUID    `json:"options,omitempty"`
		Partition *partitionJSON `json:"partition,omitempty"`
		Element   string         `json:"element,omitempty"`
		Parent    *deviceJSON    `json:"parent,omitempty"`
	}
	partitionJSON struct {
		Table     string      `json:"table"`               // gpt or mbr
		Disk      *value.GUID `json:"disk,omitempty"`      // gpt
		ID        *value.GUID `json:"id,omitempty"`        // gpt
		Signature string      `json:"signature,omitempty"` // mbr, eight digits
		Offset    uint64      `json:"offset,omitempty"`    // mbr, bytes
	}
	rawJSON struct {
		Type    string `json:"type"`
		Data    string `json:"data"` // hexadecimal
		Problem string `json:"problem,omitempty"`
	}
)

// MarshalJSON gives what Describe prints, for programs: objects in the same
// order, elements with id, name, format, value and text.
func (s *Store) MarshalJSON() ([]byte, error) {
	out := storeJSON{Notes: s.Notes, Objects: []objectJSON{}}
	// Times outside the years that JSON can say are not times.
	if y := s.Modified.Year(); !s.Modified.IsZero() && y >= 1601 && y <= 9999 {
		out.Modified = &s.Modified
	}
	for _, o := range s.sorted() {
		alias, _ := o.ID.WellKnown()
		j := objectJSON{ID: o.ID, Alias: alias, Title: o.title(), Elements: []elementJSON{},
			Type: fmt.Sprintf("0x%08x", uint32(o.Type)), FirmwareVariable: hex.EncodeToString(o.FirmwareVariable)}
		for _, e := range o.Elements {
			j.Elements = append(j.Elements, elementJSON{
				ID: "0x" + e.ID.String(), Name: element.Name(o.Type.application(), e.ID), Format: e.ID.Format().String(),
				Value: jsonValue(e.Value), Text: strings.Join(s.words(o.Type, e), ", "),
			})
		}
		out.Objects = append(out.Objects, j)
	}
	return json.Marshal(out)
}

func jsonValue(v value.Value) any {
	switch v := v.(type) {
	case value.Device:
		return jsonDevice(v)
	case value.Ref:
		return value.GUID(v)
	case value.Raw:
		return rawJSON{Type: hive.Type(v.Type).String(), Data: hex.EncodeToString(v.Data), Problem: v.Problem}
	}
	return v // strings, numbers and lists are what they are
}

func jsonDevice(d value.Device) *deviceJSON {
	j := &deviceJSON{Kind: d.Kind.String(), Path: d.Path}
	if !d.Options.IsZero() {
		j.Options = &d.Options
	}
	switch d.Kind {
	case value.DevicePartition:
		if p := d.Partition; p.MBR {
			j.Partition = &partitionJSON{Table: "mbr", Signature: fmt.Sprintf("%08x", p.Signature), Offset: p.Offset}
		} else {
			j.Partition = &partitionJSON{Table: "gpt", Disk: &p.Disk, ID: &p.ID}
		}
	case value.DeviceLocate:
		if d.Path == "" {
			j.Element = "0x" + d.Element.String()
		}
	}
	if d.Parent != nil {
		j.Parent = jsonDevice(*d.Parent)
	}
	return j
}
