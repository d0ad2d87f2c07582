package platform

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"castpoint/agent"
)

var update = flag.Bool("update", false, "write testdata anew")

// screens are in the test program, which also runs where there is no source.
//
//go:embed testdata/*.golden
var screens embed.FS

func TestRender(t *testing.T) {
	receiving := agent.Event{Kind: agent.EventProgress, State: "sending", Blocks: 50, Total: 100, Bytes: 25e8, Size: 5e9, Rate: 9e8, Loss: 0.013, Remaining: 22}
	said := []string{
		"this machine receives Windows 11 lab; it goes to \\run\\win11.wim",
		"nothing of the session arrives at this machine:",
		"- a switch with IGMP snooping passes a group on only while some router or switch is the IGMP querier: switch a querier on in this VLAN, or snooping off",
	}
	for _, c := range []struct {
		name          string
		width, height int
		status        Status
	}{
		{"start", 80, 25, Status{Device: mac1, Server: "https://192.0.2.1:8443", Step: "waiting for the network"}},
		{"receiving", 80, 25, Status{Device: mac1, Server: "https://192.0.2.1:8443", Address: "192.0.2.7 on Ethernet", Step: "receiving by multicast", Progress: &receiving, Said: said, Prompt: true}},
		{"small", 40, 14, Status{Device: mac1, Server: "https://[2001:db8::1]:8443", Address: "2001:db8::7 on eth0", Step: "receiving by multicast", Progress: &receiving, Said: said, Prompt: true}},
		{"asking", 80, 25, Status{Device: mac1, Server: "https://192.0.2.1:8443", Address: "192.0.2.7 on Ethernet", Step: "asking the server what to do", Prompt: true,
			Asking: &Asking{Text: "Which deployment is this machine to run?", Choices: []string{"Windows 11 lab", "Windows 11 office"}, At: 1, Wrong: "the last one was refused"}}},
		{"failed", 80, 25, Status{Device: "pc-17", Server: "https://192.0.2.1:8443", Address: "192.0.2.7 on eth0", Step: "failed", Said: []string{"[3/8] Apply Windows"}, Trouble: []string{
			"FAILED: step 3 of 8, Apply Windows: the volume is too small: the image takes 21 GB, and it has 16 GB",
			"What to do: make the partition larger, or take a machine with a larger disk; then run the sequence from the partition-disk step.",
			"On the server: castpoint run retry 6a1f0c2d9b goes on from step 3 (or the device's page in the console). This machine, pc-17, stays on and waits for that; it may be switched off."}}},
		{"tiny", 12, 4, Status{Device: mac1, Said: said, Progress: &receiving}},
	} {
		t.Run(c.name, func(t *testing.T) {
			lines := c.status.Render(c.width, c.height)
			if len(lines) != c.height {
				t.Errorf("%d lines, want %d", len(lines), c.height)
			}
			var b strings.Builder
			for _, line := range lines {
				if n := len([]rune(line)); n != c.width {
					t.Errorf("%d columns, want %d: %q", n, c.width, line)
				}
				fmt.Fprintf(&b, "%s|\n", line)
			}
			file := "testdata/" + c.name + ".golden"
			if *update {
				if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := screens.ReadFile(file)
			if err != nil || b.String() != string(want) {
				t.Errorf("%v; the screen is\n%s", err, b.String())
			}
		})
	}
}

func FuzzRender(f *testing.F) {
	f.Add("device", "said\x1b[2J with a very long word: "+strings.Repeat("x", 200), 20, 10, 3, 7)
	f.Fuzz(func(t *testing.T, device, said string, width, height, blocks, total int) {
		width, height = max(width%300, 1)*sign(width), height%200
		if width < 1 || height < 0 {
			return
		}
		s := Status{Device: device, Said: []string{said, said}, Progress: &agent.Event{Blocks: min(max(blocks, 0), max(total, 0)), Total: max(total, 0)}}
		for _, line := range s.Render(width, height) {
			if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }) || len([]rune(line)) != width {
				t.Errorf("%q", line)
			}
		}
	})
}

func sign(n int) int {
	if n < 0 {
		return -1
	}
	return 1
}

// fakeConsole keeps what it was told to show.
type fakeConsole struct {
	mu     sync.Mutex
	shown  []string
	drawn  int
	keys   chan Key
	closed bool
}

func (c *fakeConsole) Size() (int, int) { return 60, 20 }
func (c *fakeConsole) Draw(lines []string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shown = slices.Clone(lines)
	c.drawn++
	return nil
}
func (c *fakeConsole) Key(ctx context.Context) (Key, error) {
	select {
	case k := <-c.keys:
		return k, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}
func (c *fakeConsole) Close() error { c.closed = true; return nil }
func (c *fakeConsole) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.shown, "\n")
}

