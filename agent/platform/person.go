package platform

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"castpoint/deploy/sequence"
)

// progressInterval is how often a line of progress is written on a console without
// a screen.
const progressInterval = 5 * time.Second

// Person is who stands before the machine, as a run of a task sequence sees them.
type Person struct {
	out    io.Writer
	say    func(string)
	screen *Screen // nil for a console of lines

	mu   sync.Mutex
	text string
	last time.Time

	reading sync.Once
	lines   chan string // nil at the end of the input
}

// NewPerson makes the person before a console: before its screen, or, when that is
// nil, before a console of lines, where out is written to.
func NewPerson(out io.Writer, say func(string), screen *Screen) *Person {
	return &Person{out: out, say: say, screen: screen, lines: make(chan string)}
}

// Say tells one line.
func (p *Person) Say(text string) { p.say(text) }

// Progress shows what runs.
func (p *Person) Progress(text string, percent float64) {
	shown := text
	if percent >= 0 {
		shown = fmt.Sprintf("%s: %.0f%%", text, percent)
	}
	if p.screen != nil {
		p.screen.Update(func(s *Status) { s.Step = shown })
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if percent < 0 || text == p.text && time.Since(p.last) < progressInterval {
		return
	}
	p.text, p.last = text, time.Now()
	fmt.Fprintln(p.out, shown)
}

// Trouble shows what has failed, and what to do, until it is called with nil.
func (p *Person) Trouble(lines []string) {
	if p.screen != nil {
		p.screen.Update(func(s *Status) { s.Trouble = lines })
		return
	}
	for _, line := range lines {
		p.say(line)
	}
}

// Ask asks question after question, each until its answer is one that may be
// given.
func (p *Person) Ask(ctx context.Context, questions []sequence.Question) (map[string]string, error) {
	answers := make(map[string]string)
	for i := range questions {
		q := &questions[i]
		ask := p.askLine
		if p.screen != nil {
			ask = p.askScreen
		}
		answer, err := ask(ctx, q)
		if err != nil {
			return nil, err
		}
		answers[q.Variable] = answer
	}
	return answers, nil
}

func (p *Person) askScreen(ctx context.Context, q *sequence.Question) (string, error) {
	return p.screen.Ask(ctx, Asking{Text: q.Prompt, Choices: q.Choices, Secret: q.Secret}, q.Default, q.Accept)
}

// errNoInput says that nobody can type here.
var errNoInput = errors.New("this console has no input")

func (p *Person) askLine(ctx context.Context, q *sequence.Question) (string, error) {
	p.reading.Do(func() { go p.serveLines() })
	for {
		fmt.Fprint(p.out, question(q))
		text, err := p.line(ctx)
		if err != nil {
			return "", err
		}
		answer := chosen(q, text)
		if err = q.Accept(answer); err == nil {
			return answer, nil
		}
		fmt.Fprintln(p.out, err)
	}
}

// question is what a person reads before the cursor.
func question(q *sequence.Question) string {
	var b strings.Builder
	b.WriteString("\n" + q.Prompt + "\n")
	for i, c := range q.Choices {
		fmt.Fprintf(&b, "  %d  %s\n", i+1, c)
	}
	if q.Default != "" && !q.Secret {
		fmt.Fprintf(&b, "[%s] ", q.Default)
	}
	b.WriteString("> ")
	return b.String()
}

// chosen is the answer that was meant: nothing is the default, and choices can be
// taken by their number.
func chosen(q *sequence.Question, answer string) string {
	answer = strings.TrimSpace(answer)
	if answer == "" {
		return q.Default
	}
	if n, err := strconv.Atoi(answer); err == nil && n >= 1 && n <= len(q.Choices) {
		return q.Choices[n-1]
	}
	return answer
}

// serveLines reads the console's input for as long as the program runs: a read
// cannot be taken back.
func (p *Person) serveLines() {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		p.lines <- lines.Text()
	}
	close(p.lines)
}

func (p *Person) line(ctx context.Context) (string, error) {
	select {
	case <-ctx.Done():
		return "", context.Cause(ctx)
	case text, ok := <-p.lines:
		if !ok {
			return "", errNoInput
		}
		return text, nil
	}
}
