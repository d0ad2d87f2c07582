package disk

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

func recordKey() []byte { return bytes.Repeat([]byte{7}, KeySize) }

func newMemoryDisk() *memoryDisk { return &memoryDisk{b: make([]byte, 2<<20), left: -1} }

func TestRecord(t *testing.T) {
	d := newMemoryDisk()
	if _, err := ReadRecord(d, "r1", recordKey()); !errors.Is(err, ErrNoRecord) {
		t.Errorf("an empty disk: %v", err)
	}
	for i := range 5 {
		want := []byte(fmt.Sprintf("state %d with a secret", i))
		if err := WriteRecord(d, "r1", recordKey(), want); err != nil {
			t.Fatal(err)
		}
		got, err := ReadRecord(d, "r1", recordKey())
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("read %q, %v; want %q", got, err, want)
		}
	}
	if bytes.Contains(d.b, []byte("secret")) {
		t.Error("the disk shows the state")
	}
	if run, err := ReadRun(d); err != nil || run != "r1" {
		t.Errorf("run %q, %v", run, err)
	}
	if _, err := ReadRecord(d, "r2", recordKey()); !errors.Is(err, ErrNoRecord) {
		t.Errorf("another run: %v", err)
	}
	if _, err := ReadRecord(d, "r1", bytes.Repeat([]byte{8}, KeySize)); err == nil || errors.Is(err, ErrNoRecord) {
		t.Errorf("another key: %v", err)
	}
	if err := WriteRecord(d, "r1", recordKey(), make([]byte, MaxRecord+1)); err == nil {
		t.Error("too large a state was written")
	}
	if err := WriteRecord(d, "r1", recordKey(), make([]byte, MaxRecord)); err != nil {
		t.Error(err)
	}
	for _, b := range [][]byte{d.b[:recordOffset], d.b[recordOffset+2*slotSize:]} {
		if !bytes.Equal(b, make([]byte, len(b))) {
			t.Error("something was written outside of the record's place")
		}
	}
	if err := EraseRecord(d); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadRun(d); !errors.Is(err, ErrNoRecord) {
		t.Errorf("erased: %v", err)
	}
	if !bytes.Equal(d.b, make([]byte, len(d.b))) {
		t.Error("something of the state is left on the disk")
	}
}

// TestRecordTornWrite pulls the power after every number of bytes: what was there
// before, or what was written, is there afterwards.
func TestRecordTornWrite(t *testing.T) {
	older, newer := bytes.Repeat([]byte("old "), 3000), bytes.Repeat([]byte("new "), 3000)
	for cut := 0; cut < 16384; cut += 509 {
		d := newMemoryDisk()
		for range 3 {
			if err := WriteRecord(d, "r", recordKey(), older); err != nil {
				t.Fatal(err)
			}
		}
		d.left = cut
		err := WriteRecord(d, "r", recordKey(), newer)
		got, readErr := ReadRecord(d, "r", recordKey())
		if readErr != nil || !bytes.Equal(got, older) && !bytes.Equal(got, newer) || err == nil && !bytes.Equal(got, newer) {
			t.Fatalf("power gone after %d bytes (write: %v): read %.20q, %v", cut, err, got, readErr)
		}
		d.left = -1
		if err := WriteRecord(d, "r", recordKey(), newer); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadRecord(d, "r", recordKey()); err != nil || !bytes.Equal(got, newer) {
			t.Fatalf("after that: %.20q, %v", got, err)
		}
	}
}

// FuzzRecord reads slots that anybody may have written.
func FuzzRecord(f *testing.F) {
	d := newMemoryDisk()
	if err := WriteRecord(d, "run", recordKey(), []byte("state")); err != nil {
		f.Fatal(err)
	}
	f.Add(d.b[recordOffset : recordOffset+512])
	f.Add([]byte("castpoint record"))
	f.Add(bytes.Repeat([]byte{0xff}, 256))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := newMemoryDisk()
		copy(d.b[recordOffset:], b[:min(len(b), 2*slotSize)])
		if _, err := ReadRecord(d, "run", recordKey()); err != nil && !errors.Is(err, ErrNoRecord) && err.Error() == "" {
			t.Error("an error without a text")
		}
		if err := WriteRecord(d, "run", recordKey(), []byte("next")); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadRecord(d, "run", recordKey()); err != nil || string(got) != "next" {
			t.Fatalf("after what is there a record is %q, %v", got, err)
		}
	})
}
