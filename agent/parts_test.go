package agent

import (
	"bytes"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"castpoint/multicast"
)

func TestParseCmdline(t *testing.T) {
	b, err := ParseCmdline("BOOT_IMAGE=x castpoint.token=old castpoint.server=https://192.0.2.1:8443 castpoint.pin=sha256:ab quiet castpoint.token=new castpoint.mac=52:54:00:00:00:01 castpoint.after=shell\n")
	if want := (Boot{"https://192.0.2.1:8443", "sha256:ab", "new", "52:54:00:00:00:01", false}); err != nil || b != want {
		t.Errorf("%+v, %v", b, err)
	}
	for _, missing := range []string{"castpoint.server", "castpoint.pin", "castpoint.token"} {
		var words []string
		for _, name := range []string{"castpoint.server", "castpoint.pin", "castpoint.token"} {
			if name != missing {
				words = append(words, name+"=x")
			}
		}
		if _, err := ParseCmdline(strings.Join(words, " ")); ExitCode(err) != ExitUsage || !strings.Contains(err.Error(), missing) {
			t.Errorf("%s: %v", missing, err)
		}
	}
}

func TestPromptWord(t *testing.T) {
	for word, want := range map[string]bool{"": false, "castpoint.prompt": true, "castpoint.prompt=1": true, "castpoint.prompt=0": false} {
		b, err := ParseCmdline("castpoint.server=s castpoint.pin=p castpoint.token=t " + word)
		if err != nil || b.Prompt != want {
			t.Errorf("%q: %v, %v", word, b.Prompt, err)
		}
	}
}

// A machine takes its server's time when its own is far off, once.
func TestClock(t *testing.T) {
	for _, c := range []struct {
		ahead time.Duration
		fails error
		says  string
	}{
		{0, nil, ""},
		{-time.Second, nil, ""},
		{56 * 365 * 24 * time.Hour, nil, "clock set to "},
		{-time.Hour, nil, "clock set to "},
		{time.Hour, os.ErrPermission, "the clock is wrong by 1h0m"},
	} {
		var set []time.Time
		said := ""
		o := RunOptions{Say: func(s string) { said += s }, SetClock: func(now time.Time) error {
			set = append(set, now)
			return c.fails
		}}
		cl := &client{}
		cl.noteTime(time.Now(), time.Now().Add(c.ahead).UTC().Format(http.TimeFormat))
		cl.noteTime(time.Now(), "yesterday") // says nothing
		setClock(cl, o)
		if !strings.HasPrefix(said, c.says) || (said == "") != (c.says == "") || (len(set) == 1) != (c.says != "") {
			t.Errorf("%v ahead: said %q, set to %v", c.ahead, said, set)
		}
		if len(set) == 1 && time.Until(set[0].Add(-c.ahead)).Abs() > clockTolerance {
			t.Errorf("%v ahead: set to %v", c.ahead, set[0])
		}
	}
}

const igmpText = "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n" +
	"1\tlo        :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n" +
	"2\teth0      :     2      V2\n\t\t\t\t0143C0EF     1 0:00000000\t\t1\n\t\t\t\t010000E0     1 0:00000000\t\t0\n" +
	"3\teth00     :     1      V3\n\t\t\t\t0243C0EF     1 0:00000000\t\t0\n"

func TestParseIGMP(t *testing.T) {
	version, groups := parseIGMP(igmpText, "eth0")
	want := []netip.Addr{netip.MustParseAddr("239.192.67.1"), netip.MustParseAddr("224.0.0.1")}
	if version != "V2" || !slices.Equal(groups, want) {
		t.Error(version, groups)
	}
	if version, groups := parseIGMP(igmpText, "eth1"); version != "" || groups != nil {
		t.Error(version, groups)
	}
}

func FuzzParseIGMP(f *testing.F) {
	f.Add(igmpText)
	f.Add("2\teth0")
	f.Add("\t\t\t\tzz\n\n2 eth0: 1 V3\n\t")
	f.Fuzz(func(_ *testing.T, text string) { parseIGMP(text, "eth0") })
}

func FuzzParseCmdline(f *testing.F) {
	f.Add("castpoint.server=a castpoint.pin=b castpoint.token=c castpoint.mac")
	f.Add("castpoint.server==")
	f.Fuzz(func(t *testing.T, text string) {
		if b, err := ParseCmdline(text); err == nil && (b.Server == "" || b.Pin == "" || b.Token == "") {
			t.Errorf("%q: %+v", text, b)
		}
	})
}

func TestExplainSilence(t *testing.T) {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	p := multicast.Params{Group: netip.MustParseAddrPort("239.192.67.1:7800"), Feedback: netip.MustParseAddrPort("127.0.0.1:7800")}
	text := strings.Join(explainSilence(lo, p, facts{igmp: strings.ReplaceAll(igmpText, "eth0 ", "lo   "), rpFilter: "1", rpAll: "0", firewall: "nftables"}, 5*time.Second), "\n")
	for _, part := range []string{"waited 5s on interface lo (127.0.0.1)", "239.192.67.1 port 7800", "rp_filter is 1", "nftables", "querier", "PIM"} {
		if !strings.Contains(text, part) {
			t.Errorf("does not say %q:\n%s", part, text)
		}
	}
	text = strings.Join(explainSilence(lo, p, facts{igmp: "1\tlo        :     1      V3\n", rpFilter: "2", rpAll: "1"}, time.Second), "\n")
	if !strings.Contains(text, "is not joined on lo") || strings.Contains(text, "rp_filter") {
		t.Error(text)
	}
}

// scratch is a folder that goes with the test. Wine 8 does not know the call that
// T.TempDir removes it with.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "castpoint-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Error(err)
		}
		for _, e := range entries {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				t.Error(err)
			}
		}
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestState(t *testing.T) {
	path := filepath.Join(scratch(t), "x"+suffixState)
	if s, err := readState(path); s != nil || err != nil {
		t.Fatal(s, err)
	}
	want := state{Format: stateFormat, Server: "s", Pin: "p", Ticket: "t", SHA256: "h", Size: 5}
	if err := want.write(path); err != nil {
		t.Fatal(err)
	}
	if s, err := readState(path); err != nil || *s != want {
		t.Fatal(s, err)
	}
	for _, text := range []string{"", "{", `{"format":99,"ticket":"t"}`, `{"format":1}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := readState(path); s != nil || err != nil {
			t.Errorf("%q: %v, %v", text, s, err)
		}
	}
}

func TestStatePath(t *testing.T) {
	if got := statePath("/data/x.wim", false); got != "/data/x.wim.part.json" {
		t.Error(got)
	}
}

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