func TestScreen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeConsole{keys: make(chan Key)}
		prompts := 0
		s := NewScreen(t.Context(), c, Status{Device: "pc", Prompt: true}, func(context.Context) error {
			prompts++
			return errors.New("no cmd.exe")
		})
		for i := range 1000 { // in one second
			s.Report(agent.Event{Kind: agent.EventProgress, State: "sending", Blocks: i, Total: 1000, Size: 1000, Bytes: int64(i)})
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		if c.drawn > 6 {
			t.Errorf("drawn %d times in a second", c.drawn)
		}
		c.keys <- KeyPrompt
		time.Sleep(time.Second)
		synctest.Wait()
		if prompts != 1 || !strings.Contains(c.text(), "no cmd.exe") || !strings.Contains(c.text(), "F8  command prompt") {
			t.Errorf("%d prompts:\n%s", prompts, c.text())
		}
		s.Report(agent.Event{Kind: agent.EventNoDatagrams, Message: "nothing arrives", Advice: []string{"cable"}})
		s.Report(agent.Event{Kind: agent.EventUnicast, Message: "the rest comes by unicast", Blocks: 1, Total: 2})
		s.Report(agent.Event{Kind: agent.EventDone, SHA256: "abc", Blocks: 2, Total: 2})
		for range 200 {
			s.Say("a line")
		}
		s.Say("the last line")
		if err := s.Close(); err != nil || !c.closed {
			t.Error(err)
		}
		if text := c.text(); !strings.Contains(text, "the last line") || !strings.Contains(text, "Step      done") || !strings.Contains(text, "100%") {
			t.Error(text)
		}
	})
}

func TestANSI(t *testing.T) {
	var b bytes.Buffer
	if err := drawANSI(&b, []string{"ab", "cd"}); err != nil || b.String() != "\x1b[?25l\x1b[Hab\r\ncd" {
		t.Errorf("%q, %v", b.String(), err)
	}
	for _, c := range []struct {
		in, rest string
		keys     []Key
	}{
		{"", "", nil}, {"ab", "", []Key{'a', 'b'}}, {"\x1b[19~", "", []Key{KeyPrompt}},
		{"x\x1b[19~\x1b[A\x1b[1", "\x1b[1", []Key{'x', KeyPrompt, KeyUp}}, {"\x1b[20~", "", nil}, {"\x1b", "\x1b", nil},
		{"\x1b\x1b[B", "", []Key{KeyDown}}, {"\x1bOA\x1bO", "\x1bO", []Key{KeyUp}}, {"\r\n\x7f\b\x01", "", []Key{KeyEnter, KeyEnter, KeyBack, KeyBack}},
		{"ü\xc3", "\xc3", []Key{'ü'}}, {"\xffa", "", []Key{'a'}},
	} {
		if keys, rest := ansiKeys([]byte(c.in)); !slices.Equal(keys, c.keys) || string(rest) != c.rest {
			t.Errorf("%q: keys %v, rest %q", c.in, keys, rest)
		}
	}
}

// A question takes the place of the progress until it has an answer that may be
// given; F8 works meanwhile.
func TestScreenAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeConsole{keys: make(chan Key)}
		prompts := 0
		s := NewScreen(t.Context(), c, Status{Device: "pc", Prompt: true}, func(context.Context) error { prompts++; return nil })
		press := func(keys ...Key) {
			for _, k := range keys {
				c.keys <- k
			}
			time.Sleep(time.Second)
		}
		ask := func(q Asking, preset string, accept func(string) error) <-chan string {
			answer := make(chan string, 1)
			go func() {
				text, err := s.Ask(t.Context(), q, preset, accept)
				if err != nil {
					text = err.Error()
				}
				answer <- text
			}()
			time.Sleep(time.Second)
			return answer
		}
		shows := func(want ...string) {
			t.Helper()
			for _, w := range want {
				if !strings.Contains(c.text(), w) {
					t.Errorf("no %q on the screen:\n%s", w, c.text())
				}
			}
		}
		press('x', KeyEnter) // nobody asks
		which := ask(Asking{Text: "Which deployment?", Choices: []string{"lab", "office", "boot from the disk"}}, "office", nil)
		shows("Which deployment?", "   lab", " > office", "Up, Down  choose")
		press(KeyDown, KeyPrompt, KeyDown, KeyUp, 'x', KeyUp, KeyUp)
		shows(" > lab")
		press(KeyUp, KeyEnter)
		if got := <-which; got != "boot from the disk" || prompts != 1 {
			t.Errorf("chose %q, %d prompts", got, prompts)
		}
		name := ask(Asking{Text: "Name?"}, "pc-1", func(text string) error {
			if strings.Contains(text, "!") {
				return errors.New("no ! in names")
			}
			return nil
		})
		press('a', 'ü', '!', KeyEnter)
		shows("Name? [pc-1]", "no ! in names", " > _")
		press('a', 'ü', '!', KeyBack)
		shows(" > aü_")
		press(KeyBack, KeyBack, KeyBack, KeyEnter)
		if got := <-name; got != "pc-1" {
			t.Errorf("an empty answer stands for %q", got)
		}
		secret := ask(Asking{Text: "Password?", Secret: true}, "", nil)
		press('s', '3')
		shows(" > **_")
		press(KeyEnter)
		if got := <-secret; got != "s3" {
			t.Errorf("typed %q", got)
		}
		if strings.Contains(c.text(), "Password?") {
			t.Errorf("the question is still there:\n%s", c.text())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
