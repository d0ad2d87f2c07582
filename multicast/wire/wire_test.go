package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The bytes below are those of docs/protocol.md.
const (
	goldenHeader = "11020085a1b2c3d40000000000000102000003e8cafef00d00abcdef"
	goldenBeacon = "0203000400004e20000000003b9aca000000001000002710000100000007"
	goldenReport = "1300000001020304000000000000000500000007"
)

func TestHeader(t *testing.T) {
	h := Header{Type: TypeSymbol, Epoch: 2, Symbol: 133, Session: 0xa1b2c3d4, Number: 258, Block: 1000, Object: 0xcafef00d, Sent: 0xabcdef}
	b := h.Append(nil)
	if want := unhex(t, goldenHeader); !bytes.Equal(b, want) {
		t.Fatalf("header is\n%x, want\n%x", b, want)
	}
	full := append(b, make([]byte, TagSize)...)
	got, err := ParseHeader(full)
	if err != nil || got != h {
		t.Fatalf("parsed %+v, %v; want %+v", got, err, h)
	}
	for n := range len(full) {
		if _, err := ParseHeader(full[:n]); !errors.Is(err, ErrShort) {
			t.Fatalf("header cut to %d bytes: %v, want %v", n, err, ErrShort)
		}
	}
	for first, want := range map[byte]error{0x01: ErrVersion, 0x21: ErrVersion, 0x10: ErrType, 0x13: ErrType, 0x1f: ErrType} {
		full[0] = first
		if _, err := ParseHeader(full); !errors.Is(err, want) {
			t.Errorf("first byte %#x: %v, want %v", first, err, want)
		}
	}
}

func TestBeacon(t *testing.T) {
	m := Beacon{State: StateSending, Epoch: 3, Members: 4, ReportInterval: 20000, Rate: 1e9, WaitMembers: 16, WaitMillis: 10000, Moved: []uint32{7}}
	b := m.Append(nil)
	if want := unhex(t, goldenBeacon); !bytes.Equal(b, want) {
		t.Fatalf("beacon is\n%x, want\n%x", b, want)
	}
	if got, err := ParseBeacon(append(b, 1, 2, 3)); err != nil || !reflect.DeepEqual(got, m) {
		t.Fatalf("parsed %+v, %v; want %+v", got, err, m)
	}
	for n := range len(b) {
		if _, err := ParseBeacon(b[:n]); !errors.Is(err, ErrShort) {
			t.Fatalf("beacon cut to %d bytes: %v, want %v", n, err, ErrShort)
		}
	}
	for _, state := range []byte{0, 5, 255} {
		b[0] = state
		if _, err := ParseBeacon(b); !errors.Is(err, ErrFormat) {
			t.Errorf("state %d: %v, want %v", state, err, ErrFormat)
		}
	}
	b[0] = byte(StateSending)
	b[24] = 0xff
	if _, err := ParseBeacon(b); !errors.Is(err, ErrFormat) {
		t.Errorf("65281 members: %v, want %v", err, ErrFormat)
	}
}

func TestReport(t *testing.T) {
	h := ReportHeader{Session: 0x01020304, Number: 5, Member: 7}
	b := h.Append(nil)
	if want := unhex(t, goldenReport); !bytes.Equal(b, want) {
		t.Fatalf("report header is\n%x, want\n%x", b, want)
	}
	full := append(b, make([]byte, TagSize)...)
	if got, err := ParseReportHeader(full); err != nil || got != h {
		t.Fatalf("parsed %+v, %v; want %+v", got, err, h)
	}
	for n := range len(full) {
		if _, err := ParseReportHeader(full[:n]); !errors.Is(err, ErrShort) {
			t.Fatalf("report header cut to %d bytes: %v, want %v", n, err, ErrShort)
		}
	}

	runs := []Run{{Gap: 3, Count: 1, Deficit: 2}, {Gap: 0, Count: 300, Deficit: 128}, {Gap: 696, Count: 5, Deficit: 255}}
	r := Report{Highest: 99, Received: 77, QueueDelay: 1500, Backlog: 8, Complete: 699, From: 0, To: 1005}
	for _, run := range runs {
		var ok bool
		if r.Runs, ok = AppendRun(r.Runs, run); !ok {
			t.Fatal("no room for three runs")
		}
	}
	body := r.Append(nil)
	got, err := ParseReport(body, 1005)
	if err != nil {
		t.Fatal(err)
	}
	rest := got.Runs
	for i, want := range runs {
		var run Run
		if run, rest, err = NextRun(rest); err != nil || run != want {
			t.Fatalf("run %d is %+v, %v; want %+v", i, run, err, want)
		}
	}
	if len(rest) != 0 {
		t.Errorf("%d bytes are left after the last run", len(rest))
	}
	if got.Highest != r.Highest || got.Received != r.Received || got.QueueDelay != r.QueueDelay ||
		got.Backlog != r.Backlog || got.Complete != r.Complete || got.From != r.From || got.To != r.To {
		t.Errorf("parsed %+v, want %+v", got, r)
	}
}

