package run

import (
	"os"
	"strings"
	"testing"
	"time"

	"castpoint/agent"
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
		if _, err := ParseCmdline(strings.Join(words, " ")); agent.ExitCode(err) != agent.ExitUsage || !strings.Contains(err.Error(), missing) {
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
		o := Options{Say: func(s string) { said += s }, SetClock: func(now time.Time) error {
			set = append(set, now)
			return c.fails
		}}
		setClock(c.ahead, o)
		if !strings.HasPrefix(said, c.says) || (said == "") != (c.says == "") || (len(set) == 1) != (c.says != "") {
			t.Errorf("%v ahead: said %q, set to %v", c.ahead, said, set)
		}
		if len(set) == 1 && time.Until(set[0].Add(-c.ahead)).Abs() > clockTolerance {
			t.Errorf("%v ahead: set to %v", c.ahead, set[0])
		}
	}
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
