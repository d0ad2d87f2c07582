package lab

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"
)

// A Transcript keeps what a program or a serial console said, and lets tests
// wait for it. The zero value is ready to use.
type Transcript struct {
	mu    sync.Mutex
	text  []byte
	ended bool
	more  chan struct{} // closed and replaced when text grows or ends
	echo  func(line string)
	line  []byte // not yet echoed
	limit int    // what is kept at least, in bytes; 0 for everything
}

// transcriptLimit is enough for what anybody looks back at.
const transcriptLimit = 1 << 20

// controls are the terminal control sequences of firmware consoles.
var controls = regexp.MustCompile(`\x1b(\[[0-9;?=]*[A-Za-z]|[()][A-Z0-9]|[=>])`)

// Write appends to the transcript.
func (t *Transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if t.limit > 0 && len(t.text) > 2*t.limit {
		t.text = append([]byte(nil), t.text[len(t.text)-t.limit:]...)
	}
	if t.echo != nil {
		t.line = append(t.line, p...)
		for {
			line, rest, ok := strings.Cut(string(t.line), "\n")
			if !ok {
				break
			}
			t.line = []byte(rest)
			t.echo(Clean(line))
		}
	}
	t.signal()
	return len(p), nil
}

// end marks that nothing more will come.
func (t *Transcript) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	t.signal()
}

func (t *Transcript) signal() {
	if t.more != nil {
		close(t.more)
		t.more = nil
	}
}

// String is everything said so far, without control sequences.
func (t *Transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Clean(string(t.text))
}

// Tail is the last lines that are not empty.
func (t *Transcript) Tail(lines int) string {
	var all []string
	for line := range strings.Lines(t.String()) {
		if line = strings.TrimRight(line, " \n"); line != "" {
			all = append(all, line)
		}
	}
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Clean takes the control sequences of terminals out of a text.
func Clean(s string) string {
	s = controls.ReplaceAllString(s, "")
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
}

// WaitFor returns the first match of the pattern (the whole and its groups) in
// what was said, waiting for it at most the given time. The error shows the
// last lines.
func (t *Transcript) WaitFor(ctx context.Context, pattern string, limit time.Duration) ([]string, error) {
	expr, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		t.mu.Lock()
		text, ended := Clean(string(t.text)), t.ended
		if t.more == nil {
			t.more = make(chan struct{})
		}
		more := t.more
		t.mu.Unlock()

		if m := expr.FindStringSubmatch(text); m != nil {
			return m, nil
		}
		if ended {
			return nil, fmt.Errorf("ended without saying %q; the last lines were:\n%s", pattern, t.Tail(30))
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil, fmt.Errorf("did not say %q: %w; the last lines were:\n%s", pattern, ctx.Err(), t.Tail(30))
		}
	}
}
