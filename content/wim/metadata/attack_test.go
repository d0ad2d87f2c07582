package metadata_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"castpoint/content/wim/format"
	"castpoint/content/wim/metadata"
	"castpoint/content/wim/overlay"
	"castpoint/test/wimfile"
)

// TestTreeAttacks puts hostile directory trees into an image.
func TestTreeAttacks(t *testing.T) {
	put64 := func(at int, v uint64) func([]byte) {
		return func(b []byte) { binary.LittleEndian.PutUint64(b[at:], v) }
	}
	put16 := func(at int, v uint16) func([]byte) {
		return func(b []byte) { binary.LittleEndian.PutUint16(b[at:], v) }
	}
	with := func(children ...*wimfile.Node) []byte { return wimfile.Metadata(wimfile.Folder("", children...), nil) }
	changed := func(change func([]byte)) []byte { return with(&wimfile.Node{Name: "victim", Change: change}) }
	self := wimfile.Folder("self")
	above := wimfile.Folder("above", self)
	self.Subdir = func(f map[*wimfile.Node]int64) int64 { return f[above] }
	loop := wimfile.Folder("loop", &wimfile.Node{Name: "file"})
	top := wimfile.Folder("", loop)
	loop.Subdir = func(f map[*wimfile.Node]int64) int64 { return f[top] }
	twin := wimfile.Folder("twin", wimfile.Folder("a", &wimfile.Node{Name: "1"}, &wimfile.Node{Name: "2"}, &wimfile.Node{Name: "3"}))
	twin2 := wimfile.Folder("twin2")
	twin2.Subdir = func(f map[*wimfile.Node]int64) int64 { return f[twin] }
	deep := wimfile.Folder("last")
	for range metadata.MaxDepth {
		deep = wimfile.Folder("d", deep)
	}
	security := func(total, count uint32, sizes ...uint64) []byte {
		b := binary.LittleEndian.AppendUint32(nil, total)
		b = binary.LittleEndian.AppendUint32(b, count)
		for _, s := range sizes {
			b = binary.LittleEndian.AppendUint64(b, s)
		}
		return wimfile.Metadata(wimfile.Folder(""), b)
	}
	good := with(&wimfile.Node{Name: "file"})
	root8 := 8 // offset of the root's entry without security descriptors

	for name, c := range map[string]struct {
		meta []byte
		text string
	}{
		"empty":                     {nil, "too short"},
		"four bytes":                {[]byte{8, 0, 0, 0}, "too short"},
		"no root":                   {[]byte{8, 0, 0, 0, 0, 0, 0, 0}, "no root"},
		"root is the end":           {make([]byte, 100), "no root"},
		"root is a file":            {wimfile.Metadata(&wimfile.Node{Name: ""}, nil), "no root"},
		"root is a junction":        {wimfile.Metadata(&wimfile.Node{Children: []*wimfile.Node{}, Change: func(b []byte) { b[wimfile.EntryAttributes+1] = metadata.AttributeReparsePoint >> 8 }}, nil), "no root"},
		"folder in itself":          {wimfile.Metadata(wimfile.Folder("", above), nil), "back into itself"},
		"folder that is the root":   {wimfile.Metadata(top, nil), "back into itself"},
		"two folders, one content":  {with(twin, twin2), "back into itself"},
		"deep":                      {with(deep), "deeper"},
		"dot dot":                   {with(&wimfile.Node{Name: ".."}), `".."`},
		"dot":                       {with(wimfile.Folder(".")), `"."`},
		"slash":                     {with(&wimfile.Node{Name: "../../etc/passwd"}), "passwd"},
		"backslash":                 {with(&wimfile.Node{Name: `..\evil`}), "evil"},
		"zero in the name":          {with(&wimfile.Node{Name: "a\x00b"}), "name"},
		"no name":                   {with(&wimfile.Node{Name: ""}), "without a name"},
		"one name twice":            {with(&wimfile.Node{Name: "b"}, &wimfile.Node{Name: "a"}, &wimfile.Node{Name: "b"}), "twice"},
		"one name twice, side":      {with(&wimfile.Node{Name: "b"}, &wimfile.Node{Name: "b"}), "twice"},
		"half surrogates twice":     {with(&wimfile.Node{UTF16: []byte{0, 0xd8}}, &wimfile.Node{UTF16: []byte{0, 0xd8}}), "twice"},
		"odd name":                  {changed(put16(wimfile.EntryNameBytes, 5)), "names of 5"},
		"odd short name":            {changed(put16(wimfile.EntryShortBytes, 1)), "and 1"},
		"name longer than entry":    {changed(put16(wimfile.EntryNameBytes, 60000)), "names of 60000"},
		"short name longer":         {changed(put16(wimfile.EntryShortBytes, 65534)), "65534"},
		"entry too short":           {changed(put64(wimfile.EntryLength, 9)), "entry of 9 bytes"},
		"entry beyond the end":      {changed(put64(wimfile.EntryLength, 100000)), "100000"},
		"entry of all memory":       {changed(put64(wimfile.EntryLength, math.MaxUint64)), "18446744073709551615"},
		"entry of all memory, less": {changed(put64(wimfile.EntryLength, math.MaxInt64)), "9223372036854775807"},
		"65535 streams":             {changed(put16(wimfile.EntryStreams, math.MaxUint16)), "stream"},
		"stream too short":          {with(&wimfile.Node{Name: "f", Streams: []metadata.Stream{{}}, Change: func(b []byte) { b[metadata.Align8(int64(binary.LittleEndian.Uint64(b)))] = 9 }}), "stream entry of 9"},
		"stream of all memory":      {with(&wimfile.Node{Name: "f", Streams: []metadata.Stream{{}}, Change: func(b []byte) { put64(0, math.MaxUint64)(b[metadata.Align8(int64(binary.LittleEndian.Uint64(b))):]) }}), "stream entry"},
		"stream name too long": {with(&wimfile.Node{Name: "f", Streams: []metadata.Stream{{}}, Change: func(b []byte) {
			put16(wimfile.EntryStreamNameBytes, 65534)(b[metadata.Align8(int64(binary.LittleEndian.Uint64(b))):])
		}}), "65534"},
		"children beyond the end":  {with(&wimfile.Node{Name: "d", Children: []*wimfile.Node{}, Subdir: func(map[*wimfile.Node]int64) int64 { return 1 << 40 }}), "beyond the end"},
		"children at the end":      {with(&wimfile.Node{Name: "d", Children: []*wimfile.Node{}, Subdir: func(map[*wimfile.Node]int64) int64 { return int64(len(with(wimfile.Folder("d")))) }}), "do not end"},
		"children at minus one":    {with(&wimfile.Node{Name: "d", Children: []*wimfile.Node{}, Subdir: func(map[*wimfile.Node]int64) int64 { return -1 }}), "beyond the end"},
		"folder does not end":      {good[:len(good)-8], "do not end"},
		"cut":                      {good[:root8+50], "bytes with"},
		"security beyond the end":  {security(1<<20, 0), "descriptors"},
		"four billion descriptors": {security(8, math.MaxUint32), "descriptors"},
		"descriptor too long":      {security(24, 1, 9), "descriptor 0"},
		"descriptor of all memory": {security(24, 2, math.MaxUint64, 1), "descriptor"},
		"descriptor of all, one":   {security(24, 1, math.MaxUint64), "descriptor 0"},
	} {
		t.Run(name, func(t *testing.T) {
			b := wimfile.NewImage(c.meta).Bytes(nil)
			r, err := wimfile.OpenBytes(b)
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			if len(c.meta) > 0 { // an empty one would be an entry without content
				_, err = r.Image(1)
			} else {
				_, err = metadata.Parse(c.meta)
			}
			if !errors.Is(err, format.ErrCorrupt) || !strings.Contains(err.Error(), c.text) {
				t.Fatalf("have %v, want %q", err, c.text)
			}
			if strings.Count(err.Error(), format.ErrCorrupt.Error()) != 1 {
				t.Errorf("says the same twice: %v", err)
			}
			if d := time.Since(start); d > 2*time.Second {
				t.Errorf("took %v", d)
			}
			if _, err := overlay.NewBase(bytes.NewReader(b), int64(len(b)), 1); !errors.Is(err, format.ErrCorrupt) {
				t.Errorf("as a base: %v", err)
			}
		})
	}
}
