package testbed

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/hinshun/vt10x"
)

// What firmware and Linux write is on the screen where a terminal would show it.
func TestScreen(t *testing.T) {
	s := NewScreen()
	for _, part := range []string{"\x1b[2J\x1b[01;01H", "BIOS menu", "\x1b[05;03Hchoice\x1b[7m one\x1b[0m", "\r\nline \xe2", "\x94\x80 two\a\r\n"} {
		if n, err := s.Write([]byte(part)); err != nil || n != len(part) {
			t.Fatal(n, err)
		}
	}
	want := []string{"BIOS menu", "", "", "", "  choice one", "line ─ two"}
	if got := s.Lines(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q, want %q", got, want)
	}
	for i := range 100 {
		fmt.Fprintf(s, "scroll %d\r\n", i)
	}
	lines := s.Lines()
	if len(lines) > screenRows || lines[len(lines)-1] != "scroll 99" {
		t.Errorf("%d lines, last %q", len(lines), lines[len(lines)-1])
	}
	// Bytes of a console at another speed harm nothing.
	for i := range 1 << 16 {
		_, _ = s.Write([]byte{byte(i * 7), byte(i >> 8), 0x1b, byte(i), '[', byte(i >> 4)})
	}
	for _, line := range s.Lines() {
		if strings.ContainsAny(line, "\x1b\r\n") {
			t.Errorf("%q would move the cursor", line)
		}
	}
}

func TestStages(t *testing.T) {
	p := newProgress()
	for _, c := range [][2]string{
		{"", stageOn},
		{"\x1b[2JSea", stageOn},
		{"BIOS (version rel-1.16)\r\n", "firmware"},
		{"iPXE (http://ipxe.org) 00:02.0", "network boot"},
		{"iPXE 1.21.1 -- Open Source", "iPXE"},
		{"Loading the kernel ...\r\n", "loading Linux"},
		{"iPXE 1.21.1", "loading Linux"},
		{`castpoint boot environment, kernel 6.1`, "Linux"},
		{"sha256 00ff, every block verified\r\n", "received"},
		{"\x1b[HSeaBIOS (version rel-1.16)", "firmware"},
	} {
		_, _ = p.Write([]byte(c[0]))
		if got, _ := p.Stage(); got != c[1] {
			t.Errorf("after %q: %s, want %s", c[0], got, c[1])
		}
	}
}

// On terminals of any size nothing is written beyond their edges, and each machine
// that has room shows its last line.
func TestGrid(t *testing.T) {
	for _, size := range [][2]int{{80, 24}, {200, 60}, {120, 40}, {40, 10}, {20, 3}, {1, 1}, {300, 20}} {
		for n := range 10 {
			var panes []pane
			for i := range n {
				panes = append(panes, pane{title: fmt.Sprintf("title%d", i+1), on: true,
					lines: []string{strings.Repeat("wide", 40), "─ middle", fmt.Sprintf("last%d", i+1)}})
			}
			width, height := size[0], size[1]
			text := drawGrid([]string{"the head of it"}, panes, width, height)
			// A terminal with one line more must have nothing on it.
			term := vt10x.New(vt10x.WithSize(width, height+1))
			if _, err := term.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(term.String(), "\n")
			if strings.TrimSpace(lines[height]) != "" || strings.Count(text, "\n") > height-1 {
				t.Fatalf("%d machines at %dx%d: too high:\n%s", n, width, height, term.String())
			}
			shown, all := 0, term.String()
			for i := range n {
				if strings.Contains(all, fmt.Sprintf("title%d", i+1)) {
					shown++
					if height > 10 && !strings.Contains(all, fmt.Sprintf("last%d", i+1)) {
						t.Errorf("%d machines at %dx%d: machine %d has no last line:\n%s", n, width, height, i+1, all)
					}
				}
			}
			if width >= 60 && shown < n && !strings.Contains(all, fmt.Sprintf("%d more machines", n-shown)) {
				t.Errorf("%d machines at %dx%d: %d are shown, and nothing is said of the others:\n%s", n, width, height, shown, all)
			}
			if width == 200 && height == 60 && shown != n {
				t.Errorf("%d of %d machines on a large terminal", shown, n)
			}
		}
	}
	for _, c := range []struct{ panes, width, height, want int }{{2, 210, 40, 2}, {2, 80, 60, 1}, {4, 200, 60, 2}, {1, 200, 60, 1}, {6, 300, 60, 3}} {
		if got := columns(c.panes, c.width, c.height); got != c.want {
			t.Errorf("%+v: %d columns", c, got)
		}
	}
}

func TestEcho(t *testing.T) {
	var out strings.Builder
	e := &echo{mu: new(sync.Mutex), out: &out, name: "1-bios"}
	for _, part := range []string{"\x1b[2JSea", "BIOS\r\n\r\n", "half"} {
		_, _ = e.Write([]byte(part))
	}
	_, _ = e.Write([]byte(strings.Repeat("x", lineMost)))
	if got := out.String(); !strings.HasPrefix(got, "1-bios: SeaBIOS\n1-bios: halfx") || len(got) > 2*lineMost {
		t.Errorf("%.100q", got)
	}
}

func TestKeyName(t *testing.T) {
	for in, want := range map[string]string{"F12": "f12", "Enter": "ret", "ctrl-b": "ctrl-b", "Escape": "esc", "Shift-Space": "shift-spc"} {
		if got := keyName(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
