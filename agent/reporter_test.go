package agent

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestSizes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 bytes", 999: "999 bytes", 1000: "1 kB", 1500: "1.5 kB", 999_600: "1 MB", 230_893_310: "231 MB", 5e12: "5 TB"} {
		if got := Size(n); got != want {
			t.Errorf("Size(%d) = %q, want %q", n, got, want)
		}
	}
	for n, want := range map[float64]string{0: "0 bit/s", 9.4e8: "940 Mbit/s", 1e9: "1 Gbit/s", 2.5e10: "25 Gbit/s"} {
		if got := Rate(n); got != want {
			t.Errorf("Rate(%g) = %q, want %q", n, got, want)
		}
	}
}

func TestScreenReporter(t *testing.T) {
	var b bytes.Buffer
	report := ScreenReporter(&b, time.Second)
	at := time.Unix(1000, 0)
	for _, e := range []Event{
		{Kind: EventJoined, Session: "0000002a", Group: "239.192.67.1:7800", Message: "install.wim", Size: 5e9, Total: 100},
		{Kind: EventProgress, State: "waiting", Members: 2, WaitFor: 4, StartsIn: 12, Total: 100, Size: 5e9},
		{Kind: EventProgress, Time: at.Add(100 * time.Millisecond), Blocks: 7, Total: 100, Size: 5e9}, // too soon
		{Kind: EventProgress, Time: at.Add(2 * time.Second), State: "sending", Blocks: 50, Total: 100, Bytes: 25e8, Size: 5e9, Rate: 9e8, Loss: 0.013, Remaining: 22},
		{Kind: EventNoDatagrams, Message: "nothing arrives", Advice: []string{"cable", "switch"}},
		{Kind: EventDone, Blocks: 100, Total: 100, Bytes: 5e9, Size: 5e9, Rate: 8e8, Seconds: 50, Repaired: 3, Unicast: 2, Out: "x.wim", SHA256: "abc"},
	} {
		if e.Time.IsZero() {
			e.Time = at
		}
		report(e)
	}
	want := "joined session 0000002a at 239.192.67.1:7800: install.wim, 5 GB in 100 blocks\n" +
		"\r  0% [--------------------] 0 bytes of 5 GB  waiting, 2 of 4 here, starts in 12 s" +
		"\r 50% [##########----------] 2.5 GB of 5 GB  900 Mbit/s  loss 1.3%  22s left" + strings.Repeat(" ", 6) +
		"\nnothing arrives:\n  - cable\n  - switch\n" +
		"\r100% [####################] 5 GB of 5 GB  800 Mbit/s\n" +
		"x.wim: 5 GB in 50.0 s (800 Mbit/s), 3 blocks repaired, 2 by unicast\nsha256 abc, every block verified\n"
	if got := b.String(); got != want {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

func TestJSONReporterThinsOutProgress(t *testing.T) {
	var b bytes.Buffer
	report := JSONReporter(&b)
	at := time.Unix(1000, 0)
	for i := range 20 {
		report(Event{Kind: EventProgress, Time: at.Add(time.Duration(i) * 100 * time.Millisecond), Blocks: i, Total: 100})
	}
	report(Event{Kind: EventProgress, Time: at.Add(2001 * time.Millisecond), Blocks: 100, Total: 100})
	report(Event{Kind: EventDone, Time: at})
	if lines := strings.Count(b.String(), "\n"); lines != 4 {
		t.Errorf("%d lines:\n%s", lines, b.String())
	}
}
