package lease

import (
	"bytes"
	"net/netip"
	"testing"
	"time"
)

// FuzzJournal: whatever is in the file of leases, all of it is read in order, and what is
// no lease is counted.
func FuzzJournal(f *testing.F) {
	line, err := appendLine(nil, record{Lease: Lease{Address: netip.AddrFrom4([4]byte{192, 0, 2, 10}), Key: "mac:x", Expires: time.Unix(1e9, 0).UTC()}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append([]byte(journalHeader+"\n"), line...))
	f.Add(append([]byte(journalHeader+"\n"+string(line[:20])+"\n"), line[:len(line)-1]...))
	f.Add(append([]byte(journalHeader+"\n"), bytes.Repeat([]byte("x"), 2*maxLine+1)...))
	f.Add([]byte("castpoint leases 0\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		whole := 0
		damaged, err := readJournal(bytes.NewReader(b), func(record) { whole++ })
		if err == nil && whole+damaged > bytes.Count(b, []byte("\n"))+len(b)/maxLine+1 {
			t.Fatalf("%d and %d of %q", whole, damaged, b)
		}
	})
}

// FuzzJournalLine: a damaged line is passed over, a whole one comes back.
func FuzzJournalLine(f *testing.F) {
	line, err := appendLine(nil, record{Lease: Lease{Address: netip.AddrFrom4([4]byte{192, 0, 2, 10}), Key: "mac:x", Expires: time.Unix(1e9, 0).UTC()}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line)
	f.Add(line[:len(line)-1])
	f.Add([]byte("00000000 {}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, ok := parseLine(b)
		if !ok {
			return
		}
		again, err := appendLine(nil, r)
		if err != nil {
			t.Fatal(err)
		}
		if back, ok := parseLine(again); !ok || back.Address != r.Address || back.Key != r.Key || !back.Expires.Equal(r.Expires) {
			t.Fatalf("%+v came back as %+v", r, back)
		}
	})
}