func TestReportRefused(t *testing.T) {
	ok := Report{Highest: 1, Received: 1, To: 10}
	run := func(gap, count uint32, deficit uint8) []byte {
		b, _ := AppendRun(nil, Run{gap, count, deficit})
		return b
	}
	for name, change := range map[string]func(*Report){
		"range beyond the object":     func(r *Report) { r.To = 11 },
		"range the wrong way round":   func(r *Report) { r.From, r.To = 5, 4 },
		"more complete than there is": func(r *Report) { r.Complete = 11 },
		"run beyond the range":        func(r *Report) { r.Runs = run(5, 6, 1) },
		"gap beyond the range":        func(r *Report) { r.Runs = run(11, 1, 1) },
		"gap of four billion":         func(r *Report) { r.Runs = run(1<<32-1, 1<<31, 1) },
		"run without deficit":         func(r *Report) { r.Runs = []byte{0, 0, 0} },
		"half a run":                  func(r *Report) { r.Runs = []byte{0, 0} },
		"varint without end":          func(r *Report) { r.Runs = bytes.Repeat([]byte{0x80}, 20) },
	} {
		r := ok
		change(&r)
		if _, err := ParseReport(r.Append(nil), 10); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v, want %v", name, err, ErrFormat)
		}
	}
	if _, err := ParseReport(make([]byte, reportFixed-1), 10); !errors.Is(err, ErrShort) {
		t.Errorf("short report: %v, want %v", err, ErrShort)
	}
}

func TestRunsFill(t *testing.T) {
	var b []byte
	n := 0
	for {
		next, ok := AppendRun(b, Run{Gap: 200, Count: 200, Deficit: 9})
		if !ok {
			if len(next) != len(b) {
				t.Error("a run that did not fit was left half written")
			}
			break
		}
		b = next
		n++
	}
	r := Report{To: uint32(n * 400), Runs: b}
	h := ReportHeader{}
	if size := len(r.Append(h.Append(nil))) + TagSize; size > MaxReport {
		t.Errorf("full report has %d bytes, at most %d may be sent", size, MaxReport)
	}
	if _, err := ParseReport(r.Append(nil), uint32(n*400)); err != nil {
		t.Error(err)
	}
}

func FuzzHeader(f *testing.F) {
	f.Add(append(unhex(f, goldenHeader), make([]byte, TagSize)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHeader(b)
		if err != nil {
			return
		}
		if again := h.Append(nil); !bytes.Equal(again, b[:HeaderSize]) {
			t.Errorf("%x parses as %+v, which is written as %x", b[:HeaderSize], h, again)
		}
	})
}

func FuzzBeacon(f *testing.F) {
	f.Add(unhex(f, goldenBeacon))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseBeacon(b)
		if again := m.Append(nil); err == nil && !bytes.Equal(again, b[:len(again)]) {
			t.Errorf("%x is written as %x", b, again)
		}
	})
}

func FuzzReport(f *testing.F) {
	runs, _ := AppendRun(nil, Run{1, 2, 3})
	f.Add((&Report{Highest: 5, To: 100, Runs: runs}).Append(nil), uint32(100))
	f.Fuzz(func(t *testing.T, b []byte, blocks uint32) {
		r, err := ParseReport(b, blocks)
		if err != nil {
			return
		}
		at := uint64(r.From)
		for rest := r.Runs; len(rest) > 0; {
			var run Run
			if run, rest, err = NextRun(rest); err != nil {
				t.Fatalf("accepted report has a bad run: %v", err)
			}
			at += uint64(run.Gap) + uint64(run.Count)
		}
		if at > uint64(blocks) {
			t.Errorf("accepted report speaks of block %d of %d", at, blocks)
		}
	})
}

func FuzzReportHeader(f *testing.F) {
	f.Add(append(unhex(f, goldenReport), make([]byte, TagSize)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := ParseReportHeader(b); err == nil {
			if again := h.Append(nil); !bytes.Equal(again[4:], b[4:ReportHeaderSize]) {
				t.Errorf("%x is written as %x", b[:ReportHeaderSize], again)
			}
		}
	})
}

// TestRunVector checks the vector of docs/protocol.md: what blocks lack.
func TestRunVector(t *testing.T) {
	runs, _ := AppendRun(nil, Run{Gap: 3, Count: 1, Deficit: 2})
	runs, _ = AppendRun(runs, Run{Gap: 0, Count: 300, Deficit: 128})
	if want := []byte{3, 0, 2, 0, 0xab, 2, 0x80}; !bytes.Equal(runs, want) {
		t.Errorf("runs are %x, want %x", runs, want)
	}
}
